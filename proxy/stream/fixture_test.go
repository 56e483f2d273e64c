package stream_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/stream"
)

// mesh is an authority that signs SVIDs.
type mesh struct {
	testing.TB
	root *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newMesh(t testing.TB) *mesh {
	t.Helper()
	m := &mesh{TB: t, pool: x509.NewCertPool()}
	m.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, m.key.Public(), m.key)
	if err != nil {
		t.Fatal(err)
	}
	m.root, _ = x509.ParseCertificate(der)
	m.pool.AddCert(m.root)
	return m
}

func id(service string) string { return "spiffe://shop.example/service/" + service }

func (m *mesh) svid(service string) tls.Certificate {
	m.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	uri, _ := url.Parse(id(service))
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), URIs: []*url.URL{uri}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, m.root, key.Public(), m.key)
	if err != nil {
		m.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (m *mesh) server(service string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{m.svid(service)},
		ClientCAs: m.pool, ClientAuth: tls.RequireAndVerifyClientCert, SessionTicketsDisabled: true,
	}
}

// client is the configuration of service for calls to callee.
func (m *mesh) client(service, callee string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{m.svid(service)},
		InsecureSkipVerify: true, // the name is a SPIFFE ID, which VerifyConnection checks
		VerifyConnection: func(s tls.ConnectionState) error {
			if _, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: m.pool}); err != nil {
				return err
			}
			if s.PeerCertificates[0].URIs[0].String() != id(callee) {
				return errors.New("another service")
			}
			return nil
		},
	}
}

// peer names who has connected.
func peer(state *tls.ConnectionState, _ io.Closer) (*proxy.Workload, func(), error) {
	return &proxy.Workload{SPIFFEID: state.PeerCertificates[0].URIs[0].String()}, nil, nil
}

// records keeps events.
type records struct {
	mu     sync.Mutex
	events []event.Event
	open   []event.Event
	more   chan struct{}
	full   bool // Durable fails
}

func newRecords() *records { return &records{more: make(chan struct{}, 1<<16)} }

func (r *records) Durable(_ context.Context, e *event.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full {
		return errors.New("the disk is full")
	}
	r.open = append(r.open, *e)
	return nil
}

func (r *records) Observe(e *event.Event) {
	r.mu.Lock()
	c := *e
	link := *e.Connection
	c.Connection = &link
	c.Trail = slices.Clone(e.Trail)
	r.events = append(r.events, c)
	r.mu.Unlock()
	r.more <- struct{}{}
}

// next waits for the next event.
func (r *records) next(t testing.TB) event.Event {
	t.Helper()
	select {
	case <-r.more:
	case <-time.After(20 * time.Second):
		t.Fatal("no event")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.events[0]
	r.events = r.events[1:]
	if line := event.AppendJSON(nil, &e); len(line) == 0 {
		t.Fatal("no record")
	}
	return e
}

func code(e *event.Event) string {
	for i := range e.Trail {
		if s := &e.Trail[i]; (s.Outcome == event.OutcomeDeny || s.Outcome == event.OutcomeError) && len(s.Reasons) > 0 {
			return s.Name + ":" + s.Reasons[0].Code
		}
	}
	return ""
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func dial(t testing.TB, address string) *net.TCPConn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// run serves until the test ends, or stop is called.
func run(t testing.TB, s *stream.Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// pair is a service "db" behind its sidecar, and the sidecar of "orders" that calls it.
type pair struct {
	testing.TB
	mesh              *mesh
	in, out           *stream.Server
	inbound           *stream.Inbound
	outbound          *stream.Outbound
	inSeen, outSeen   *records
	inStop, outStop   func()
	address           string // where orders connects
	inAddress         string // where the sidecar of db takes mTLS
	inRules, outRules stream.Rules
}

type option func(*pair, *stream.Bounds)

func newPair(t testing.TB, network, service string, options ...option) *pair {
	t.Helper()
	p := &pair{TB: t, mesh: newMesh(t), inSeen: newRecords(), outSeen: newRecords()}
	inLn, outLn := listen(t), listen(t)
	p.address, p.inAddress = outLn.Addr().String(), inLn.Addr().String()
	var d net.Dialer
	d.SetMultipathTCP(false)
	p.inbound = &stream.Inbound{
		Service: "db", TLS: p.mesh.server("db"), Peer: peer, Address: func() string { return service },
		Dial: func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, network, service) },
	}
	p.outbound = &stream.Outbound{
		Service: "db", Host: "db:5432", Self: &proxy.Workload{SPIFFEID: id("orders")}, TLS: p.mesh.client("orders", "db"),
		Balance: stream.NewBalance(p.inAddress),
		Dial:    func(ctx context.Context, at string) (net.Conn, error) { return d.DialContext(ctx, "tcp", at) },
	}
	p.inRules = stream.Rules{Fleet: "shop", Snapshot: "s-1", Callers: stream.Callers("palisade.yaml:7:5", id("orders"))}
	p.outRules = p.inRules
	bounds := stream.Bounds{Drain: 50 * time.Millisecond, Connections: 4096, PerCaller: 4096}
	for _, o := range options {
		o(p, &bounds)
	}
	p.in = stream.New(stream.Options{Name: "db-in", Listener: inLn, Carrier: p.inbound, Recorder: p.inSeen, Bounds: bounds}, &p.inRules)
	p.out = stream.New(stream.Options{Name: "db-out", Listener: outLn, Carrier: p.outbound, Recorder: p.outSeen, Bounds: bounds}, &p.outRules)
	p.inStop, p.outStop = run(t, p.in), run(t, p.out)
	return p
}

// serve is a service that does f with each connection.
func serve(t testing.TB, f func(*net.TCPConn)) string {
	t.Helper()
	ln := listen(t)
	var ended sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	ended.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			ended.Go(func() {
				defer c.Close()
				f(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		ended.Wait()
	})
	return ln.Addr().String()
}

// echo says again what it hears, and ends when it has heard all.
func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}
