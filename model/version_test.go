package model

import (
	"os"
	"path/filepath"
	"testing"
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
	if err := os.CopyFS(elsewhere, os.DirFS(shop)); err != nil {
		t.Fatal(err)
	}
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
