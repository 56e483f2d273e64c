package floors

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/palisade-security/palisade"

// outside are folders that hold no product code.
var outside = []string{"examples", "bench", "docs", "scripts", "deploy"}

// drawing reads a fenced block of ARCHITECTURE.md as lines of words.
func drawing(t *testing.T, fence string) [][]string {
	t.Helper()
	text, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```"+fence+"\n")
	block, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatalf("ARCHITECTURE.md has no block %q", fence)
	}
	var out [][]string
	for line := range strings.Lines(block) {
		if words := strings.Fields(line); len(words) > 0 {
			out = append(out, words)
		}
	}
	return out
}

// file is one Go file: the folder it stands in and what it imports.
type file struct {
	path, dir string
	test      bool
	doc       string
	imports   []string
}

func files(t *testing.T) []file {
	t.Helper()
	var out []file
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(filepath.ToSlash(path), "../../")
		if d.IsDir() && (slices.Contains(outside, rel) || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && d.Name() != ".." && rel != "../..") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		tree, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		f := file{path: rel, dir: filepath.ToSlash(filepath.Dir(rel)), test: strings.HasSuffix(rel, "_test.go")}
		if tree.Doc != nil {
			f.doc = tree.Doc.Text()
		}
		for _, i := range tree.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, name)
		}
		out = append(out, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestImportsGoDown(t *testing.T) {
	floor := map[string]int{}
	for i, rooms := range drawing(t, "floors") {
		for _, room := range rooms {
			floor[room] = i
		}
	}
	seen := map[string]bool{}
	for _, f := range files(t) {
		room, _, _ := strings.Cut(f.dir, "/")
		from, drawn := floor[room]
		if !drawn {
			t.Errorf("%s: room %q is not drawn in ARCHITECTURE.md", f.path, room)
			continue
		}
		seen[room] = true
		for _, name := range f.imports {
			inside, ok := strings.CutPrefix(name, module+"/")
			if !ok {
				continue
			}
			other, _, _ := strings.Cut(inside, "/")
			to, drawn := floor[other]
			if other != room && (!drawn || to <= from) && !f.test {
				t.Errorf("%s: %q may not import %q: it is not on a lower floor", f.path, room, other)
			}
		}
	}
	for room := range floor {
		if !seen[room] {
			t.Errorf("ARCHITECTURE.md draws room %q, which has nothing in it", room)
		}
	}
}

func TestHeavyDependenciesHaveOneHome(t *testing.T) {
	homes := map[string][]string{}
	for _, words := range drawing(t, "homes") {
		homes[words[0]] = words[1:]
	}
	for _, f := range files(t) {
		for _, name := range f.imports {
			for dependency, dirs := range homes {
				inside := name == dependency || strings.HasPrefix(name, dependency+"/")
				at := func(dir string) bool { return f.dir == dir || strings.HasPrefix(f.dir, dir+"/") }
				if inside && !f.test && !slices.ContainsFunc(dirs, at) {
					t.Errorf("%s: %s belongs to %s alone", f.path, name, strings.Join(dirs, ", "))
				}
			}
		}
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	comments := map[string]int{}
	for _, f := range files(t) {
		if f.test {
			continue
		}
		comments[f.dir] += 0
		if f.doc != "" && !strings.HasPrefix(f.doc, "Code generated") {
			comments[f.dir]++
		}
	}
	for dir, n := range comments {
		if n != 1 {
			t.Errorf("package %s has %d package comments, want one", dir, n)
		}
	}
}
