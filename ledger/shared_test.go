package ledger

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"testing"
	"testing/fstest"
)

// shelf keeps files in memory.
type shelf struct {
	files  fstest.MapFS
	broken error // the next change fails, after it is made
}

func (s *shelf) Change(_ context.Context, do func(fs.FS) (map[string][]byte, error)) error {
	changed, err := do(s.files)
	for name, data := range changed {
		s.files[name] = &fstest.MapFile{Data: data}
	}
	if err == nil {
		err, s.broken = s.broken, nil
	}
	return err
}

func (s *shelf) Close() error { return nil }

// noted remembers a checkpoint.
type noted struct{ text []byte }

func (n *noted) Last() ([]byte, error)  { return n.text, nil }
func (n *noted) Keep(text []byte) error { n.text = text; return nil }

func shared(t testing.TB, s *shelf, k pair, m Memory) *Shared {
	t.Helper()
	l, err := OpenShared(t.Context(), s, Signing{k, k.verifier}, m)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestShared appends in parts of many sizes: the tree is that of a ledger in a folder, and verifies.
func TestShared(t *testing.T) {
	k, all, s, m := key(t, origin), records(70_000), &shelf{files: fstest.MapFS{}}, &noted{}
	l := shared(t, s, k, m)
	for at, n := 0, 1; at < len(all); n = n*5/2 + 1 {
		end := min(at+n, len(all))
		from := max(0, at-at%7) // some are there already
		if err := l.Append(t.Context(), uint64(from), hashes(all[from:end])); err != nil {
			t.Fatal(err)
		}
		if at = end; at%3 == 0 {
			must(t, l.Close(t.Context()))
			l = shared(t, s, k, m)
		}
		if l.Size() != uint64(at) {
			t.Fatalf("size %d after %d", l.Size(), at)
		}
	}
	keys := Keys{Ledger: k.verifier}
	c, err := keys.Checkpoint(m.text)
	must(t, err)
	want, err := keys.Checkpoint(written(t, k, t.TempDir(), 0, all))
	must(t, err)
	if string(c.Root) != string(want.Root) || c.Size != want.Size {
		t.Errorf("%+v, want %+v", c, want)
	}
	r, err := Verify(t.Context(), &Evidence{Keys: keys, Tree: Files(s.files), Checkpoint: m.text, First: 1, Records: each(all)})
	must(t, err)
	if !r.Sound() || r.Verified != uint64(len(all)) {
		t.Errorf("%+v", r)
	}
	small, err := keys.Checkpoint(written(t, k, t.TempDir(), 0, all[:66_000]))
	must(t, err)
	must(t, follows(t.Context(), Files(s.files), small, c)) // proofs out of tiles that have grown since
	proof, err := Files(s.files).Prove(t.Context(), 65_999, 66_000)
	must(t, err)
	must(t, small.Included(65_999, HashOf(all[65_999]), proof))
	if err := l.Append(t.Context(), uint64(len(all))+1, hashes(all[:1])); !errors.Is(err, ErrGap) {
		t.Error(err)
	}
	if err := l.Append(t.Context(), 5, hashes(all[6:7])); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestSharedNeverForks: who has missed what another appended stops, and nobody goes on from a shelf that was put back.
func TestSharedNeverForks(t *testing.T) {
	k, all, s, m := key(t, origin), records(2000), &shelf{files: fstest.MapFS{}}, &noted{}
	one := shared(t, s, k, m)
	must(t, one.Append(t.Context(), 0, hashes(all[:900])))
	before := maps.Clone(s.files)
	two := shared(t, s, k, &noted{})
	must(t, two.Append(t.Context(), 900, hashes(all[900:1200])))
	if err := one.Append(t.Context(), 900, hashes(all[1200:1300])); !errors.Is(err, errMoved) {
		t.Errorf("after another appended: %v", err)
	}
	one = shared(t, s, k, m)
	s.broken = errors.New("the answer to the commit is lost")
	if err := one.Append(t.Context(), 1200, hashes(all[1200:1500])); err == nil {
		t.Error("no error")
	}
	if err := one.Append(t.Context(), 1200, hashes(all[1200:1500])); err == nil {
		t.Error("it goes on without looking")
	}
	one = shared(t, s, k, m)
	if one.Size() != 1500 {
		t.Errorf("%d records after a commit that was not told", one.Size())
	}
	s.files = before
	if _, err := OpenShared(t.Context(), s, Signing{k, k.verifier}, m); !errors.Is(err, ErrRolledBack) {
		t.Errorf("put back: %v", err)
	}
	must(t, shared(t, s, k, &noted{}).Append(t.Context(), 900, hashes(all[:900]))) // who knows nothing of it
	if _, err := OpenShared(t.Context(), s, Signing{k, k.verifier}, m); !errors.Is(err, ErrForked) {
		t.Errorf("another history: %v", err)
	}
	if _, err := OpenShared(t.Context(), &shelf{files: fstest.MapFS{}}, Signing{k, k.verifier}, m); !errors.Is(err, ErrRolledBack) {
		t.Errorf("empty: %v", err)
	}
	other := key(t, origin)
	if _, err := OpenShared(t.Context(), s, Signing{other, other.verifier}, &noted{}); err == nil {
		t.Error("another key goes on")
	}
	for name := range s.files {
		if name != "checkpoint" {
			s.files[name].Data[3] ^= 1
		}
	}
	if _, err := OpenShared(t.Context(), s, Signing{k, k.verifier}, &noted{}); err == nil {
		t.Error("altered tiles are gone on from")
	}
}
