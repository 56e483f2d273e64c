package bus_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/bus"
)

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return &authority{cert, key}
}

// issue returns a certificate of an identity; change may spoil its template.
func (a *authority) issue(t testing.TB, id string, ttl time.Duration, change ...func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, err)
	uri, err := url.Parse(id)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(ttl), URIs: []*url.URL{uri},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, c := range change {
		c(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func (a *authority) server(t testing.TB) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{a.issue(t, "spiffe://example/control", time.Hour)},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool(),
	}
}

func (a *authority) client(cert tls.Certificate) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, RootCAs: a.pool()}
}

// verify is what a Callout asks about chains.
func (a *authority) verify(chain []*x509.Certificate) (id, mark string, err error) {
	if _, err = chain[0].Verify(x509.VerifyOptions{Roots: a.pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return "", "", err
	}
	return chain[0].URIs[0].String(), chain[0].SerialNumber.Text(16), nil
}

// files writes what a nats-server needs to disk.
func (a *authority) files(t testing.TB, dir string, change ...func(*x509.Certificate)) (ca, cert, key string) {
	t.Helper()
	pair := a.issue(t, "spiffe://example/control", time.Hour, change...)
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	must(t, err)
	ca, cert, key = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		ca:   {Type: "CERTIFICATE", Bytes: a.cert.Raw},
		cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		key:  {Type: "PRIVATE KEY", Bytes: der},
	} {
		must(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	}
	return ca, cert, key
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testLog(t testing.TB) *slog.Logger {
	if testing.Verbose() && os.Getenv("PALISADE_BUS_LOG") != "" {
		return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

// rules are the permissions a test gives; they may change.
type rules struct {
	mu sync.Mutex
	of map[string]bus.Permissions
}

func (r *rules) set(id string, p *bus.Permissions) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p == nil {
		delete(r.of, id)
	} else {
		r.of[id] = *p
	}
}

func (r *rules) permit(id string) (bus.Permissions, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.of[id]
	return p, ok
}

// rig is an embedded server with its callout, as control would run it.
type rig struct {
	ca      *authority
	keys    *bus.Keys
	server  *bus.Server
	control *bus.Client
	system  *bus.Client
	rules   *rules

	mu        sync.Mutex
	decisions []bus.Decision
}

func (r *rig) decided(_ context.Context, d bus.Decision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decisions = append(r.decisions, d)
}

func (r *rig) lastDenied() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range slices.Backward(r.decisions) {
		if d.Denied != nil {
			return d.Denied
		}
	}
	return nil
}

func newRig(t testing.TB, change ...func(*bus.CalloutOptions)) *rig {
	t.Helper()
	r := &rig{ca: newAuthority(t), rules: &rules{of: map[string]bus.Permissions{}}}
	var err error
	r.keys, err = bus.NewKeys()
	must(t, err)
	r.server, err = bus.StartServer(t.Context(), bus.ServerOptions{
		Dir: t.TempDir(), Listen: "127.0.0.1:0", TLS: r.ca.server(t), Keys: r.keys, Log: testLog(t),
	})
	must(t, err)
	t.Cleanup(r.server.Close)
	r.control = r.role(t, bus.Control)
	r.system = r.role(t, bus.System)
	callout(t, r, r.role(t, bus.Callout), change...)
	return r
}

// callout runs the callout of a rig until the test ends.
func callout(t testing.TB, r *rig, client *bus.Client, change ...func(*bus.CalloutOptions)) {
	t.Helper()
	options := bus.CalloutOptions{Keys: r.keys, Certificate: r.ca.verify, Permit: r.rules.permit, Decided: r.decided, Log: testLog(t)}
	for _, c := range change {
		c(&options)
	}
	a, err := bus.NewAuthorizer(options)
	must(t, err)
	background(t, func(ctx context.Context) error { return a.Run(ctx, client) })
}

// background runs do until the test ends, and fails the test if it ends before.
func background(t testing.TB, do func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("a part ended by itself: %v", err)
		}
	})
}

func (r *rig) role(t testing.TB, role bus.Role) *bus.Client {
	t.Helper()
	return connect(t, bus.Options{Name: string(role), Server: r.server, Keys: r.keys, Role: role, Log: testLog(t)})
}

// as connects as an identity over TLS.
func (r *rig) as(t testing.TB, id string, p bus.Permissions) *bus.Client {
	t.Helper()
	r.rules.set(id, &p)
	return connect(t, bus.Options{
		Name: id, URLs: []string{r.server.URL()}, TLS: r.ca.client(r.ca.issue(t, id, time.Hour)), ID: id, Log: testLog(t),
	})
}

func connect(t testing.TB, o bus.Options) *bus.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := bus.Connect(ctx, o)
	must(t, err)
	t.Cleanup(func() { c.Close(brief(t)) })
	return c
}

// brief is a context for cleaning up.
func brief(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// soon is a context that ends long after what is awaited should have happened.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ctx := soon(t); !holds(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
