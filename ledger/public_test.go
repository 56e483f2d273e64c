package ledger

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
)

// TestPublic holds that others read a ledger by the paths of C2SP tlog-tiles, and nothing beside it.
func TestPublic(t *testing.T) {
	k, dir, all := key(t, origin), t.TempDir(), records(300)
	text := written(t, k, dir, 0, all)
	tree := Files(os.DirFS(dir))
	if err := os.WriteFile(filepath.Join(dir, "key.pub"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, size := range map[string]int{
		"checkpoint": len(text), "tile/0/000": mostTile, "tile/0/001.p/44": 44 * 32, "tile/1/000.p/1": 32, "tile/0/000.p/3": 3 * 32,
		"tile/0/001": 0, "tile/0/001.p/45": 0, "tile/0/002": 0, "tile/2/000": 0, "tile/64/000": 0, "tile/0/000.p/0": 0, "tile/0/000.p/256": 0,
		"tile/0/0": 0, "tile/0/x000/000": 0, "tile/00/000": 0, "tile/0/../0/000": 0, "tile/0/000/": 0, "tile": 0, "tile/": 0, "tile/0": 0, "": 0, ".": 0, "/": 0,
		"tile/entries/000": 0, "key.pub": 0, "../" + filepath.Base(dir) + "/checkpoint": 0, ".state/treeState": 0, "checkpoint/": 0,
	} {
		got, err := tree.Public(t.Context(), path)
		if size == 0 && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %d bytes, %v", path, len(got), err)
		}
		if size > 0 && (err != nil || len(got) != size) {
			t.Errorf("%q: %d bytes, %v", path, len(got), err)
		}
	}
	full, err := tree.Public(t.Context(), "tile/0/000")
	if err != nil {
		t.Fatal(err)
	}
	if part, err := tree.Public(t.Context(), "tile/0/000.p/3"); err != nil || !bytes.Equal(part, full[:96]) {
		t.Errorf("%v", err)
	}
}

// TestPublicForeign has tessera's own client read a ledger over HTTP.
func TestPublicForeign(t *testing.T) {
	k, dir, all := key(t, origin), t.TempDir(), records(700)
	tree := Files(os.DirFS(dir))
	text := written(t, k, dir, 0, all)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := tree.Public(r.Context(), strings.TrimPrefix(r.URL.Path, "/log/"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	defer s.Close()
	at, err := url.Parse(s.URL + "/log/")
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := client.NewHTTPFetcher(at, s.Client())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := foreign.ReadCheckpoint(t.Context()); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%v: %s", err, got)
	}
	c, err := (&Keys{Ledger: k.verifier}).Checkpoint(text)
	if err != nil {
		t.Fatal(err)
	}
	b, err := client.NewProofBuilder(t.Context(), c.Size, foreign.ReadTile)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []uint64{0, 255, 256, 699} {
		p, err := b.InclusionProof(t.Context(), at)
		if err == nil {
			err = c.Included(at, HashOf(all[at]), p)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// TestUnreadableIsNotForked holds that a witness does not take a tree that it cannot read for another history.
func TestUnreadableIsNotForked(t *testing.T) {
	k, second, dir, all := key(t, origin), witnessKey(t, "auditor.example"), t.TempDir(), records(600)
	w := NewWitness(k.verifier, second, remembered(filepath.Join(t.TempDir(), "last")))
	first := written(t, k, dir, 0, all[:300])
	if _, err := w.Cosign(t.Context(), Files(os.DirFS(dir)), first); err != nil {
		t.Fatal(err)
	}
	later, away := written(t, k, dir, 300, all[300:]), errors.New("out of reach")
	none := Fetched(func(context.Context, string) ([]byte, error) { return nil, away })
	if _, err := w.Cosign(t.Context(), none, later); err == nil || !strings.Contains(err.Error(), away.Error()) || errors.Is(err, ErrForked) || errors.Is(err, ErrRolledBack) {
		t.Errorf("got %v", err)
	}
	if _, err := w.Cosign(t.Context(), Files(os.DirFS(dir)), later); err != nil {
		t.Error(err)
	}
}

// FuzzPublic holds that a path leads to the checkpoint, to a tile in the one form that it has, or nowhere.
func FuzzPublic(f *testing.F) {
	for _, s := range []string{"checkpoint", "tile/0/000", "tile/0/x001/234.p/7", "tile/1/000/../../../x", "tile/0/.p", "tile/0/x/.p/1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		tree := Fetched(func(_ context.Context, asked string) ([]byte, error) {
			if asked != layout.CheckpointPath && (!fs.ValidPath(asked) || !strings.HasPrefix(asked, "tile/") || strings.ContainsAny(asked, `\.`) && !strings.Contains(asked, ".p/")) {
				t.Errorf("%q leads to %q", path, asked)
			}
			return make([]byte, mostTile), nil
		})
		text, err := tree.Public(t.Context(), path)
		if err == nil && (len(text) == 0 || path != layout.CheckpointPath && !strings.HasPrefix(path, "tile/")) {
			t.Errorf("%q is public", path)
		}
	})
}
