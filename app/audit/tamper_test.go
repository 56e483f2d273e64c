package audit

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/events"
)

// many fill several tiles of the ledger.
const many = 1300

// unzipped are the lines of an export's records.
func unzipped(t testing.TB, dir string) [][]byte {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, recordsFile))
	must(t, err)
	z, err := gzip.NewReader(f)
	must(t, err)
	text, err := io.ReadAll(z)
	must(t, err)
	must(t, f.Close())
	return slices.Collect(bytes.Lines(text))
}

func zip(t testing.TB, dir string, lines [][]byte) {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(slices.Concat(lines...))
	must(t, err)
	must(t, z.Close())
	must(t, os.WriteFile(filepath.Join(dir, recordsFile), b.Bytes(), 0o600))
}

// line makes a line of a record of its own.
func line(number int, of []byte) []byte {
	_, record, _ := bytes.Cut(of, []byte(lineRecord))
	return appendLine(nil, uint64(number), bytes.TrimSuffix(record, []byte("}\n")))
}

// TestExport tampers with exported files: the first record that is not as it was is named.
func TestExport(t *testing.T) {
	p := newPlace(t)
	p.keep(t, events.Options{}, given(many))
	whole := t.TempDir()
	m, err := Export(t.Context(), p.Place, Part{}, nil, whole)
	must(t, err)
	if m.Records != many || m.Size != many {
		t.Errorf("%+v", m)
	}
	if _, err := Export(t.Context(), p.Place, Part{}, nil, whole); err == nil {
		t.Error("an export was written over another")
	}
	for name, c := range map[string]struct {
		change func(l [][]byte) [][]byte
		want   ledger.Finding
	}{
		"nothing": {func(l [][]byte) [][]byte { return l }, ledger.Finding{}},
		"altered": {func(l [][]byte) [][]byte {
			l[499] = bytes.Replace(l[499], []byte(`"severity_id":`), []byte(`"severity_id": `), 1)
			return l
		}, ledger.Finding{Kind: ledger.Altered, Number: 500}},
		"deleted":                {func(l [][]byte) [][]byte { return slices.Delete(l, 299, 302) }, ledger.Finding{Kind: ledger.Missing, Number: 300, Count: 3}},
		"first deleted":          {func(l [][]byte) [][]byte { return l[1:] }, ledger.Finding{Kind: ledger.Missing, Number: 1, Count: 1}},
		"deleted and renumbered": {func(l [][]byte) [][]byte { return renumber(slices.Delete(l, 299, 302)) }, ledger.Finding{Kind: ledger.Missing, Number: 300, Count: 3}},
		"reordered":              {func(l [][]byte) [][]byte { l[40], l[90] = l[90], l[40]; return l }, ledger.Finding{Kind: ledger.Reordered, Number: 41}},
		"reordered, renumbered":  {func(l [][]byte) [][]byte { l[40], l[90] = l[90], l[40]; return renumber(l) }, ledger.Finding{Kind: ledger.Reordered, Number: 41}},
		"inserted":               {func(l [][]byte) [][]byte { return slices.Insert(l, 700, line(700, l[3])) }, ledger.Finding{Kind: ledger.Inserted, Number: 701, Count: 1}},
		"inserted, renumbered":   {func(l [][]byte) [][]byte { return renumber(slices.Insert(l, 700, line(1, l[3]))) }, ledger.Finding{Kind: ledger.Inserted, Number: 701, Count: 1}},
		"truncated":              {func(l [][]byte) [][]byte { return l[:1200] }, ledger.Finding{Kind: ledger.Truncated, Number: 1201, Count: 100}},
		"emptied":                {func([][]byte) [][]byte { return nil }, ledger.Finding{Kind: ledger.Truncated, Number: 1, Count: many}},
		"no line":                {func(l [][]byte) [][]byte { l[9] = []byte("{}\n"); return l }, ledger.Finding{Kind: ledger.Unreadable, Number: 10, Count: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copied(t, whole)
			zip(t, dir, c.change(unzipped(t, dir)))
			r, err := VerifyExport(t.Context(), dir, &Trust{Key: filepath.Join(p.Ledger, keyFile)})
			must(t, err)
			if c.want.Kind == "" {
				if !r.Sound() || r.Verified != many || r.OwnKey {
					t.Errorf("%+v", r)
				}
				return
			}
			if r.Sound() {
				t.Fatalf("sound: %+v", r)
			}
			if got := (ledger.Finding{Kind: r.Findings[0].Kind, Number: r.Findings[0].Number, Count: r.Findings[0].Count}); got != c.want {
				t.Errorf("%+v, want %+v", r.Findings, c.want)
			}
		})
	}
}

