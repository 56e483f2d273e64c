package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	f_log "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/tessera/api/layout"
	"golang.org/x/mod/sumdb/note"
)

// Shelf is where the files of a ledger lie that several processes may write, one after the other. Close lets another write.
type Shelf interface {
	// Change runs do on the files as they are, and keeps what it returns: all of it, durably, if Change returns nil. If it
	// fails, all or nothing may be there. Of two changes at once, one fails.
	Change(ctx context.Context, do func(files fs.FS) (map[string][]byte, error)) error
	Close() error
}

// Signing is the key of a ledger, and what reads its signatures.
type Signing struct {
	Signer   note.Signer // its name is the ledger's origin
	Verifier note.Verifier
}

// Shared appends to a ledger on a shelf. The tiles of a batch and the checkpoint that tells of them are one change, made out of
// the tree that the shelf has, so the ledger cannot fork there. Whether the shelf itself was put back to an earlier state, what is
// remembered elsewhere tells. It is safe for concurrent use.
type Shared struct {
	shelf   Shelf
	signing Signing
	memory  Memory

	mu   sync.Mutex
	size uint64
	last []byte // checkpoint; nil: the ledger is empty
	end  error  // why it takes no more
}

// sharedBatch is how many records are one change, at most.
const sharedBatch = 4096

// errMoved says that somebody else has appended.
var errMoved = errors.New("the ledger has another checkpoint than when it was opened")

// OpenShared opens the ledger on a shelf, or begins one. ErrRolledBack and ErrForked say that it does not go on from the
// checkpoint that is remembered. The shelf is closed with the ledger, or if opening it fails.
func OpenShared(ctx context.Context, shelf Shelf, signing Signing, memory Memory) (*Shared, error) {
	l := &Shared{shelf: shelf, signing: signing, memory: memory}
	err := shelf.Change(ctx, func(files fs.FS) (map[string][]byte, error) {
		c, text, err := Remember(ctx, Files(files), signing.Verifier, memory)
		if err != nil || c == nil {
			return nil, err
		}
		l.size, l.last = c.Size, text
		_, err = Files(files).edges(ctx, c.Size, c.Root)
		return nil, err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the shared ledger: %w", err), shelf.Close())
	}
	return l, nil
}

// Remember reads the newest checkpoint of a ledger, holds it against the one that is remembered, and remembers it. ErrRolledBack and
// ErrForked say what is wrong. An empty ledger has none.
func Remember(ctx context.Context, t Tree, key note.Verifier, memory Memory) (*Checkpoint, []byte, error) {
	text, err := t.Newest(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		last, err := memory.Last()
		if err == nil && last != nil {
			err = fmt.Errorf("%w: there is none", ErrRolledBack)
		}
		return nil, nil, err
	}
	if err != nil {
		return nil, nil, err
	}
	c, err := follow(ctx, &Keys{Ledger: key}, t, text, memory)
	if err != nil {
		return nil, nil, err
	}
	if err := memory.Keep(text); err != nil {
		return nil, nil, fmt.Errorf("keeping the checkpoint: %w", err)
	}
	return c, text, nil
}

// Size is how many records the ledger has.
func (l *Shared) Size() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// Append is that of Ledger; when it returns, the checkpoint tells of the records. After an error but ErrConflict and ErrGap the ledger has to
// be opened again.
func (l *Shared) Append(ctx context.Context, at uint64, records []Hash) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end != nil {
		return l.end
	}
	if at > l.size {
		return fmt.Errorf("appending at %d to a ledger of %d: %w", at, l.size, ErrGap)
	}
	for some := range slices.Chunk(records, sharedBatch) {
		if err := l.append(ctx, at, some); err != nil {
			if !errors.Is(err, ErrConflict) {
				l.end = fmt.Errorf("appending to the shared ledger: %w", err)
				return l.end
			}
			return err
		}
		at += uint64(len(some))
	}
	return nil
}

