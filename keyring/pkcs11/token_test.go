//go:build pkcs11 && cgo

package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// softHSM makes a SoftHSM2 token of its own and returns its URI.
func softHSM(tb testing.TB) string {
	tb.Helper()
	var module string
	for _, path := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/lib/pkcs11/libsofthsm2.so"} {
		if _, err := os.Stat(path); err == nil {
			module = path
		}
	}
	if module == "" {
		tb.Fatal("no SoftHSM2 found; make deps installs it")
	}
	dir := tb.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
		return path
	}
	if err := os.Mkdir(filepath.Join(dir, "tokens"), 0o700); err != nil {
		tb.Fatal(err)
	}
	tb.Setenv("SOFTHSM2_CONF", write("softhsm2.conf", "directories.tokendir = "+filepath.Join(dir, "tokens")+"\nlog.level = ERROR\n"))
	out, err := exec.CommandContext(tb.Context(), "softhsm2-util", "--init-token", "--free", "--label", "palisade", "--pin", "4711", "--so-pin", "0815").CombinedOutput()
	if err != nil {
		tb.Fatalf("%v: %s", err, out)
	}
	return "pkcs11:token=palisade?module-path=" + module + "&pin-source=file:" + write("pin", "4711\n")
}

// TestToken signs with a real token: keys are made once, signatures verify, a removed key is gone.
func TestToken(t *testing.T) {
	uri := softHSM(t)
	keys, err := Open(uri)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Lookup(t.Context(), "root"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key that was never made: %v", err)
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	publics := map[string]bool{}
	for range 8 {
		group.Go(func() {
			signer, err := keys.Signer(t.Context(), "root")
			if err != nil {
				t.Error(err)
				return
			}
			digest := sha256.Sum256([]byte("message"))
			signature, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
			if err != nil || !ecdsa.VerifyASN1(signer.Public().(*ecdsa.PublicKey), digest[:], signature) {
				t.Errorf("signature: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			publics[string(mustDER(t, signer.Public()))] = true
		})
	}
	group.Wait()
	if len(publics) != 1 {
		t.Errorf("%d keys of one name", len(publics))
	}
	signer, err := keys.Signer(t.Context(), "root")
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatalf("a certificate signed by the token: %v", err)
	}
	if cert, err := x509.ParseCertificate(der); err != nil || cert.CheckSignatureFrom(cert) != nil {
		t.Errorf("it does not verify: %v", err)
	}
	if err := keys.Close(); err != nil {
		t.Error(err)
	}

	again, err := Open(uri)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	same, err := again.Lookup(t.Context(), "root")
	if err != nil || !publics[string(mustDER(t, same.Public()))] {
		t.Fatalf("another key after logging in again: %v", err)
	}
	for range 2 {
		if err := again.Remove(t.Context(), "root"); err != nil {
			t.Error(err)
		}
	}
	if _, err := again.Lookup(t.Context(), "root"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a removed key: %v", err)
	}
}

// TestLogin holds that a wrong PIN, an exposed PIN file and a missing token are errors that keep the PIN.
func TestLogin(t *testing.T) {
	uri := softHSM(t)
	parsed, err := ParseURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(parsed.PINSource, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(uri); err == nil {
		t.Error("an exposed PIN is used")
	}
	if err := os.WriteFile(parsed.PINSource, []byte("9999"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(parsed.PINSource, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(uri); err == nil || bytes.Contains([]byte(err.Error()), []byte("9999")) {
		t.Errorf("a wrong PIN: %v", err)
	}
}

// BenchmarkSign shows what the token costs.
func BenchmarkSign(b *testing.B) {
	keys, err := Open(softHSM(b))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = keys.Close() }()
	signer, err := keys.Signer(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("message"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
			b.Fatal(err)
		}
	}
}

func mustDER(t *testing.T, public crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