func renumber(l [][]byte) [][]byte {
	out := make([][]byte, len(l))
	for i := range l {
		out[i] = line(i+1, l[i])
	}
	return out
}

func copied(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	must(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

// flip changes one byte in the middle of a file.
func flip(t testing.TB, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	if len(text) == 0 {
		t.Fatal(path, "is empty")
	}
	text[len(text)/2] ^= 1
	must(t, os.Chmod(path, 0o600))
	must(t, os.WriteFile(path, text, 0o600))
}

// TestExportFiles flips a bit in each file of an export of a part, cuts it and removes it: each is found.
func TestExportFiles(t *testing.T) {
	p := newPlace(t)
	p.keep(t, events.Options{SealRows: 200}, given(many))
	s := p.open(t, events.Options{})
	must(t, s.Seal(t.Context()))
	must(t, s.Close())
	earlier, err := os.ReadFile(filepath.Join(p.Ledger, checkpointFile))
	must(t, err)
	p.keep(t, events.Options{}, given(2 * many)[many:])
	since, err := VerifyStore(t.Context(), p.Place, start.Add(many*time.Second), &Trust{})
	must(t, err)
	if !since.Sound() || since.First < 2 || since.Verified != 2*many-since.First+1 {
		t.Errorf("%+v", since)
	}
	part := t.TempDir()
	m, err := Export(t.Context(), p.Place, Part{Since: start.Add(many * time.Second)}, earlier, part)
	must(t, err)
	if m.First < 2 || m.Last != 2*many || m.Records != m.Last-m.First+1 {
		t.Errorf("%+v", m)
	}
	if _, err := os.Stat(filepath.Join(part, "tile/0/000")); err == nil {
		t.Error("the tile of the first records is exported, and not needed")
	}
	before := filepath.Join(t.TempDir(), "earlier")
	must(t, os.WriteFile(before, earlier, 0o600))
	trust := &Trust{Key: filepath.Join(p.Ledger, keyFile), Earlier: before}
	if r, err := VerifyExport(t.Context(), part, trust); err != nil || !r.Sound() || r.Earlier != many || r.Verified != m.Records {
		t.Fatalf("%+v, %v", r, err)
	}
	var files []string
	for _, pattern := range []string{"checkpoint", "manifest.json", recordsFile, "tile/*/*", "tile/*/*/*"} {
		found, err := filepath.Glob(filepath.Join(part, pattern))
		must(t, err)
		files = append(files, found...)
	}
	tampered := 0
	for _, path := range files {
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			continue
		}
		name, err := filepath.Rel(part, path)
		must(t, err)
		for how, damage := range map[string]func(string){
			"flipped": func(path string) { flip(t, path) },
			"cut": func(path string) {
				info, err := os.Stat(path)
				must(t, err)
				must(t, os.Truncate(path, info.Size()/2))
			},
			"gone": func(path string) { must(t, os.Remove(path)) },
		} {
			dir := copied(t, part)
			damage(filepath.Join(dir, name))
			if r, err := VerifyExport(t.Context(), dir, trust); err == nil && r.Sound() && r.First == m.First && r.Last == m.Last {
				t.Errorf("%s %s: %+v", name, how, r)
			}
			tampered++
		}
	}
	if tampered < 3*8 {
		t.Errorf("only %d tampered files", tampered)
	}
}

// TestState tampers with what a machine keeps: whole stores made of other events, and files.
func TestState(t *testing.T) {
	p, all := newPlace(t), given(many)
	p.keep(t, events.Options{}, all[:700])
	s := p.open(t, events.Options{})
	must(t, s.Seal(t.Context()))
	must(t, s.Close())
	p.keep(t, events.Options{}, all[700:])
	other := *all[6]
	other.Path = "/nothing/happened"
	for name, c := range map[string]struct {
		change func([]*event.Event) []*event.Event
		want   ledger.Finding
	}{
		"same":      {func(l []*event.Event) []*event.Event { return l }, ledger.Finding{}},
		"altered":   {func(l []*event.Event) []*event.Event { l[6] = &other; return l }, ledger.Finding{Kind: ledger.Altered, Number: 7}},
		"deleted":   {func(l []*event.Event) []*event.Event { return slices.Delete(l, 10, 12) }, ledger.Finding{Kind: ledger.Missing, Number: 11, Count: 2}},
		"reordered": {func(l []*event.Event) []*event.Event { l[10], l[20] = l[20], l[10]; return l }, ledger.Finding{Kind: ledger.Reordered, Number: 11}},
		"inserted":  {func(l []*event.Event) []*event.Event { return slices.Insert(l, 10, given(many + 1)[many]) }, ledger.Finding{Kind: ledger.Inserted, Number: 11, Count: 1}},
		"truncated": {func(l []*event.Event) []*event.Event { return l[:1000] }, ledger.Finding{Kind: ledger.Truncated, Number: 1001, Count: 300}},
	} {
		forged := *p
		forged.Store = t.TempDir()
		s = forged.open(t, events.Options{})
		must(t, s.Append(t.Context(), c.change(slices.Clone(all))))
		must(t, s.Seal(t.Context()))
		must(t, s.Close())
		r := forged.verify(t, &Trust{})
		got := ledger.Finding{}
		if len(r.Findings) > 0 {
			got = ledger.Finding{Kind: r.Findings[0].Kind, Number: r.Findings[0].Number, Count: r.Findings[0].Count}
		}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, r.Findings, c.want)
		}
	}
	files := 0
	for _, pattern := range []string{"log/*.*", "segments/*", "manifest.json"} {
		found, err := filepath.Glob(filepath.Join(p.Store, pattern))
		must(t, err)
		for _, path := range found {
			forged := *p
			forged.Store = copied(t, p.Store)
			name, err := filepath.Rel(p.Store, path)
			must(t, err)
			flip(t, filepath.Join(forged.Store, name))
			if r, err := VerifyStore(t.Context(), forged.Place, time.Time{}, &Trust{}); err == nil && r.Sound() && r.Verified == many {
				t.Logf("%s: a bit that does not matter", name)
				continue
			}
			must(t, os.Remove(filepath.Join(forged.Store, name)))
			if r, err := VerifyStore(t.Context(), forged.Place, time.Time{}, &Trust{}); err == nil && r.Sound() && r.Verified != many {
				t.Errorf("%s is gone: %+v", name, r) // without the manifest all may be in the log still
			}
			files++
		}
	}
	if files < 2 {
		t.Errorf("%d files mattered", files)
	}
}

