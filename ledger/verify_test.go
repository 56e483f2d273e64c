package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// few fill three tiles and begin a fourth; many fill one of the second level, too.
const (
	few  = 3*256 + 41
	many = 256*256 + few
)

// TestVerifyDeep is for the tiles above others.
func TestVerifyDeep(t *testing.T) {
	k, dir, all := key(t, origin), t.TempDir(), records(many)
	e := &Evidence{Keys: Keys{Ledger: k.verifier}, Tree: Files(os.DirFS(dir)), Checkpoint: written(t, k, dir, 0, all), Records: each(all)}
	if r, err := Verify(t.Context(), e); err != nil || !r.Sound() || r.Verified != many {
		t.Errorf("%+v, %v", r, err)
	}
	all[66000] = []byte("x")
	if r, err := Verify(t.Context(), e); err != nil || len(r.Findings) != 1 || r.Findings[0].Number != 66001 {
		t.Errorf("%+v, %v", r, err)
	}
	tile := filepath.Join(dir, "tile/0/017")
	text, err := os.ReadFile(tile)
	if err != nil {
		t.Fatal(err)
	}
	text[0] ^= 1
	if err := os.WriteFile(tile, text, 0o600); err != nil { // the tree's own, which the test may change
		t.Fatal(err)
	}
	if r, err := Verify(t.Context(), e); err != nil || len(r.Findings) != 1 || !strings.Contains(r.Findings[0].Text, "tile/0/017 (tile 17 of level 0, records from 4353 on) was altered") {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestVerifyNamesTheFirst(t *testing.T) {
	k, dir, all := key(t, origin), t.TempDir(), records(few)
	text := written(t, k, dir, 0, all)
	for name, c := range map[string]struct {
		change func([][]byte) [][]byte
		first  uint64
		want   Finding
		beyond uint64
	}{
		"nothing":     {func(r [][]byte) [][]byte { return r }, 1, Finding{}, 0},
		"later ones":  {func(r [][]byte) [][]byte { return append(r, []byte("new"), []byte("newer")) }, 1, Finding{}, 2},
		"the rest":    {func(r [][]byte) [][]byte { return r[500:] }, 501, Finding{}, 0},
		"altered":     {func(r [][]byte) [][]byte { r[471] = []byte("x"); return r }, 1, Finding{Kind: Altered, Number: 472}, 0},
		"two altered": {func(r [][]byte) [][]byte { r[9], r[700] = []byte("x"), []byte("y"); return r }, 1, Finding{Kind: Altered, Number: 10}, 0},
		"first":       {func(r [][]byte) [][]byte { r[0] = nil; return r }, 1, Finding{Kind: Altered, Number: 1}, 0},
		"last":        {func(r [][]byte) [][]byte { r[few-1] = []byte("x"); return r }, 1, Finding{Kind: Altered, Number: few}, 0},
		"of the rest": {func(r [][]byte) [][]byte { r[600] = []byte("x"); return r[500:] }, 501, Finding{Kind: Altered, Number: 601}, 0},
		"deleted":     {func(r [][]byte) [][]byte { return slices.Delete(r, 300, 301) }, 1, Finding{Kind: Missing, Number: 301, Count: 1}, 0},
		"seven gone":  {func(r [][]byte) [][]byte { return slices.Delete(r, 300, 307) }, 1, Finding{Kind: Missing, Number: 301, Count: 7}, 0},
		"head gone":   {func(r [][]byte) [][]byte { return r[5:] }, 1, Finding{Kind: Missing, Number: 1, Count: 5}, 0},
		"inserted":    {func(r [][]byte) [][]byte { return slices.Insert(r, 500, []byte("x"), []byte("y")) }, 1, Finding{Kind: Inserted, Number: 501, Count: 2}, 0},
		"twice":       {func(r [][]byte) [][]byte { return slices.Insert(r, 8, r[7]) }, 1, Finding{Kind: Inserted, Number: 9, Count: 1}, 0},
		"swapped":     {func(r [][]byte) [][]byte { r[50], r[60] = r[60], r[50]; return r }, 1, Finding{Kind: Reordered, Number: 51}, 0},
		"truncated":   {func(r [][]byte) [][]byte { return r[:few-20] }, 1, Finding{Kind: Truncated, Number: few - 19, Count: 20}, 0},
		"emptied":     {func([][]byte) [][]byte { return nil }, 1, Finding{Kind: Truncated, Number: 1, Count: few}, 0},
	} {
		r, err := Verify(t.Context(), &Evidence{
			Keys: Keys{Ledger: k.verifier}, Tree: Files(os.DirFS(dir)), Checkpoint: text, First: c.first, Records: eachFrom(c.first, c.change(slices.Clone(all))),
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.want.Kind == "" {
			if !r.Sound() || r.Verified != few+1-c.first || r.Beyond != c.beyond {
				t.Errorf("%s: %+v", name, r)
			}
			continue
		}
		if len(r.Findings) != 1 || r.Verified != c.want.Number-c.first {
			t.Errorf("%s: %+v", name, r)
			continue
		}
		got := r.Findings[0]
		if got.Text = ""; got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestVerifyUnreadableOrGone: what cannot be read is not missing, as far as it may be what no record is there for.
func TestVerifyUnreadableOrGone(t *testing.T) {
	k, dir, all := key(t, origin), t.TempDir(), records(few)
	text := written(t, k, dir, 0, all)
	const gone = 100 // from 201 on
	for name, c := range map[string]struct {
		damages []DamageError
		want    []Finding
	}{
		"known":         {[]DamageError{{First: 201, Last: 300, Most: 100}}, []Finding{{Kind: Unreadable, Number: 201, Count: 100}}},
		"wider":         {[]DamageError{{First: 1, Last: few, Most: 100}}, []Finding{{Kind: Unreadable, Number: 201, Count: 100}}},
		"between":       {[]DamageError{{}}, []Finding{{Kind: Unreadable, Number: 201, Count: 100}}},
		"fewer":         {[]DamageError{{First: 1, Last: few, Most: 60}}, []Finding{{Kind: Unreadable, Number: 201, Count: 60}, {Kind: Missing, Number: 261, Count: 40}}},
		"elsewhere":     {[]DamageError{{First: 500, Last: 600, Most: 60}}, []Finding{{Kind: Missing, Number: 201, Count: 100}, {Kind: Unreadable, Number: 500}}},
		"two, the wide": {[]DamageError{{First: 1, Last: few, Most: 40}, {First: 201, Last: 260, Most: 60}}, []Finding{{Kind: Unreadable, Number: 201, Count: 60}, {Kind: Unreadable, Number: 261, Count: 40}}},
	} {
		r, err := Verify(t.Context(), &Evidence{
			Keys: Keys{Ledger: k.verifier}, Tree: Files(os.DirFS(dir)), Checkpoint: text,
			Records: func(yield func(Record, error) bool) {
				for i, data := range all {
					if i == 200 {
						for j := range c.damages {
							if !yield(Record{}, &c.damages[j]) {
								return
							}
						}
					}
					if (i < 200 || i >= 200+gone) && !yield(Record{uint64(i) + 1, data}, nil) {
						return
					}
				}
			},
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i := range r.Findings {
			r.Findings[i].Text = ""
		}
		if !slices.Equal(r.Findings, c.want) || r.Verified != few-gone {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// copied copies a ledger's files, without the writer's own state.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestVerifyDamagedTiles alters, cuts and removes every tile, one at a time: each is found, and sound records stay sound.
func TestVerifyDamagedTiles(t *testing.T) {
	const n = few
	k, dir, all := key(t, origin), t.TempDir(), records(n)
	text := written(t, k, dir, 0, all)
	var tiles []string
	err := fs.WalkDir(os.DirFS(dir), "tile", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(path, "tile/entries") {
			tiles = append(tiles, path)
		}
		return err
	})
	if err != nil || len(tiles) < 5 {
		t.Fatal(tiles, err)
	}
	damages := map[string]func(path string) error{
		"altered": func(path string) error {
			text, err := os.ReadFile(path)
			if err == nil {
				text[len(text)-5] ^= 1
				err = os.WriteFile(path, text, 0o600)
			}
			return err
		},
		"cut":   func(path string) error { return os.Truncate(path, 40) },
		"grown": func(path string) error { return os.WriteFile(path, make([]byte, 1<<20), 0o600) },
		"gone":  os.Remove,
	}
	found := 0
	for _, tile := range tiles {
		for name, damage := range damages {
			at := copied(t, dir)
			if err := damage(filepath.Join(at, tile)); err != nil {
				t.Fatal(err)
			}
			e := &Evidence{Keys: Keys{Ledger: k.verifier}, Tree: Files(os.DirFS(at)), Checkpoint: text, Records: each(all)}
			r, err := Verify(t.Context(), e)
			if err != nil {
				t.Errorf("%s %s: %v", tile, name, err)
				continue
			}
			if r.Sound() {
				continue // a partial tile of before, which nothing needs
			}
			found++
			if len(r.Findings) != 1 || r.Findings[0].Kind != Tiles || r.Verified != n || !strings.HasSuffix(r.Findings[0].Text, "the records are sound") {
				t.Errorf("%s %s: %+v", tile, name, r)
			}
			worse := slices.Clone(all)
			worse[100] = []byte("x")
			e.Records = each(worse)
			if r, err := Verify(t.Context(), e); err != nil || r.Sound() || r.Verified != 0 {
				t.Errorf("%s %s, and a record: %+v, %v", tile, name, r, err)
			}
		}
	}
	if found < 5*len(damages) { // three full tiles, and two right edges
		t.Errorf("only %d of the damages mattered", found)
	}
}

func TestVerifyCheckpoints(t *testing.T) {
	k, dir, all := key(t, origin), t.TempDir(), records(900)
	before := written(t, k, dir, 0, all[:400])
	old := copied(t, dir)
	now := written(t, k, dir, 400, all[400:])
	other := slices.Clone(all)
	other[3] = []byte("nothing happened")
	rewritten := t.TempDir()
	forged := written(t, k, rewritten, 0, other)
	second := witnessKey(t, "auditor.example")
	for name, c := range map[string]struct {
		dir         string
		now, before []byte
		records     [][]byte
		keys        Keys
		want        Kind
		err         string
	}{
		"grown":          {dir, now, before, all, Keys{Ledger: k.verifier}, "", ""},
		"same":           {dir, now, now, all, Keys{Ledger: k.verifier}, "", ""},
		"rolled back":    {old, before, now, all[:400], Keys{Ledger: k.verifier}, RolledBack, ""},
		"rewritten":      {rewritten, forged, before, other, Keys{Ledger: k.verifier}, Forked, ""}, // sound by itself, and signed
		"rewritten same": {rewritten, forged, now, other, Keys{Ledger: k.verifier}, Forked, ""},
		"another key":    {dir, now, nil, all, Keys{Ledger: key(t, origin).verifier}, "", "unsigned"},
		"another ledger": {dir, now, nil, all, Keys{Ledger: key(t, "other.example").verifier}, "", "origin"},
		"no witness":     {dir, now, nil, all, Keys{Ledger: k.verifier, Witnesses: []note.Verifier{second.verifier}, Quorum: 1}, "", "0 of 1 witnesses"},
		"no checkpoint":  {dir, []byte("x"), nil, all, Keys{Ledger: k.verifier}, "", "malformed"},
		"altered":        {dir, []byte(strings.Replace(string(now), "\n900\n", "\n901\n", 1)), nil, all, Keys{Ledger: k.verifier}, "", "signature"},
	} {
		r, err := Verify(t.Context(), &Evidence{Keys: c.keys, Tree: Files(os.DirFS(c.dir)), Checkpoint: c.now, Earlier: c.before, Records: each(c.records)})
		switch {
		case c.err != "":
			if err == nil {
				t.Errorf("%s: %+v, want the error %s", name, r, c.err)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want == "" && (!r.Sound() || c.before != nil && r.Earlier == 0):
			t.Errorf("%s: %+v", name, r)
		case c.want != "" && (len(r.Findings) != 1 || r.Findings[0].Kind != c.want):
			t.Errorf("%s: %+v, want %s", name, r, c.want)
		}
	}
}

// TestVerifyEarlierTiles damages tiles of two histories: what was written anew is a fork, and what cannot be read is none.
func TestVerifyEarlierTiles(t *testing.T) {
	k, dir, all := key(t, origin), t.TempDir(), records(900)
	before := written(t, k, dir, 0, all[:300])
	now := written(t, k, dir, 300, all[300:])
	other := slices.Clone(all)
	other[3] = []byte("nothing happened")
	rewritten := t.TempDir()
	forged := written(t, k, rewritten, 0, other)
	for name, c := range map[string]struct {
		damage func(path string) error
		found  string
	}{
		"gone": {os.Remove, "is gone"},
		"cut":  {func(path string) error { return os.Truncate(path, 40) }, "is damaged"},
		"altered": {func(path string) error {
			text, err := os.ReadFile(path)
			if err == nil {
				text[5] ^= 1
				err = os.WriteFile(path, text, 0o600)
			}
			return err
		}, "was altered"},
		"unreadable": {func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }, "cannot be read"},
		"whole":      {func(string) error { return nil }, ""},
	} {
		for _, h := range []struct {
			dir     string
			now     []byte
			records [][]byte
			want    Kind
		}{{dir, now, all, ""}, {rewritten, forged, other, Forked}} {
			const tile = "tile/0/001"
			at := copied(t, h.dir)
			if err := c.damage(filepath.Join(at, tile)); err != nil {
				t.Fatal(err)
			}
			r, err := Verify(t.Context(), &Evidence{Keys: Keys{Ledger: k.verifier}, Tree: Files(os.DirFS(at)), Checkpoint: h.now, Earlier: before, Records: each(h.records)})
			switch {
			case err != nil:
				t.Errorf("%s: %v", name, err)
			case c.found == "" && h.want == "":
				if !r.Sound() || r.Earlier != 300 {
					t.Errorf("%s: %+v", name, r)
				}
			case c.found == "":
				if r.Sound() || r.Findings[0].Kind != h.want {
					t.Errorf("%s: %+v, want %s", name, r, h.want)
				}
			default: // of either history: without the tile it cannot be told
				if r.Sound() || r.Earlier != 0 || r.Findings[0].Kind != Tiles || r.Findings[0].Tile != tile || !strings.Contains(r.Findings[0].Text, tile) ||
					!strings.Contains(r.Findings[0].Text, c.found) || !strings.Contains(r.Findings[0].Text, "another copy") ||
					slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind == Forked }) {
					t.Errorf("%s: %+v", name, r)
				}
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	asked := Fetched(func(ctx context.Context, _ string) ([]byte, error) { return nil, context.Cause(ctx) })
	if r, err := Verify(ctx, &Evidence{Keys: Keys{Ledger: k.verifier}, Tree: asked, Checkpoint: now, Earlier: before, Records: each(all)}); !errors.Is(err, context.Canceled) {
		t.Errorf("who was asked to stop judges: %+v, %v", r, err)
	}
}

// TestRootAt makes earlier roots of a tree.
func TestRootAt(t *testing.T) {
	k, dir, all := key(t, origin), t.TempDir(), records(many)
	text := written(t, k, dir, 0, all)
	now, err := (&Keys{Ledger: k.verifier}).Checkpoint(text)
	if err != nil {
		t.Fatal(err)
	}
	tree := Files(os.DirFS(dir))
	r := ranges().NewEmptyRange(0)
	for i, one := range all {
		if err := r.Append(leaf(HashOf(one)), nil); err != nil {
			t.Fatal(err)
		}
		if i > few && i%1021 != 0 && (i < 1<<16-3 || i > 1<<16+3) {
			continue
		}
		want, err := r.GetRootHash(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tree.rootAt(t.Context(), now, uint64(i)+1); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("of the first %d: %x, %v, want %x", i+1, got, err, want)
		}
	}
}

func TestVerifyUnreadable(t *testing.T) {
	k, dir, all := key(t, origin), t.TempDir(), records(30)
	text := written(t, k, dir, 0, all)
	broken := errors.New("broken")
	_, err := Verify(t.Context(), &Evidence{Keys: Keys{Ledger: k.verifier}, Tree: Files(os.DirFS(dir)), Checkpoint: text, Records: func(yield func(Record, error) bool) {
		_ = yield(Record{1, all[0]}, nil) && yield(Record{}, broken)
	}})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "behind 1") {
		t.Error(err)
	}
}

// FuzzVerify gives tiles and checkpoints that no ledger wrote: no panic, and never sound.
func FuzzVerify(f *testing.F) {
	k := key(f, origin)
	dir := f.TempDir()
	all := records(300)
	text := written(f, k, dir, 0, all)
	tile, err := os.ReadFile(filepath.Join(dir, "tile/0/000"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, tile, []byte("x"))
	f.Add([]byte(origin+"\n300\nAAAA\n\n— x AAAA\n"), tile[:64], all[0])
	f.Fuzz(func(t *testing.T, checkpoint, tile, record []byte) {
		at := t.TempDir()
		if err := os.MkdirAll(filepath.Join(at, "tile/0"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, "tile/0/000"), tile, 0o600); err != nil {
			t.Fatal(err)
		}
		e := &Evidence{Keys: Keys{Ledger: k.verifier}, Tree: Files(os.DirFS(at)), Checkpoint: checkpoint, Records: each([][]byte{record})}
		if r, err := Verify(t.Context(), e); err == nil && r.Sound() {
			t.Errorf("sound: %+v", r)
		}
		e.Checkpoint = text
		if r, err := Verify(t.Context(), e); err != nil || r.Sound() {
			t.Errorf("%+v, %v", r, err)
		}
		_ = fmt.Sprint(e.Tree.Prove(t.Context(), 7, 300))
	})
}
