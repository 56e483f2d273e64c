package export_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/palisade-security/palisade/export"
	"github.com/palisade-security/palisade/model"
)

var update = flag.Bool("update", false, "write what the code says into the golden files") //nolint:gochecknoglobals // a flag of go test

// options are those of all outputs.
type options struct {
	Kubernetes export.KubernetesOptions
	Compose    export.ComposeOptions
	Nftables   export.NftablesOptions
}

// compile compiles one palisade.yaml.
func compile(t *testing.T, text string) *model.Snapshot {
	t.Helper()
	path := filepath.Join(t.TempDir(), "palisade.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, _, err := model.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	s, findings := d.Compile(model.Options{Development: true})
	if s == nil {
		t.Fatal(findings)
	}
	s.Version = strings.Repeat("0", 64) // it depends on absolute paths
	return s
}

// golden is an archive of testdata.
type golden struct {
	path, name string
	*txtar.Archive
}

func goldens(t *testing.T) []golden {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal("no golden files", err)
	}
	var out []golden
	for _, path := range paths {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, golden{path, strings.TrimSuffix(filepath.Base(path), ".txtar"), a})
	}
	return out
}

func (g golden) file(name string) string {
	for _, f := range g.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func (g golden) options(t *testing.T) options {
	t.Helper()
	var o options
	if text := g.file("options.json"); text != "" {
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&o); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// TestGolden holds models with what is made of them, or what is said about them.
func TestGolden(t *testing.T) {
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			s, o := compile(t, g.file("palisade.yaml")), g.options(t)
			changed := false
			for _, kind := range []string{"kubernetes", "compose", "nftables"} {
				got := write(t, kind, s, o)
				if again := write(t, kind, s, o); again != got {
					t.Errorf("%s: two runs differ", kind)
				}
				if got == g.file(kind) {
					continue
				}
				if !*update {
					t.Errorf("%s differs; run with -update and read the difference\n%s", kind, got)
				}
				changed = true
				g.set(kind, got)
			}
			if changed && *update {
				if err := os.WriteFile(g.path, txtar.Format(g.Archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func (g golden) set(name, text string) {
	for i, f := range g.Files {
		if f.Name == name {
			g.Files[i].Data = []byte(text)
			return
		}
	}
	g.Files = append(g.Files, txtar.File{Name: name, Data: []byte(text)})
}

// write returns an output, or its errors.
func write(t *testing.T, kind string, s *model.Snapshot, o options) string {
	t.Helper()
	var r *export.Result
	var err error
	switch kind {
	case "kubernetes":
		r, err = export.Kubernetes(s, o.Kubernetes)
	case "compose":
		r, err = export.Compose(s, o.Compose)
	case "nftables":
		r, err = export.Nftables(s, o.Nftables)
	}
	if err != nil {
		return "error: " + strings.ReplaceAll(err.Error(), "\n", "\nerror: ") + "\n"
	}
	for _, gap := range r.Gaps {
		if !strings.Contains(string(r.Text), fmt.Sprintf("# - %s: %s\n", gap.Key, gap.Words)) {
			t.Errorf("%s: the text does not tell of %v", kind, gap)
		}
	}
	return string(r.Text)
}