// TestUnreadable flips a byte of each segment of a store in turn, in what its columns say and behind them: its records are unreadable, from the first on, and
// no other are; one that is gone besides is missing.
func TestUnreadable(t *testing.T) {
	p := newPlace(t)
	p.keep(t, events.Options{SealRows: 400}, given(many))
	s := p.open(t, events.Options{SealRows: 400})
	must(t, s.Seal(t.Context()))
	must(t, s.Close())
	found, err := filepath.Glob(filepath.Join(p.Store, "segments", "*.parquet"))
	must(t, err)
	if len(found) < 3 {
		t.Fatal(found)
	}
	unread := 0
	for _, path := range found {
		for _, at := range []int64{3, 30, 90} { // in a hundred
			forged := *p
			forged.Store = copied(t, p.Store)
			text := textOf(t, path)
			text[int64(len(text))*at/100] ^= 1
			must(t, os.WriteFile(filepath.Join(forged.Store, "segments", filepath.Base(path)), text, 0o600))
			r := forged.verify(t, &Trust{})
			if r.Sound() { // a column that is not read for a record, such as the words of all
				continue
			}
			unread++
			f := &r.Findings[0]
			if len(r.Findings) != 1 || f.Kind != ledger.Unreadable || r.Verified+f.Count != many || !strings.Contains(f.Text, filepath.Base(path)) || f.Count == 0 {
				t.Errorf("%s at %d %%: %+v", filepath.Base(path), at, r)
			}
		}
	}
	if unread < len(found) {
		t.Errorf("%d were found", unread)
	}
}

