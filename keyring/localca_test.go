package keyring

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestOpenCA holds that a CA is made once, kept private and exported.
func TestOpenCA(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	first, err := OpenCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenCA(dir)
	if err != nil || !first.Certificate().Equal(second.Certificate()) {
		t.Fatalf("opening again made another CA: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, caKeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
	data, err := os.ReadFile(first.CertificatePath())
	if err != nil || !bytes.Equal(data, first.CertificatePEM()) || bytes.Contains(data, []byte("PRIVATE")) {
		t.Errorf("exported %q, %v", data, err)
	}
	cert := first.Certificate()
	if cert.Subject.CommonName != "Palisade local CA" || !cert.IsCA || !cert.MaxPathLenZero || cert.MaxPathLen != 0 {
		t.Errorf("certificate of %s", cert.Subject)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("files left behind: %v, %v", entries, err)
	}
}

// TestOpenCARefuses holds that a file which is exposed or is not ours is refused and never replaced.
func TestOpenCARefuses(t *testing.T) {
	made := t.TempDir()
	if _, err := OpenCA(made); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(made, caKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if _, err := OpenCA(other); err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(filepath.Join(other, caKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	split := bytes.Index(good, []byte("-----BEGIN CERTIFICATE"))
	for _, c := range []struct {
		name string
		data []byte
		mode os.FileMode
		want error
	}{
		{"readable by the group", good, 0o640, ErrExposed},
		{"readable by everyone", good, 0o644, ErrExposed},
		{"empty", nil, 0o600, nil},
		{"garbage", []byte("garbage"), 0o600, nil},
		{"key alone", good[:split], 0o600, nil},
		{"certificate alone", good[split:], 0o600, nil},
		{"key of another", append(bytes.Clone(foreign[:bytes.Index(foreign, []byte("-----BEGIN CERTIFICATE"))]), good[split:]...), 0o600, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, caKeyFile)
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenCA(dir); err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v", err)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, c.data) {
				t.Error("the file was changed")
			}
		})
	}
}

// TestOpenCARace holds that starts at the same time agree on one CA.
func TestOpenCARace(t *testing.T) {
	dir := t.TempDir()
	found := make([]*LocalCA, 8)
	var g sync.WaitGroup
	for i := range found {
		g.Go(func() {
			ca, err := OpenCA(dir)
			if err != nil {
				t.Error(err)
				return
			}
			found[i] = ca
		})
	}
	g.Wait()
	for _, ca := range found {
		if ca == nil || !ca.Certificate().Equal(found[0].Certificate()) {
			t.Fatal("there are two CAs")
		}
	}
}

// TestLocalCertificates holds that a client which trusts the CA talks to local names, and what it is told of others.
func TestLocalCertificates(t *testing.T) {
	ca, err := OpenCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	local, err := ca.Certificates([]string{"shop.localhost", "*.Shop.localhost", "127.0.0.2", "[::1]", "shop.test"})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := tls.NewListener(plain, &tls.Config{GetCertificate: local.GetCertificate, MinVersion: tls.VersionTLS13})
	var served sync.WaitGroup
	served.Go(func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			_, _ = io.Copy(io.Discard, conn) // shakes hands first
			_ = conn.Close()
		}
	})
	defer served.Wait()
	defer func() { _ = listener.Close() }()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.CertificatePEM())
	for host, ok := range map[string]bool{
		"shop.localhost": true, "a.shop.localhost": true, "localhost": true, "127.0.0.1": true, "127.0.0.2": true, "::1": true, "shop.test": true,
		"a.b.shop.localhost": false, "bank.example": false, "127.0.0.3": false,
	} {
		dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS13}}
		conn, err := dialer.DialContext(t.Context(), "tcp", listener.Addr().String())
		if (err == nil) != ok {
			t.Errorf("%s: %v", host, err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

// TestForeignNames holds that the CA names nothing that could belong to somebody.
func TestForeignNames(t *testing.T) {
	ca, err := OpenCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"bank.com", "localhost.evil.com", "evillocalhost", "10.0.0.1", "0.0.0.0", "::", "fe80::1%lo", "", "*", "*.*.localhost", "a b.localhost", "shop.localhost:8443"} {
		if _, err := ca.Certificates([]string{host}); err == nil {
			t.Errorf("%q is named", host)
		}
	}
	// And clients would not believe it if it did.
	rogue := &LocalCertificates{ca: ca, hosts: []string{"bank.com"}, ips: []net.IP{net.IPv4(10, 0, 0, 1)}}
	cert, err := rogue.certificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate())
	if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "bank.com"}); err == nil || !strings.Contains(err.Error(), "not permitted") {
		t.Errorf("name constraints do not hold: %v", err)
	}
}

// TestRenewal follows a certificate and its CA through more than a year.
func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		ca, err := OpenCA(dir)
		if err != nil {
			t.Fatal(err)
		}
		local, err := ca.Certificates(nil)
		if err != nil {
			t.Fatal(err)
		}
		get := func() *tls.Certificate {
			cert, err := local.GetCertificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			return cert
		}
		first := get()
		time.Sleep(serverLifetime * 2 / 3)
		second := get()
		if first == second || get() != second {
			t.Error("renewal is not at two thirds of the life")
		}
		for range 49 {
			time.Sleep(7 * 24 * time.Hour)
			if leaf := get().Leaf; time.Until(leaf.NotAfter) <= 0 || leaf.NotAfter.After(ca.Certificate().NotAfter) {
				t.Fatalf("valid until %s at %s", leaf.NotAfter, time.Now())
			}
		}
		time.Sleep(30 * 24 * time.Hour)
		if _, err := local.GetCertificate(nil); err == nil || !strings.Contains(err.Error(), "start again") {
			t.Errorf("after the CA's end: %v", err)
		}
		next, err := OpenCA(dir)
		if err != nil || next.Certificate().Equal(ca.Certificate()) {
			t.Fatalf("the CA is not made anew: %v", err)
		}
		if data, err := os.ReadFile(next.CertificatePath()); err != nil || !bytes.Equal(data, next.CertificatePEM()) {
			t.Error("the new CA is not exported")
		}
	})
}
