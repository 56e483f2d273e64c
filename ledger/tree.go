package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
)

// Tree is the files of a ledger, as they were written, copied or fetched: untrusted.
type Tree struct{ read Reader }

// Reader reads a file of a ledger by its path (C2SP tlog-tiles). An error that wraps fs.ErrNotExist says that there is none.
type Reader func(ctx context.Context, path string) ([]byte, error)

// Files is the tree in a folder.
func Files(dir fs.FS) Tree {
	return Tree{func(_ context.Context, path string) ([]byte, error) { return fs.ReadFile(dir, path) }}
}

// Fetched is the tree of which the files are read elsewhere.
func Fetched(read Reader) Tree { return Tree{read} }

// Public reads a file that a ledger shows to others, by its path (C2SP tlog-tiles): the checkpoint, or a tile. All else is fs.ErrNotExist, the
// hashes of records (tile/entries) too. A partial tile is cut from a larger one that has taken its place.
func (t Tree) Public(ctx context.Context, path string) ([]byte, error) {
	if path == layout.CheckpointPath {
		return t.Newest(ctx)
	}
	tail, ok := strings.CutPrefix(path, "tile/")
	first, second, cut := strings.Cut(tail, "/")
	level, index, partial, err := layout.ParseTileLevelIndexPartial(first, second)
	if !ok || !cut || err != nil || layout.TilePath(level, index, partial) != path {
		return nil, fmt.Errorf("reading %.80q: %w", path, fs.ErrNotExist)
	}
	text, err := t.tile(ctx, level, index, partial)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	size := mostTile
	if partial > 0 {
		size = int(partial) * len(Hash{})
	}
	if len(text) < size { // it is not that far yet
		return nil, fmt.Errorf("reading %s: %w", path, fs.ErrNotExist)
	}
	return text[:size], nil
}

// mostTile bounds a tile: 256 hashes.
const mostTile = layout.TileWidth * len(Hash{})

// tile is that of client.TileFetcherFunc. A partial tile is as good in a larger version of it.
func (t Tree) tile(ctx context.Context, level, index uint64, partial uint8) ([]byte, error) {
	text, err := t.read(ctx, layout.TilePath(level, index, partial))
	if errors.Is(err, fs.ErrNotExist) && partial > 0 {
		text, err = t.read(ctx, layout.TilePath(level, index, 0))
	}
	if err == nil && len(text) > mostTile {
		err = fmt.Errorf("tile %s is too long", layout.TilePath(level, index, partial))
	}
	return text, err
}

// nodes are the hashes in a tile of a tree of that size.
func (t Tree) nodes(ctx context.Context, level, index, size uint64) ([][]byte, error) {
	partial := layout.PartialTileSize(level, index, size)
	text, err := t.tile(ctx, level, index, partial)
	if err != nil {
		return nil, err
	}
	var tile api.HashTile
	if err := tile.UnmarshalText(text); err != nil {
		return nil, fmt.Errorf("reading tile %s: %w", layout.TilePath(level, index, partial), err)
	}
	want := int(partial)
	if want == 0 {
		want = layout.TileWidth
	}
	if len(tile.Nodes) < want {
		return nil, fmt.Errorf("tile %s has %d hashes, of %d", layout.TilePath(level, index, partial), len(tile.Nodes), want)
	}
	return tile.Nodes[:want], nil
}

// tiles is how many nodes a level of tiles has, of a tree of that size.
func nodesAt(level, size uint64) uint64 {
	if level*layout.TileHeight >= 64 {
		return 0
	}
	return size >> (level * layout.TileHeight)
}

func ranges() *compact.RangeFactory {
	return &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
}

// leaf is the hash of a record as a leaf of the tree.
func leaf(h Hash) []byte { return rfc6962.DefaultHasher.HashLeaf(h[:]) }

// rootOf is the root of a full tile.
func rootOf(nodes [][]byte) ([]byte, error) {
	r := ranges().NewEmptyRange(0)
	for _, n := range nodes {
		if err := r.Append(n, nil); err != nil {
			return nil, err
		}
	}
	return r.GetRootHash(nil)
}

// tileError says which tile is not what the checkpoint commits to. That proves nothing but that: another copy of it may be sound.
type tileError struct {
	path string // of the file, as layout.TilePath; empty: it cannot be told which
	text string
}

func (d *tileError) Error() string { return d.text }