// append makes one change. What is signed is shown to nobody before it is kept.
func (l *Shared) append(ctx context.Context, at uint64, records []Hash) error {
	size, next := l.size, l.last
	err := l.shelf.Change(ctx, func(files fs.FS) (map[string][]byte, error) {
		t := Files(files)
		now, err := l.now(ctx, t)
		if err != nil {
			return nil, err
		}
		known := min(now.Size-at, uint64(len(records)))
		if err := t.compare(ctx, now, at, records[:known]); err != nil || int(known) == len(records) {
			return nil, err
		}
		edges, err := t.edges(ctx, now.Size, now.Root)
		if err != nil {
			return nil, err
		}
		for level := range edges {
			edges[level] = slices.Clip(edges[level])
		}
		g := &growth{size: now.Size, edges: edges, tiles: map[string][]byte{}}
		for i := range records[known:] {
			if err := g.add(records[int(known)+i]); err != nil {
				return nil, err
			}
		}
		out := g.files()
		if out[layout.CheckpointPath], err = g.sign(l.signing.Signer); err != nil {
			return nil, err
		}
		size, next = g.size, out[layout.CheckpointPath]
		return out, nil
	})
	if err != nil || size == l.size {
		return err
	}
	l.size, l.last = size, next
	if err := l.memory.Keep(next); err != nil {
		return fmt.Errorf("keeping the checkpoint: %w", err)
	}
	return nil
}

// now is the head of the tree as it was left.
func (l *Shared) now(ctx context.Context, t Tree) (*Checkpoint, error) {
	text, err := t.Newest(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(text, l.last) {
		return nil, errMoved
	}
	if text == nil {
		root, err := rootOfEdges(0, nil)
		return &Checkpoint{Root: root}, err
	}
	return (&Keys{Ledger: l.signing.Verifier}).Checkpoint(text)
}

// compare holds records against the leaves that a checkpoint commits to.
func (t Tree) compare(ctx context.Context, c *Checkpoint, at uint64, records []Hash) error {
	if len(records) == 0 {
		return nil
	}
	leaves, err := t.authenticate(ctx, c.Size, c.Root, at, at+uint64(len(records)))
	if err != nil {
		return err
	}
	for i, r := range records {
		if position := at + uint64(i); !bytes.Equal(leaves.at(position), leaf(r)) {
			return fmt.Errorf("record %d: %w", position+1, ErrConflict)
		}
	}
	return nil
}

// Close lets another process append.
func (l *Shared) Close(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end == nil {
		l.end = errors.New("the shared ledger is closed")
	}
	return l.shelf.Close()
}

// growth is a tree that leaves are put behind.
type growth struct {
	size  uint64
	edges [][][]byte        // the last, partial tile of each level
	tiles map[string][]byte // that became full
}

func (g *growth) add(record Hash) error {
	g.size++
	return g.put(0, leaf(record))
}

// put puts a node into the last tile of a level; one that is full makes a node of the level above.
func (g *growth) put(level uint64, node []byte) error {
	if level == uint64(len(g.edges)) {
		g.edges = append(g.edges, nil)
	}
	nodes := append(g.edges[level], node)
	g.edges[level] = nodes
	if len(nodes) < layout.TileWidth {
		return nil
	}
	g.tiles[layout.TilePath(level, nodesAt(level, g.size)/layout.TileWidth-1, 0)] = slices.Concat(nodes...)
	root, err := rootOf(nodes)
	if err != nil {
		return err
	}
	g.edges[level] = nil
	return g.put(level+1, root)
}

// files are the tiles that have changed, under the names of full ones: a partial one becomes full in its place.
func (g *growth) files() map[string][]byte {
	for level, nodes := range g.edges {
		if len(nodes) > 0 {
			g.tiles[layout.TilePath(uint64(level), nodesAt(uint64(level), g.size)/layout.TileWidth, 0)] = slices.Concat(nodes...)
		}
	}
	return g.tiles
}

// sign makes the checkpoint of the tree.
func (g *growth) sign(signer note.Signer) ([]byte, error) {
	root, err := rootOfEdges(g.size, g.edges)
	if err != nil {
		return nil, err
	}
	head := f_log.Checkpoint{Origin: signer.Name(), Size: g.size, Hash: root}
	text, err := note.Sign(&note.Note{Text: string(head.Marshal())}, signer)
	if err != nil {
		return nil, fmt.Errorf("signing the checkpoint: %w", err)
	}
	return text, nil
}
