package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/palisade-security/palisade/app/isolate"
	"github.com/palisade-security/palisade/internal/fleettest"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == isolate.Verb {
		main() // the inside of a service's network
	}
	if err := fleettest.EndAtOnce(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testscript.Main(m, map[string]func(){
		"palisade":     main,
		"test-service": service,
		"test-issuer":  issue,
	})
}

// TestScripts runs the real main on scripts that read like documentation. Each finds the example fleet in
// $WORK/shop.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "")
			e.Setenv("GORACE", os.Getenv("GORACE"))
			return copyFleet(filepath.Join(e.WorkDir, "shop"), "../../examples/shop")
		},
	})
}

// copyFleet copies a model with its policies and documents, not its state or services.
func copyFleet(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && name != ".":
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o750)
		case filepath.Ext(path) != ".yaml" && filepath.Ext(path) != ".cedar":
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), data, 0o600)
	})
}

// TestExitCodes holds the codes that scripts of users rely on; testscript itself only knows zero and not zero.
func TestExitCodes(t *testing.T) {
	shop := filepath.Join(t.TempDir(), "shop")
	if err := copyFleet(shop, "../../examples/shop"); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "palisade.yaml")
	if err := os.WriteFile(broken, []byte("version: 1\nfleet: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	little := filepath.Join(t.TempDir(), "palisade.yaml")
	if err := os.WriteFile(little, []byte(`{version: 1, fleet: shop, trust_domain: shop.example, edge: {listeners: {main: {address: "127.0.0.1:8443", tls: {local: true}}}}, services: {back: {address: "http://127.0.0.1:1"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	nothing := filepath.Join(t.TempDir(), "nothing.json")
	if err := os.WriteFile(nothing, []byte(verb(t, nil, "snapshot", little).out), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"plan", shop, "--from", shop}, exitOK},
		{[]string{"plan", shop, "--from", nothing}, exitFindings},
		{[]string{"plan", shop}, exitError},
		{[]string{"plan", broken, "--from", shop}, exitError},
		{[]string{"plan", shop, "--from", broken}, exitError},
		{[]string{"export", "compose", broken}, exitFindings},
		{[]string{"export", "nftables", "--host", "nowhere", shop}, exitError},
		{[]string{"export"}, exitError},
		{[]string{"validate", shop}, exitOK},
		{[]string{"validate", broken}, exitFindings},
		{[]string{"validate", "--production", shop}, exitFindings},
		{[]string{"validate", "/nowhere"}, exitError},
		{[]string{"snapshot", shop}, exitOK},
		{[]string{"snapshot", broken}, exitFindings},
		{[]string{"try", "GET /catalog", shop}, exitOK},
		{[]string{"try", "GET /orders", shop}, exitFindings},
		{[]string{"try", "GET /orders", broken}, exitError},
		{[]string{"try", "orders", shop}, exitError},
		{[]string{"token", "--as", "user-1", shop}, exitError},
		{[]string{"explain", "0198c0de", shop}, exitError},
		{[]string{"events", shop}, exitError},
		{[]string{"ca", shop}, exitError},
		{[]string{"reload", shop}, exitError},
		{[]string{"up", broken}, exitFindings},
		{[]string{"edge", shop}, exitFindings},
		{[]string{"--nope"}, exitError},
		{[]string{"nonsense"}, exitError},
		{nil, exitError},
		{[]string{"--help"}, exitOK},
		{[]string{"version"}, exitOK},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			var out, messages strings.Builder
			if got := run(c.args, &out, &messages); got != c.want {
				t.Errorf("exit code %d, want %d\n%s%s", got, c.want, &out, &messages)
			}
			if strings.Contains(messages.String(), "goroutine ") {
				t.Errorf("a stack trace: %s", &messages)
			}
		})
	}
}