// unread says that a tile cannot be had. An error of ctx stays what it is.
func unread(ctx context.Context, level, index, size uint64, err error) error {
	if ctx.Err() != nil {
		return err
	}
	path := layout.TilePath(level, index, layout.PartialTileSize(level, index, size))
	found := fmt.Sprintf("is damaged or cannot be read: %v", err)
	if errors.Is(err, fs.ErrNotExist) {
		found = "is gone"
	}
	return &tileError{path, fmt.Sprintf("the file %s (tile %d of level %d) %s", path, index, level, found)}
}

// span is hashes of one level of the tree, from one on.
type span struct {
	from   uint64
	hashes [][]byte
}

// at returns the hash of a place; nil if the span does not have it.
func (s span) at(place uint64) []byte {
	if place < s.from || place-s.from >= uint64(len(s.hashes)) {
		return nil
	}
	return s.hashes[place-s.from]
}

// authenticate holds tiles of a tree against its root, from the top down: first the right edge of every level, which makes the
// root, then each full tile that is needed against its hash in the level above. It returns the hashes of the leaves from one
// on and before another, and some beside them.
func (t Tree) authenticate(ctx context.Context, size uint64, root []byte, from, to uint64) (span, error) {
	all, err := t.levels(ctx, size, root, from, to, 0)
	if err != nil || len(all) == 0 {
		return span{}, err
	}
	return all[0], nil
}

// levels is authenticate for all levels of tiles from a lowest one on: the hashes above those leaves, by level.
func (t Tree) levels(ctx context.Context, size uint64, root []byte, from, to uint64, lowest int) ([]span, error) {
	if size == 0 {
		if !bytes.Equal(root, rfc6962.DefaultHasher.EmptyRoot()) {
			return nil, &tileError{text: "an empty ledger has another root"}
		}
		return nil, nil
	}
	edges, err := t.edges(ctx, size, root)
	if err != nil {
		return nil, err
	}
	if to = min(to, size); from >= to {
		return nil, nil
	}
	var above span
	out := make([]span, len(edges))
	for level, edge := range slices.Backward(edges) {
		if level < lowest {
			break
		}
		first, last := from>>(8*level), (to-1)>>(8*level)
		here := span{from: first &^ (layout.TileWidth - 1)}
		for index := first / layout.TileWidth; index <= last/layout.TileWidth; index++ {
			nodes := edge // which is the last, partial tile
			if index < nodesAt(uint64(level), size)/layout.TileWidth {
				if nodes, err = t.full(ctx, uint64(level), index, size, above.at(index)); err != nil {
					return nil, err
				}
			}
			here.hashes = append(here.hashes, nodes...)
		}
		above, out[level] = here, here
	}
	return out, nil
}

// full reads a full tile and holds it against its hash.
func (t Tree) full(ctx context.Context, level, index, size uint64, want []byte) ([][]byte, error) {
	nodes, err := t.nodes(ctx, level, index, size)
	if err != nil {
		return nil, unread(ctx, level, index, size, err)
	}
	got, err := rootOf(nodes)
	if err != nil || !bytes.Equal(got, want) {
		path := layout.TilePath(level, index, 0)
		return nil, &tileError{path, fmt.Sprintf("the file %s (tile %d of level %d, records from %d on) was altered", path, index, level, index<<(8*(level+1))+1)}
	}
	return nodes, nil
}

// Copy hands out the files that Verify needs of a tree of a size to judge the records of some numbers and some alone, and to
// hold it against earlier checkpoints of some sizes.
func (t Tree) Copy(ctx context.Context, size, first, last uint64, alone []uint64, write func(name string, data []byte) error) error {
	for level := uint64(0); nodesAt(level, size) > 0; level++ {
		n := nodesAt(level, size)
		needed := map[uint64]struct{}{(n - 1) / layout.TileWidth: {}}
		from, to := uint64(0), n // nodes. Above the leaves, all: as many as a 256th of those, for any earlier checkpoint
		if level == 0 {
			from, to = max(first, 1)-1, min(last, size)
			for _, number := range alone {
				if number > 0 && number <= size {
					needed[(number-1)/layout.TileWidth] = struct{}{}
				}
			}
		}
		for index := from / layout.TileWidth; index*layout.TileWidth < to; index++ {
			needed[index] = struct{}{}
		}
		for _, index := range slices.Sorted(maps.Keys(needed)) {
			partial := layout.PartialTileSize(level, index, size)
			data, err := t.tile(ctx, level, index, partial)
			if err == nil && partial > 0 {
				data = data[:min(len(data), int(partial)*len(Hash{}))]
			}
			if err == nil {
				err = write(layout.TilePath(level, index, partial), data)
			}
			if err != nil {
				return fmt.Errorf("copying tiles: %w", err)
			}
		}
	}
	return nil
}

