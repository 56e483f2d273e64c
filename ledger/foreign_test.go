package ledger

import (
	"os"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// TestForeign holds roots and proofs against another implementation of the same tree, the one of Go's checksum database.
func TestForeign(t *testing.T) {
	k, dir, all := key(t, origin), t.TempDir(), records(600)
	keys := Keys{Ledger: k.verifier}
	tree := Files(os.DirFS(dir))
	smaller, err := keys.Checkpoint(written(t, k, dir, 0, all[:257]))
	if err != nil {
		t.Fatal(err)
	}
	larger, err := keys.Checkpoint(written(t, k, dir, 257, all[257:]))
	if err != nil {
		t.Fatal(err)
	}
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, at := range indexes {
			out[i] = stored[at]
		}
		return out, nil
	})
	for i, h := range hashes(all) {
		more, err := tlog.StoredHashes(int64(i), h[:], reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
	}
	for _, c := range []*Checkpoint{smaller, larger} {
		root, err := tlog.TreeHash(int64(c.Size), reader)
		if err != nil || root != tlog.Hash(c.Root) {
			t.Errorf("root of %d: %x, theirs %v, %v", c.Size, c.Root, root, err)
		}
	}
	for at := uint64(0); at < larger.Size; at += 37 {
		p, err := tree.Prove(t.Context(), at, larger.Size)
		if err != nil {
			t.Fatal(err)
		}
		theirs := make(tlog.RecordProof, len(p))
		for i := range p {
			theirs[i] = tlog.Hash(p[i])
		}
		h := HashOf(all[at])
		if err := tlog.CheckRecord(theirs, int64(larger.Size), tlog.Hash(larger.Root), int64(at), tlog.RecordHash(h[:])); err != nil {
			t.Errorf("record %d: %v", at, err)
		}
	}
	if err := tree.consistent(t.Context(), smaller, larger); err != nil {
		t.Error(err)
	}
}
