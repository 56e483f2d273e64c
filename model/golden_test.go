package model

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what the code says into the golden files") //nolint:gochecknoglobals // a flag of go test

// unpack writes the files of an archive below prefix into a directory of their own, which becomes the working
// directory, so that places read as a user would see them.
func unpack(t *testing.T, files []txtar.File, prefix string) (names []string) {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		name, ok := strings.CutPrefix(f.Name, prefix)
		if !ok || name == "want" {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		data := f.Data
		// Bytes that have no place in an archive are written as Go escapes on a line that begins with #!go.
		if text, ok := bytes.CutPrefix(data, []byte("#!go ")); ok {
			if err := json.Unmarshal(bytes.TrimSpace(text), (*escaped)(&data)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	t.Chdir(dir)
	return names
}

// escaped is bytes written as a JSON list of text and repetitions: ["a: ", 3, "[["].
type escaped []byte

func (e *escaped) UnmarshalJSON(text []byte) error {
	var parts []any
	if err := json.Unmarshal(text, &parts); err != nil {
		return err
	}
	var out []byte
	times := 1
	for _, p := range parts {
		switch p := p.(type) {
		case float64:
			times = int(p)
		case string:
			out = append(out, bytes.Repeat([]byte(p), times)...)
			times = 1
		case []any: // single bytes
			for _, b := range p {
				if n, ok := b.(float64); ok {
					out = append(out, byte(n))
				}
			}
		}
	}
	*e = out
	return nil
}

// options reads the words of a comment such as "# development" at the top of a model.
func options(text []byte) Options {
	return Options{
		Development:     bytes.HasPrefix(text, []byte("# development")),
		Elsewhere:       bytes.HasPrefix(text, []byte("# elsewhere")),
		Getenv:          func(name string) (string, bool) { return "from the environment", name == "SET" },
		DevelopmentKeys: []byte(`{"keys":[]}`),
	}
}

// TestCompile holds models above a line and their snapshots below.
func TestCompile(t *testing.T) {
	matches, err := filepath.Glob("testdata/compile/*.txtar")
	if err != nil || len(matches) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range matches {
		t.Run(filepath.Base(file), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			golden, err := filepath.Abs(file)
			if err != nil {
				t.Fatal(err)
			}
			unpack(t, archive.Files, "")
			got := compileGolden(t, ".", options(archive.Comment))
			last := &archive.Files[len(archive.Files)-1]
			if last.Name != "want" {
				archive.Files = append(archive.Files, txtar.File{Name: "want"})
				last = &archive.Files[len(archive.Files)-1]
			}
			if string(last.Data) == got {
				return
			}
			if !*update {
				t.Fatalf("the snapshot differs; run with -update and read the difference\n%s", got)
			}
			last.Data = []byte(got)
			if err := os.WriteFile(golden, txtar.Format(archive), 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func compileGolden(t *testing.T, path string, o Options) string {
	t.Helper()
	d, _, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, findings := d.Compile(o)
	var out bytes.Buffer
	if err := FormatFindings(&out, findings); err != nil {
		t.Fatal(err)
	}
	if snapshot == nil {
		return out.String() + "no snapshot\n"
	}
	again, _ := d.Compile(o)
	if again.Version != snapshot.Version || len(snapshot.Version) != 64 {
		t.Errorf("the same model has versions %s and %s", snapshot.Version, again.Version)
	}
	travels(t, snapshot)
	snapshot.Version, snapshot.Origin = "", nil // of this host
	text, err := json.MarshalIndent(snapshot, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	out.WriteString(strings.ReplaceAll(string(text), wd, "DIR") + "\n")
	return out.String()
}

// travels makes sure that a snapshot survives its way as text.
func travels(t *testing.T, s *Snapshot) {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back Snapshot
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(back); err != nil || !bytes.Equal(text, again) {
		t.Errorf("the snapshot reads back as another (%v):\n%s\n%s", err, text, again)
	}
	if err := back.Verify(); err != nil && s.Self == "" {
		t.Errorf("what has travelled does not verify: %v", err)
	}
}

// TestWrong holds every wrong configuration with its message. A case is a folder of an archive in
// testdata/wrong: files whose names begin with "case" are laid over testdata/base.yaml; a palisade.yaml or a folder
// dir stands alone. Below them stands what is said about them.
func TestWrong(t *testing.T) {
	base, err := os.ReadFile("testdata/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	matches, err := filepath.Glob("testdata/wrong/*.txtar")
	if err != nil || len(matches) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range matches {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		golden, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		changed := false
		for _, c := range cases(archive) {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar")+"/"+c, func(t *testing.T) {
				changed = wrongCase(t, archive, c, base) || changed
			})
		}
		if changed && *update {
			if err := os.WriteFile(golden, txtar.Format(archive), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func cases(archive *txtar.Archive) []string {
	var out []string
	for _, f := range archive.Files {
		name, _, folder := strings.Cut(f.Name, "/")
		if folder && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func wrongCase(t *testing.T, archive *txtar.Archive, name string, base []byte) (changed bool) {
	t.Helper()
	var want *txtar.File
	at, head := 0, []byte(nil)
	for i, f := range archive.Files {
		if !strings.HasPrefix(f.Name, name+"/") {
			continue
		}
		at = i
		if f.Name == name+"/want" {
			want = &archive.Files[i]
		} else if head == nil {
			head = f.Data
		}
	}
	if want == nil {
		archive.Files = slices.Insert(archive.Files, at+1, txtar.File{Name: name + "/want"})
		want = &archive.Files[at+1]
	}
	got := wrongMessages(t, unpack(t, archive.Files, name+"/"), base, options(head))
	if got == string(want.Data) {
		return false
	}
	if !*update {
		t.Errorf("got\n%s\nwant\n%s", got, want.Data)
		return false
	}
	want.Data = []byte(got)
	return true
}

func wrongMessages(t *testing.T, names []string, base []byte, o Options) string {
	t.Helper()
	models := []string{"base.yaml"}
	switch {
	case slices.Contains(names, "palisade.yaml"):
		models = []string{"palisade.yaml"}
	case slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "dir/") }):
		models = []string{"dir"}
	default:
		if err := os.WriteFile("base.yaml", base, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range names {
		if strings.HasPrefix(n, "case") {
			models = append(models, n)
		}
	}
	d, loaded, err := Load(models...)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, findings := d.Compile(o)
	if (snapshot == nil) != HasErrors(findings) {
		t.Errorf("snapshot %v with findings %v", snapshot != nil, findings)
	}
	for _, f := range loaded {
		if !slices.Contains(findings, f) {
			t.Errorf("Compile forgets %v", f)
		}
	}
	var out bytes.Buffer
	if err := FormatFindings(&out, findings); err != nil {
		t.Fatal(err)
	}
	if len(findings) == 0 {
		t.Error("nothing was found")
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(out.String(), wd, "DIR")
}

// TestEveryCode makes sure that no kind of finding lacks a wrong configuration that shows it.
func TestEveryCode(t *testing.T) {
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`(?:(?:fail|warn|collide|refuse|d\.report)\((?:t, |tokens\[maxToken\], )?|report\((?:Error|Warning), |Code: )"([a-z0-9-]+)"`)
	var shown bytes.Buffer
	goldens, err := filepath.Glob("testdata/wrong/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range goldens {
		text, err := os.ReadFile(g)
		if err != nil {
			t.Fatal(err)
		}
		shown.Write(text)
	}
	seen := 0
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range code.FindAllSubmatch(text, -1) {
			seen++
			if c := string(m[1]); c != "internal" && c != "expired-certificate" && c != "too-many" && !strings.Contains(shown.String(), "["+c) {
				t.Errorf("%s: no wrong configuration shows %q", source, c)
			}
		}
	}
	if seen < 80 {
		t.Errorf("only %d codes were found; the expression is out of date", seen)
	}
}
