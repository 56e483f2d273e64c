package keyring

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// writePair makes a self-made certificate for hosts and returns its files.
func writePair(t *testing.T, dir, name string, hosts ...string) Pair {
	t.Helper()
	ca, err := OpenCA(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := (&LocalCertificates{ca: ca, hosts: hosts}).certificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	pair := Pair{filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem")}
	for path, block := range map[string]*pem.Block{pair.Cert: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]}, pair.Key: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pair
}

// TestSelection holds which certificate a server name gets.
func TestSelection(t *testing.T) {
	dir := t.TempDir()
	f, err := LoadCertificates([]Pair{
		writePair(t, dir, "default", "default.test"), writePair(t, dir, "wild", "*.shop.test"), writePair(t, dir, "exact", "API.shop.test"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for server, want := range map[string]string{
		"default.test": "default.test", "api.shop.test": "API.shop.test", "API.SHOP.TEST": "API.shop.test", "api.shop.test.": "API.shop.test",
		"web.shop.test": "*.shop.test", "a.b.shop.test": "default.test", "shop.test": "default.test", "": "default.test", ".shop.test": "*.shop.test",
		"other.example": "default.test",
	} {
		cert, err := f.GetCertificate(&tls.ClientHelloInfo{ServerName: server})
		if err != nil || !slices.Contains(cert.Leaf.DNSNames, want) {
			t.Errorf("%q gets %v, want %s", server, cert.Leaf.DNSNames, want)
		}
	}
}

// TestReload holds that a reload takes what is good as a whole and keeps the last good otherwise.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	pair := writePair(t, dir, "a", "a.test")
	f, err := LoadCertificates([]Pair{pair})
	if err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		cert, err := f.GetCertificate(&tls.ClientHelloInfo{ServerName: "a.test"})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(cert.Leaf.SerialNumber)
	}
	first := serial()
	other := writePair(t, t.TempDir(), "a", "a.test")
	copyFile := func(from, to string) {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	copyFile(other.Cert, pair.Cert) // the key does not belong to it yet
	if err := f.Reload(); err == nil || !strings.Contains(err.Error(), pair.Cert) || serial() != first {
		t.Errorf("half of a pair: %v", err)
	}
	copyFile(other.Key, pair.Key)
	if err := f.Reload(); err != nil || serial() == first {
		t.Errorf("the whole pair: %v", err)
	}
	second := serial()
	if err := os.Remove(pair.Key); err != nil {
		t.Fatal(err)
	}
	if err := f.Reload(); err == nil || strings.Contains(err.Error(), "PRIVATE") || serial() != second {
		t.Errorf("no key: %v", err)
	}
	if got := f.Files(); !slices.Equal(got, []string{pair.Cert, pair.Key}) {
		t.Errorf("files %v", got)
	}
	if _, err := LoadCertificates(nil); err == nil {
		t.Error("no certificate at all is accepted")
	}
}

// TestWarnings holds what is worth a word but no refusal.
func TestWarnings(t *testing.T) {
	pair := writePair(t, t.TempDir(), "a", "a.test")
	if err := os.Chmod(pair.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := LoadCertificates([]Pair{pair})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for after, want := range map[time.Duration]string{
		0: "is readable by everyone", 20 * 24 * time.Hour: "expires on", 40 * 24 * time.Hour: "expired on", -48 * time.Hour: "is not valid before",
	} {
		if got := f.Warnings(now.Add(after)); !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("after %s: %q, want %q", after, got, want)
		}
	}
}

// TestSigningKey holds that a signing key is made once and stays private.
func TestSigningKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "key.pem")
	if _, err := LoadSigningKey(path); err == nil {
		t.Error("a key that was never made is loaded")
	}
	first, err := OpenSigningKey(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenSigningKey(path)
	if err != nil || !first.Equal(second) {
		t.Errorf("another key: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v", err)
	}
	if err := os.Chmod(path, 0o604); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSigningKey(path); err == nil {
		t.Error("an exposed key is used")
	}
}