// edges are the nodes of the last, partial tile of each level. Together they make the root.
func (t Tree) edges(ctx context.Context, size uint64, root []byte) ([][][]byte, error) {
	var edges [][][]byte
	for level := uint64(0); nodesAt(level, size) > 0; level++ {
		n := nodesAt(level, size)
		var nodes [][]byte
		if n%layout.TileWidth > 0 {
			var err error
			if nodes, err = t.nodes(ctx, level, n/layout.TileWidth, size); err != nil {
				return nil, unread(ctx, level, n/layout.TileWidth, size, err)
			}
		}
		edges = append(edges, nodes)
	}
	got, err := rootOfEdges(size, edges)
	if err != nil {
		return nil, &tileError{text: fmt.Sprintf("the right edge of the tree does not make a tree of %d: %v", size, err)}
	}
	if !bytes.Equal(got, root) {
		return nil, &tileError{text: "the last tiles and the checkpoint do not belong together: one of them was altered or cut short"}
	}
	return edges, nil
}

// rootOfEdges is the root that the last, partial tiles of all levels make.
func rootOfEdges(size uint64, edges [][][]byte) ([]byte, error) {
	if size == 0 {
		return rfc6962.DefaultHasher.EmptyRoot(), nil
	}
	var hashes [][]byte // of the perfect subtrees, from left to right
	for _, edge := range slices.Backward(edges) {
		r := ranges().NewEmptyRange(0)
		for _, n := range edge {
			if err := r.Append(n, nil); err != nil {
				return nil, err
			}
		}
		hashes = append(hashes, r.Hashes()...)
	}
	r, err := ranges().NewRange(0, size, hashes)
	if err != nil {
		return nil, err
	}
	return r.GetRootHash(nil)
}

// consistent proves that a tree begins with an earlier one. ErrForked says that it does not, which is said only of what the newer checkpoint
// itself commits to; any other error, that tiles cannot be read or are not what it commits to.
func (t Tree) consistent(ctx context.Context, before, now *Checkpoint) error {
	if before.Size == 0 {
		return nil
	}
	root, err := t.rootAt(ctx, now, before.Size)
	if err != nil {
		return fmt.Errorf("reading the tree: %w", err)
	}
	if !bytes.Equal(root, before.Root) {
		return fmt.Errorf("%w: of %d records, then of %d, the first %d of which are others", ErrForked, before.Size, now.Size, before.Size)
	}
	return nil
}

// rootAt is the root of the first records of a tree, made of hashes that its own root commits to: a proof of consistency from tiles that may be
// damaged could not tell damage from a fork.
func (t Tree) rootAt(ctx context.Context, now *Checkpoint, size uint64) ([]byte, error) {
	lowest := 0 // level of which a part of a tile is needed
	for nodesAt(uint64(lowest), size)%layout.TileWidth == 0 {
		lowest++
	}
	above, err := t.levels(ctx, now.Size, now.Root, size-1, size, lowest)
	if err != nil {
		return nil, err
	}
	var edges [][][]byte
	for level := uint64(0); nodesAt(level, size) > 0; level++ {
		var nodes [][]byte
		for place := nodesAt(level, size) &^ (layout.TileWidth - 1); place < nodesAt(level, size); place++ {
			nodes = append(nodes, above[level].at(place))
		}
		edges = append(edges, nodes)
	}
	return rootOfEdges(size, edges)
}

// Prove returns the hashes that, with a record's own, make the root of a tree of that size (RFC 6962, section 2.1.1).
func (t Tree) Prove(ctx context.Context, position, size uint64) ([][]byte, error) {
	b, err := client.NewProofBuilder(ctx, size, t.tile)
	if err != nil {
		return nil, fmt.Errorf("proving record %d: %w", position, err)
	}
	p, err := b.InclusionProof(ctx, position)
	if err != nil {
		return nil, fmt.Errorf("proving record %d: %w", position, err)
	}
	return p, nil
}

// Included tells, by its error, whether a proof shows that a record stands at its position in the tree of a checkpoint.
func (c *Checkpoint) Included(position uint64, record Hash, hashes [][]byte) error {
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, position, c.Size, leaf(record), hashes, c.Root); err != nil {
		return fmt.Errorf("record %d is not proved: %w", position, err)
	}
	return nil
}