// TestPlaces: what is not where it should be is named as a whole, with what was meant.
func TestPlaces(t *testing.T) {
	p := newPlace(t)
	p.keep(t, events.Options{}, given(300))
	key, state, none := filepath.Join(p.Ledger, keyFile), filepath.Dir(p.Ledger), filepath.Join(t.TempDir(), "nosuch")
	model := t.TempDir()
	must(t, os.Mkdir(filepath.Join(model, ".palisade"), 0o700))
	verify := func(dir string) error {
		_, err := VerifyExport(t.Context(), dir, &Trust{})
		return err
	}
	_, keyless := VerifyStore(t.Context(), p.Place, time.Time{}, &Trust{Key: filepath.Join(none, keyFile)})
	_, witnessed := Witness(t.Context(), Place{Ledger: state}, t.TempDir(), "auditor.example", key)
	for want, err := range map[string]error{
		"stat " + filepath.Join(none, keyFile):            keyless,
		none + " is not there":                            verify(none),
		"--state " + filepath.Join(model, ".palisade"):    verify(model),
		"--state " + state:                                verify(state),
		"expected the folder ledger of a state directory": witnessed,
		"here " + p.Ledger:                                witnessed,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for name, damage := range map[string]func(entries string){
		"": func(string) {},
		"was altered": func(entries string) {
			text := textOf(t, filepath.Join(entries, "000"))
			text[5] ^= 1 // of the first hash
			must(t, os.Chmod(filepath.Join(entries, "000"), 0o600))
			must(t, os.WriteFile(filepath.Join(entries, "000"), text, 0o600))
		},
		"cannot be read": func(entries string) { flip(t, filepath.Join(entries, "000")) },
		"is gone":        func(entries string) { must(t, os.RemoveAll(entries)) },
	} {
		forged := *p
		forged.Ledger = copied(t, p.Ledger)
		damage(filepath.Join(forged.Ledger, "tile/entries"))
		r := forged.verify(t, &Trust{})
		if r.Verified != 300 || r.Sound() != (name == "") || name != "" && (r.Findings[0].Kind != ledger.Tiles || !strings.Contains(r.Findings[0].Text, name) || !strings.HasPrefix(r.Findings[0].Tile, "tile/entries/000")) {
			t.Errorf("hashes of records, %q: %+v", name, r.Report)
		}
	}
	p.Store = none
	r := p.verify(t, &Trust{})
	if len(r.Findings) != 1 || r.Findings[0].Kind != ledger.Truncated || r.Findings[0].Number != 1 || r.Findings[0].Count != 300 || !strings.Contains(r.Findings[0].Text, none) {
		t.Errorf("without its store: %+v", r)
	}
}

// TestWitness lets a second party sign, and refuses for it what the owner of the key has written anew.
func TestWitness(t *testing.T) {
	p := newPlace(t)
	p.keep(t, events.Options{}, given(300))
	key, own := filepath.Join(p.Ledger, keyFile), t.TempDir()
	if _, err := Witness(t.Context(), p.Place, own, "", key); err == nil || !strings.Contains(err.Error(), "--name") {
		t.Errorf("without a name: %v", err)
	}
	_, err := Witness(t.Context(), p.Place, own, "auditor.example", key)
	must(t, err)
	p.keep(t, events.Options{}, given(900)[300:])
	trust := &Trust{Key: key, Witnesses: []string{filepath.Join(own, witnessPublic)}}
	if _, err := VerifyStore(t.Context(), p.Place, time.Time{}, trust); err == nil || !strings.Contains(err.Error(), "0 of 1 witnesses") || !strings.Contains(err.Error(), `"auditor.example"`) {
		t.Errorf("not signed yet: %v", err)
	}
	kept := filepath.Join(t.TempDir(), checkpointFile) // of an export that no witness has seen
	must(t, os.WriteFile(kept, textOf(t, filepath.Join(p.Ledger, checkpointFile)), 0o600))
	p.keep(t, events.Options{}, given(1000)[900:])
	out := t.TempDir()
	_, err = Export(t.Context(), p.Place, Part{}, nil, out)
	must(t, err)
	signed, err := Witness(t.Context(), Place{Ledger: out}, own, "", key)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(out, checkpointFile), signed, 0o600))
	if r, err := VerifyExport(t.Context(), out, trust); err != nil || !r.Sound() || fmt.Sprint(r.Checkpoint.Witnesses) != "[auditor.example]" {
		t.Errorf("%+v, %v", r, err)
	}
	trust.Earlier = kept
	if r, err := VerifyExport(t.Context(), out, trust); err != nil || !r.Sound() || r.Earlier != 900 {
		t.Errorf("with an earlier checkpoint that the witness has not signed: %+v, %v", r, err)
	}
	must(t, os.RemoveAll(p.Ledger)) // the same key, another history
	must(t, os.RemoveAll(p.Store))
	p.keep(t, events.Options{}, given(2000)[1000:])
	if _, err := Witness(t.Context(), p.Place, own, "", key); err == nil || !strings.Contains(err.Error(), "another history") {
		t.Errorf("a history that was written anew: %v", err)
	}
}

// FuzzLines reads what no export has: no panic, and what is read is what stands there.
func FuzzLines(f *testing.F) {
	f.Add([]byte("{\"number\":12,\"record\":{}}\n"))
	f.Add([]byte("{\"number\":0,\"record\":{}}\n{\"number\":1,\"record\":"))
	f.Fuzz(func(t *testing.T, text []byte) {
		lines(bytes.NewReader(text), "fuzz", func(r ledger.Record, err error) bool {
			if err == nil && !bytes.Contains(text, bytes.TrimSuffix(r.Data, []byte("\n"))) {
				t.Errorf("%q", r.Data)
			}
			return true
		})
	})
}
