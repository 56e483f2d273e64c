package keyring

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// openRing opens a ring in dir under its local keeper.
func openRing(t *testing.T, dir string) *Ring {
	t.Helper()
	keeper, err := LocalKeeper(dir)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := OpenRing(t.Context(), dir, keeper)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func sameKey(a, b crypto.Signer) bool {
	return a.Public().(*ecdsa.PublicKey).Equal(b.Public())
}

// TestRingKeys holds that keys are made once, survive opening again, and go when removed.
func TestRingKeys(t *testing.T) {
	dir := t.TempDir()
	ring := openRing(t, dir)
	if _, err := ring.Lookup(t.Context(), "root"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key that was never made: %v", err)
	}
	first, err := ring.Signer(t.Context(), "root")
	if err != nil {
		t.Fatal(err)
	}
	if first.Public().(*ecdsa.PublicKey).Curve != elliptic.P256() {
		t.Error("not on P-256")
	}
	other, err := ring.Signer(t.Context(), "other")
	if err != nil || sameKey(first, other) {
		t.Errorf("two names, one key: %v", err)
	}
	again := openRing(t, dir)
	if same, err := again.Lookup(t.Context(), "root"); err != nil || !sameKey(first, same) {
		t.Errorf("after opening again: %v", err)
	}
	for range 2 {
		if err := ring.Remove(t.Context(), "root"); err != nil {
			t.Error(err)
		}
	}
	if _, err := again.Lookup(t.Context(), "root"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a removed key: %v", err)
	}
}

// TestRingRace holds that all who open a new ring and ask for a new key at once get the same.
func TestRingRace(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	var keys []crypto.Signer
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			key, err := openRing(t, dir).Signer(t.Context(), "root")
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			keys = append(keys, key)
		})
	}
	group.Wait()
	for _, key := range keys {
		if !sameKey(keys[0], key) {
			t.Fatal("two keys of one name")
		}
	}
}

// TestRingAtRest holds that nothing on disk shows a key, and that sealed files do not open in other places.
func TestRingAtRest(t *testing.T) {
	dir := t.TempDir()
	ring := openRing(t, dir)
	if _, err := ring.Signer(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Signer(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	secret := []byte("the last good state, very long and easily found in clear")
	if err := ring.Save("snapshot", secret); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Contains(data, secret[:16]) || bytes.Contains(data, []byte("BEGIN PRIVATE KEY")) {
			t.Errorf("%s holds a secret in clear", path)
		}
		if info, err := d.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(ring.keyPath("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ring.keyPath("b"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Lookup(t.Context(), "b"); !errors.Is(err, ErrSealed) {
		t.Errorf("a key under another's name: %v", err)
	}
	if _, err := ring.Signer(t.Context(), "b"); !errors.Is(err, ErrSealed) {
		t.Errorf("a key that does not open is made anew: %v", err)
	}
	foreign := openRing(t, t.TempDir())
	if err := os.WriteFile(foreign.keyPath("a"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := foreign.Lookup(t.Context(), "a"); !errors.Is(err, ErrSealed) {
		t.Errorf("a key of another ring: %v", err)
	}
	if err := os.Chmod(ring.keyPath("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Lookup(t.Context(), "a"); !errors.Is(err, ErrExposed) {
		t.Errorf("an exposed file: %v", err)
	}
}

// TestState holds that what was sealed comes back, under its own name alone and unchanged.
func TestState(t *testing.T) {
	ring := openRing(t, t.TempDir())
	if _, err := ring.Load("snapshot"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was never saved: %v", err)
	}
	for _, text := range []string{"first", "", "second"} {
		if err := ring.Save("snapshot", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := ring.Load("snapshot"); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	sealed, err := ring.Seal("a", []byte("data"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ring.Open("a", sealed); err != nil || string(got) != "data" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := ring.Open("b", sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("under another name: %v", err)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := ring.Open("a", changed); !errors.Is(err, ErrSealed) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	if _, err := ring.Open("a", nil); !errors.Is(err, ErrSealed) {
		t.Errorf("nothing: %v", err)
	}
}

// TestNames holds that a name cannot leave the ring's folder.
func TestNames(t *testing.T) {
	ring := openRing(t, t.TempDir())
	for _, name := range []string{"", ".", "..", "../ring", "a/b", "A", "ä", "a b", "a\x00", strings.Repeat("a", maxName+1)} {
		if _, err := ring.Signer(t.Context(), name); err == nil {
			t.Errorf("%q is a name", name)
		}
		if ring.Save(name, nil) == nil || ring.Remove(t.Context(), name) == nil {
			t.Errorf("%q is a name", name)
		}
	}
}

// brokenKeeper wraps but does not unwrap, as a key service whose key was lost.
type brokenKeeper struct{ Keeper }

func (brokenKeeper) Decrypt(context.Context, []byte) ([]byte, error) {
	return nil, errors.New("out of reach")
}

// TestRewrap moves a ring from one keeper to another and holds that a keeper that cannot unwrap changes nothing.
func TestRewrap(t *testing.T) {
	dir, before := t.TempDir(), t.TempDir()
	first, err := LocalKeeper(before)
	if err != nil {
		t.Fatal(err)
	}
	second, err := LocalKeeper(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := OpenRing(t.Context(), dir, first)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ring.Signer(t.Context(), "root")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRing(t.Context(), dir, second); err == nil {
		t.Error("another keeper opens the ring")
	}
	if err := ring.Rewrap(t.Context(), brokenKeeper{second}); err == nil {
		t.Error("the ring is wrapped by a keeper that cannot unwrap")
	}
	if _, err := OpenRing(t.Context(), dir, first); err != nil {
		t.Errorf("a failed move changed the ring: %v", err)
	}
	if err := ring.Rewrap(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRing(t.Context(), dir, first); err == nil {
		t.Error("the old keeper still opens the ring")
	}
	moved, err := OpenRing(t.Context(), dir, second)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := moved.Lookup(t.Context(), "root"); err != nil || !sameKey(key, same) {
		t.Errorf("after the move: %v", err)
	}
}

// FuzzOpen holds that bytes of any kind where sealed state should lie open nothing and break nothing.
func FuzzOpen(f *testing.F) {
	keeper, err := LocalKeeper(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	ring, err := OpenRing(f.Context(), f.TempDir(), keeper)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{}, []byte{})
	f.Add([]byte{1, 2, 3, 4, 5}, []byte("PALISADE"))
	f.Fuzz(func(t *testing.T, sealed, file []byte) {
		if _, err := ring.Open("a", sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("opened: %v", err)
		}
		if err := os.WriteFile(ring.keyPath("a"), file, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ring.Lookup(t.Context(), "a"); err == nil {
			t.Error("a key out of nothing")
		}
	})
}
