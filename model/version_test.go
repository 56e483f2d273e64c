package model

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/internal/fleettest"
)

// TestVersionDependsOnContentAlone loads the same files from another folder and under another name of it.
func TestVersionDependsOnContentAlone(t *testing.T) {
	version := func(path string) string {
		t.Helper()
		d, _, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		s, findings := d.Compile(Options{Development: true})
		if s == nil {
			t.Fatal(findings)
		}
		return s.Version
	}
	shop, err := filepath.Abs("../examples/shop")
	if err != nil {
		t.Fatal(err)
	}
	first := version(shop)
	elsewhere := filepath.Join(t.TempDir(), "else", "where")
	fleettest.CopyModel(t, elsewhere, shop)
	if got := version(elsewhere); got != first {
		t.Errorf("in another folder the version is %s, want %s", got, first)
	}
	t.Chdir(shop)
	if got := version("."); got != first {
		t.Errorf("named by a relative path the version is %s, want %s", got, first)
	}
	text, err := os.ReadFile("palisade.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(elsewhere, "palisade.yaml"), append(text, "# a comment\naudit: {dir: /var/lib/palisade/events}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := version(elsewhere); got == first {
		t.Error("another model has the same version")
	}
}

// TestVerify holds a snapshot that comes from outside against its version, also where another process reads it in another folder.
func TestVerify(t *testing.T) {
	t.Chdir("../examples")
	d, _, err := Load("shop")
	if err != nil {
		t.Fatal(err)
	}
	s, findings := d.Compile(Options{Development: true})
	if s == nil {
		t.Fatal(findings)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		what, old, is string
		want          error
	}{
		{"as it was written", "", "", nil},
		{"another role within a role", `"includes":["customer"]`, `"includes":["custmer"]`, ErrEdited},
		{"another path", `"path":"/orders`, `"path":"/hidden`, ErrEdited},
		{"another version", `"version":"` + s.Version[:8], `"version":"00000000`, ErrEdited},
		{"another use", `"development":true,"`, `"`, ErrEdited},
		{"no origin", `"origin":`, `"origine":`, ErrNoOrigin},
	} {
		edited := strings.Replace(string(text), c.old, c.is, 1)
		if edited == string(text) && c.want != nil {
			t.Fatalf("%s: there is no %s", c.what, c.old)
		}
		var back Snapshot
		if err := json.Unmarshal([]byte(edited), &back); err != nil {
			t.Fatal(err)
		}
		if err := back.Verify(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if slice := s.ForEdge(); slice.Origin != nil {
		t.Error("a slice tells a proxy where the model was compiled")
	}
}
