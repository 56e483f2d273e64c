package authority

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/palisade-security/palisade/identity/revocation"
	"github.com/palisade-security/palisade/keyring"
)

const killedDir = "PALISADE_TEST_AUTHORITY_DIR"

// openIn opens an authority that lives in dir.
func openIn(t *testing.T, dir string) *Authority {
	t.Helper()
	keeper, err := keyring.LocalKeeper(dir)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.OpenRing(t.Context(), dir, keeper)
	if err != nil {
		t.Fatal(err)
	}
	config := newPlace(t).config()
	config.Keys, config.Store = ring, NewFileStore(filepath.Join(dir, "authority.json"))
	a, err := Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestKilled kills a process with SIGKILL, 25 times, while it revokes as fast as it can. Every revocation that it
// acknowledged must be there afterwards, under the same root.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(killedDir); dir != "" {
		revokeForever(t, dir)
		return
	}
	dir := t.TempDir()
	root := openIn(t, dir).Bundle().X509Authorities()[0]
	acknowledged := 0
	for round := range 25 {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
		child.Env = append(os.Environ(), killedDir+"="+dir, "TMPDIR="+t.TempDir()) // it cannot clean up after itself
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		var last int
		for range 2 + round { // then kill it, wherever it is
			if _, err := fmt.Fscanln(out, &last); err != nil {
				t.Fatal(err)
			}
		}
		_ = child.Process.Kill()
		_ = child.Wait()
		acknowledged = last
		a := openIn(t, dir)
		if got := len(a.Revoked().Entries()); got < acknowledged {
			t.Fatalf("round %d: %d revocations of %d acknowledged", round, got, acknowledged)
		}
		if !a.Bundle().X509Authorities()[0].Equal(root) {
			t.Fatalf("round %d: another root", round)
		}
	}
	issue(t, openIn(t, dir), "catalog")
	t.Logf("%d acknowledged revocations, none lost", acknowledged)
}

// revokeForever revokes one serial number after another and prints how many are acknowledged.
func revokeForever(t *testing.T, dir string) {
	a := openIn(t, dir)
	for n := len(a.Revoked().Entries()) + 1; t.Context().Err() == nil; n++ {
		if err := a.Revoke(t.Context(), revocation.Serial, fmt.Sprintf("%x", n), "", ""); err != nil {
			t.Fatal(err)
		}
		fmt.Println(n)
	}
}

// TestDamaged holds that a state cut short is an error, never a new trust domain.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	openIn(t, dir)
	path := filepath.Join(dir, "authority.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, len(data) / 2, len(data) - 1} {
		if err := os.WriteFile(path, data[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		config := newPlace(t).config()
		config.Store = NewFileStore(path)
		if _, err := Open(t.Context(), config); err == nil {
			t.Errorf("%d bytes of %d: the authority opens", n, len(data))
		}
	}
}
