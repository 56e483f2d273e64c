package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/api/layout"
)

// entries holds the hashes of records (tile/entries) against their leaves. Nothing is proven by them; who appends reads them.
func (r *Report) entries(ctx context.Context, t Tree, leaves span) error {
	damaged, f := 0, Finding{Kind: Tiles}
	for index := (r.First - 1) / layout.EntryBundleWidth; index*layout.EntryBundleWidth < r.Last; index++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		partial := layout.PartialTileSize(0, index, r.Checkpoint.Size)
		found := t.bundle(ctx, index, partial, leaves)
		if found == "" {
			continue
		}
		if damaged++; damaged == 1 {
			f.Tile = layout.EntriesPath(index, partial)
			f.Text = fmt.Sprintf("the file %s (hashes of records from %d on) %s", f.Tile, index*layout.EntryBundleWidth+1, found)
		}
	}
	if damaged == 0 {
		return nil
	}
	if damaged > 1 {
		f.Text += fmt.Sprintf(", and %d more like it", damaged-1)
	}
	f.Text += "; it proves nothing of the records, and is read when the ledger goes on: " + mendTile
	r.Findings = append(r.Findings, f)
	return nil
}

// bundle says what is wrong with a file of hashes; empty: nothing.
func (t Tree) bundle(ctx context.Context, index uint64, partial uint8, leaves span) string {
	text, err := t.read(ctx, layout.EntriesPath(index, partial))
	if errors.Is(err, fs.ErrNotExist) && partial > 0 { // a larger one has taken its place
		text, err = t.read(ctx, layout.EntriesPath(index, 0))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "is gone"
	}
	var b api.EntryBundle
	if err == nil {
		err = b.UnmarshalText(text)
	}
	if err != nil {
		return fmt.Sprintf("is damaged or cannot be read: %v", err)
	}
	want := int(partial)
	if want == 0 {
		want = layout.EntryBundleWidth
	}
	if len(b.Entries) < want {
		return fmt.Sprintf("has %d hashes, of %d", len(b.Entries), want)
	}
	for i, entry := range b.Entries[:want] {
		have := leaves.at(index*layout.EntryBundleWidth + uint64(i))
		if have != nil && (len(entry) != len(Hash{}) || !bytes.Equal(leaf(Hash(entry)), have)) {
			return "was altered"
		}
	}
	return ""
}
