package plan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/model/plan"
)

var update = flag.Bool("update", false, "write what the code says into the golden files") //nolint:gochecknoglobals // a flag of go test

// compile compiles the files of an archive below prefix, laid into a directory of their own.
func compile(t *testing.T, files []txtar.File, prefix string) *model.Snapshot {
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
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	d, _, err := model.Load(".")
	if err != nil {
		t.Fatal(err)
	}
	s, findings := d.Compile(model.Options{Development: true, DevelopmentKeys: []byte(`{"keys":[]}`), Getenv: func(string) (string, bool) { return "x", true }})
	if s == nil {
		t.Fatal(findings)
	}
	return s
}

// show writes a plan as people read it.
func show(p plan.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "widens: %t\n", p.Widens())
	for _, c := range p.Changes {
		fmt.Fprintf(&b, "%-9s %s: %s", c.Kind, c.Key, c.Words)
		if c.Before.File != "" {
			fmt.Fprintf(&b, " (was %s)", c.Before)
		}
		if c.After.File != "" {
			fmt.Fprintf(&b, " (%s)", c.After)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// TestDiff holds pairs of models, before and after, with the plan between them, and the plan of the way back.
func TestDiff(t *testing.T) {
	matches, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(matches) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range matches {
		file, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			before, after := compile(t, archive.Files, "before/"), compile(t, archive.Files, "after/")
			there, back := plan.Diff(before, after), plan.Diff(after, before)
			if len(plan.Diff(before, before).Changes)+len(plan.Diff(after, after).Changes) > 0 {
				t.Error("a model differs from itself")
			}
			travels(t, there)
			got := show(there) + "\nand back\n" + show(back)
			last := &archive.Files[len(archive.Files)-1]
			if last.Name != "want" {
				archive.Files = append(archive.Files, txtar.File{Name: "want"})
				last = &archive.Files[len(archive.Files)-1]
			}
			if got == string(last.Data) {
				return
			}
			if !*update {
				t.Fatalf("got\n%s\nwant\n%s", got, last.Data)
			}
			last.Data = []byte(got)
			if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func travels(t *testing.T, p plan.Plan) {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back plan.Plan
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, p) {
		t.Errorf("the plan reads back as another: %v\n%s", err, text)
	}
}

// snapshots are the golden models of package model, which have most keys.
func snapshots(t *testing.T) []*model.Snapshot {
	t.Helper()
	var out []*model.Snapshot
	for _, name := range []string{"mesh", "shop"} {
		file, err := filepath.Abs("../testdata/compile/" + name + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		wd, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, compile(t, archive.Files, ""))
		t.Chdir(wd)
	}
	return out
}

func clone(t *testing.T, s *model.Snapshot) *model.Snapshot {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var out model.Snapshot
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return &out
}

// TestNothingIsSilent changes every single value of a snapshot and expects words for it.
func TestNothingIsSilent(t *testing.T) {
	changed := 0
	for _, s := range snapshots(t) {
		for n := 0; ; n++ {
			after := clone(t, s)
			left := n
			where := mutate(reflect.ValueOf(after).Elem(), "", &left)
			if where == "" {
				break
			}
			changed++
			p := plan.Diff(s, after)
			if len(p.Changes) == 0 || strings.Contains(p.Changes[0].Words, "no words") {
				t.Errorf("a change of %s is silent: %+v", where, p.Changes)
			}
			if err := after.Verify(); !errors.Is(err, model.ErrEdited) {
				t.Errorf("a change of %s verifies under the version before: %v", where, err)
			}
		}
	}
	if changed < 500 {
		t.Errorf("only %d values were changed", changed)
	}
	t.Logf("%d values were changed", changed)
}

// mutate changes the value that stands at position left in v and returns where that is, or "".
func mutate(v reflect.Value, at string, left *int) string {
	if v.Type() == reflect.TypeFor[model.Position]() || v.Type() == reflect.TypeFor[model.Prefix]() {
		return ""
	}
	switch v.Kind() { //nolint:exhaustive // a snapshot is made of no other kinds
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return mutate(v.Elem(), at, left)
	case reflect.Struct:
		for f, value := range v.Fields() {
			if derived(f.Name, at) || idle(v, f.Name) {
				continue
			}
			if w := mutate(value, at+"."+f.Name, left); w != "" {
				return w
			}
		}
		return ""
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			break
		}
		for i := range v.Len() {
			if w := mutate(v.Index(i), fmt.Sprintf("%s[%d]", at, i), left); w != "" {
				return w
			}
		}
		return ""
	case reflect.Map:
		for _, k := range v.MapKeys() {
			element := reflect.New(v.Type().Elem()).Elem()
			element.Set(v.MapIndex(k))
			w := mutate(element, at+"."+k.String(), left)
			v.SetMapIndex(k, element)
			if w != "" {
				return w
			}
		}
		return ""
	}
	*left--
	if *left >= 0 {
		return ""
	}
	switch v.Kind() { //nolint:exhaustive // as above
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + 0.01)
	case reflect.Slice:
		v.SetBytes(append(v.Bytes(), 'x'))
	}
	return at
}

// derived names what follows from other values: identifiers and their copies, and what only names a file.
func derived(field, at string) bool {
	switch field {
	case "Version", "Origin", "ID", "APIFile", "JWKSFile", "Clients":
		return true
	case "Anonymous":
		return true // says again what Allow says
	case "Reason":
		return true // of an exclusion: a comment
	case "Limits":
		return strings.HasPrefix(at, ".Routes") || strings.Contains(at, ".Serve") // those of the service and the edge again
	}
	return false
}

// idle names values that have no effect beside the others of their struct.
func idle(v reflect.Value, field string) bool {
	switch s := v.Interface().(type) {
	case model.WAF:
		return s.Mode == "off" && field != "Mode"
	case model.Validate:
		return s.Off && field != "Off"
	case model.Exclusion:
		return s.Tag != "" && field == "Rule"
	case model.Grant:
		return field == "Users" // what a grant means that says nothing else
	case model.ResolvedService:
		return len(s.Serve) > 0 && field == "Callers"
	}
	return false
}
