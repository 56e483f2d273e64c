package upstream_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/palisade-security/palisade/proxy/upstream"
)

var errDenied = errors.New("peer is denied")

// mesh is an authority, a service that asks for certificates, and a client whose certificate can change.
type mesh struct {
	t       testing.TB
	parent  *x509.Certificate
	key     *ecdsa.PrivateKey
	roots   *x509.CertPool
	mine    atomic.Pointer[tls.Certificate]
	denied  atomic.Bool
	serial  atomic.Int64
	trust   upstream.Trust
	resumed atomic.Int64 // sessions that the service resumed
}

func newMesh(t testing.TB) *mesh {
	t.Helper()
	m := &mesh{t: t, roots: x509.NewCertPool()}
	var err error
	if m.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	m.parent = m.sign(m.template("authority"), nil, &m.key.PublicKey)
	m.roots.AddCert(m.parent)
	m.mine.Store(m.issue("orders-1"))
	return m
}

func (m *mesh) template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(m.serial.Add(1)), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: name == "authority",
	}
}

func (m *mesh) sign(c, parent *x509.Certificate, key *ecdsa.PublicKey) *x509.Certificate {
	m.t.Helper()
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key, m.key)
	if err != nil {
		m.t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

func (m *mesh) issue(name string) *tls.Certificate {
	m.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		m.t.Fatal(err)
	}
	leaf := m.sign(m.template(name), m.parent, &key.PublicKey)
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// server is for services that anyone with a certificate may ask.
func (m *mesh) server(name string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{*m.issue(name)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: m.roots}
}

// client checks the peer by its own rules, as identities are checked, not by host names.
func (m *mesh) client() *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection verifies
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return m.mine.Load(), nil
		},
		VerifyConnection: func(s tls.ConnectionState) error {
			if m.denied.Load() {
				return errDenied
			}
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: m.roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			return err
		},
	}
}

// serve answers who asked. A request of /wait gets the rest of its answer when the test ends it.
func (m *mesh) serve(h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS.DidResume {
			m.resumed.Add(1)
		}
		h.ServeHTTP(w, r)
	}))
	s.TLS, s.EnableHTTP2 = m.server("catalog"), true
	s.StartTLS()
	m.t.Cleanup(s.Close)
	return s
}

func asker(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName+" "+r.Proto)
}

// transports are over mTLS, with both protocols.
func (m *mesh) transports(o upstream.Options) map[string]interface {
	upstream.Transport
	Close()
} {
	o.TLS, o.Trust = m.client(), &m.trust
	pool, standard := upstream.NewPool(o), upstream.NewStreams(o, false)
	m.t.Cleanup(pool.Close)
	m.t.Cleanup(standard.Close)
	return map[string]interface {
		upstream.Transport
		Close()
	}{"HTTP/1.1": pool, "HTTP/2.0": standard}
}

// TestRenew replaces the client certificate: what is under way ends with the old one, all else has the new one.
func TestRenew(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			m := newMesh(t)
			more := make(chan struct{})
			s := m.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asker(w, r)
				if r.URL.Path == "/wait" {
					_ = http.NewResponseController(w).Flush()
					<-more
					asker(w, r)
				}
			}))
			c := m.transports(upstream.Options{Address: s.Listener.Addr().String()})[protocol]
			ask := func(want string, reused bool) {
				t.Helper()
				r, err := c.Do(t.Context(), get("/"))
				if got := read(t, r, err); got != want+" "+protocol || r.Reused != reused {
					t.Fatalf("got %q, reused %v", got, r.Reused)
				}
			}
			ask("orders-1", false)
			m.mine.Store(m.issue("orders-2"))
			ask("orders-1", true)
			waiting, err := c.Do(t.Context(), get("/wait"))
			if err != nil {
				t.Fatal(err)
			}
			m.trust.Renew()
			ask("orders-2", false)
			ask("orders-2", true)
			close(more)
			if got, want := read(t, waiting, nil), "orders-1 "+protocol; got != want+want {
				t.Errorf("what was under way got %q", got)
			}
			ask("orders-2", true)
		})
	}
}

// TestRecheck denies a peer: connections to it are cut, idle or not, and no new ones are made.
func TestRecheck(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			m := newMesh(t)
			over := make(chan struct{}, 10)
			s := m.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asker(w, r)
				if r.URL.Path == "/wait" {
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
					over <- struct{}{}
				}
			}))
			c := m.transports(upstream.Options{Address: s.Listener.Addr().String()})[protocol]
			first, err := c.Do(t.Context(), get("/wait"))
			if err != nil {
				t.Fatal(err)
			}
			defer first.Body.Close()
			r, err := c.Do(t.Context(), get("/")) // leaves an idle connection, or shares the one
			read(t, r, err)
			if n := m.trust.Recheck(); n != 0 {
				t.Fatalf("%d connections cut without a reason", n)
			}
			m.denied.Store(true)
			if n, want := m.trust.Recheck(), map[string]int{"HTTP/1.1": 2, "HTTP/2.0": 1}[protocol]; n != want {
				t.Errorf("%d connections cut, expected %d", n, want)
			}
			if _, err := io.ReadAll(first.Body); !errors.Is(err, upstream.ErrDisconnected) || !errors.Is(err, errDenied) {
				t.Errorf("what was under way ended with %v", err)
			}
			<-over
			if _, err := c.Do(t.Context(), get("/")); !errors.Is(err, upstream.ErrDial) || !errors.Is(err, errDenied) {
				t.Errorf("a new request: %v", err)
			}
			m.denied.Store(false)
			r, err = c.Do(t.Context(), get("/"))
			read(t, r, err)
			if n := m.trust.Recheck(); n != 0 {
				t.Errorf("%d connections cut after the peer was restored", n)
			}
		})
	}
}

// TestRecheckOnce holds that what costs is asked once about all connections of a transport whose peers show the same.
func TestRecheckOnce(t *testing.T) {
	m := newMesh(t)
	s := m.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() }))
	conf := m.client()
	verify := conf.VerifyConnection
	var asked atomic.Int64
	conf.VerifyConnection = func(s tls.ConnectionState) error {
		asked.Add(1)
		return verify(s)
	}
	for range 2 {
		p := newPool(t, upstream.Options{Address: s.Listener.Addr().String(), TLS: conf, Trust: &m.trust})
		for range 5 {
			r, err := p.Do(t.Context(), get("/")) // whose connection is in use until its body is read
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = r.Body.Close() })
		}
	}
	before := asked.Load()
	if n := m.trust.Recheck(); n != 0 || asked.Load()-before != 2 {
		t.Errorf("asked %d times about 10 connections of 2 transports, cut %d", asked.Load()-before, n)
	}
	m.denied.Store(true)
	if n := m.trust.Recheck(); n != 10 {
		t.Errorf("cut %d of 10", n)
	}
}

// TestRecheckMeanwhile denies a peer between its verification and the end of the handshake.
func TestRecheckMeanwhile(t *testing.T) {
	m := newMesh(t)
	s := m.serve(http.HandlerFunc(asker))
	conf := m.client()
	verify := conf.VerifyConnection
	var once sync.Once
	conf.VerifyConnection = func(s tls.ConnectionState) error {
		err := verify(s)
		once.Do(func() {
			m.denied.Store(true)
			m.trust.Recheck()
		})
		return err
	}
	p := newPool(t, upstream.Options{Address: s.Listener.Addr().String(), TLS: conf, Trust: &m.trust, Retries: -1})
	if _, err := p.Do(t.Context(), get("/")); !errors.Is(err, errDenied) {
		t.Errorf("got %v", err)
	}
}

// TestResume resumes sessions only where the peer is verified again, and only with the certificate they began with.
func TestResume(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			m := newMesh(t)
			s := m.serve(http.HandlerFunc(asker))
			cache := tls.NewLRUClientSessionCache(8)
			do := func(conf *tls.Config) (string, error) {
				t.Helper()
				conf.ClientSessionCache = cache
				o := upstream.Options{Address: s.Listener.Addr().String(), TLS: conf, Trust: &m.trust, Retries: -1}
				var c upstream.Transport = newPool(t, o)
				if protocol == "HTTP/2.0" {
					standard := upstream.NewStreams(o, false)
					defer standard.Close()
					c = standard
				}
				r, err := c.Do(t.Context(), get("/"))
				if err != nil {
					return "", err
				}
				return read(t, r, nil), nil
			}
			resumed := func(conf *tls.Config) bool {
				t.Helper()
				before := m.resumed.Load()
				got, err := do(conf)
				if err != nil {
					t.Fatal(err)
				}
				if want := m.mine.Load().Leaf.Subject.CommonName; !strings.HasPrefix(got, want) {
					t.Errorf("asked as %q, not as %q", got, want)
				}
				return m.resumed.Load() > before
			}
			if resumed(m.client()) || !resumed(m.client()) {
				t.Error("no session was resumed")
			}
			unverified := m.client()
			unverified.VerifyConnection = nil
			if resumed(unverified) {
				t.Error("a session was resumed that nobody verifies again")
			}
			m.denied.Store(true)
			if _, err := do(m.client()); !errors.Is(err, errDenied) {
				t.Errorf("a denied peer's session: %v", err)
			}
			m.denied.Store(false)
			m.mine.Store(m.issue("orders-2"))
			m.trust.Renew()
			if resumed(m.client()) || !resumed(m.client()) {
				t.Error("the session of an older certificate was resumed, or none")
			}
		})
	}
}

// TestClientRefused is a service that does not take our certificate.
func TestClientRefused(t *testing.T) {
	m := newMesh(t)
	s := m.serve(http.HandlerFunc(asker))
	m.mine.Store(newMesh(t).issue("stranger"))
	for protocol, c := range m.transports(upstream.Options{Address: s.Listener.Addr().String()}) {
		if _, err := c.Do(t.Context(), get("/")); !errors.Is(err, upstream.ErrDisconnected) && !errors.Is(err, upstream.ErrDial) {
			t.Errorf("%s: got %v", protocol, err)
		}
	}
}

// TestTunnelCut sees that what has switched protocols is no exception.
func TestTunnelCut(t *testing.T) {
	m := newMesh(t)
	s := m.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_, _ = io.Copy(c, c)
	}))
	p := newPool(t, upstream.Options{Address: s.Listener.Addr().String(), TLS: m.client(), Trust: &m.trust})
	q := get("/")
	q.Header.Set("Upgrade", "x")
	_, c, err := p.Upgrade(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m.denied.Store(true)
	if n := m.trust.Recheck(); n != 1 {
		t.Errorf("%d connections cut", n)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, errDenied) {
		t.Errorf("reading on: %v", err)
	}
}

// TestRenewUnderLoad replaces the certificate again and again while requests of all sorts are under way: none is lost.
func TestRenewUnderLoad(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			m := newMesh(t)
			s := m.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(w, r.Body)
			}))
			c := m.transports(upstream.Options{Address: s.Listener.Addr().String(), Dial: 30 * time.Second})[protocol] // a busy machine is no lost request
			ctx, stop := context.WithCancel(t.Context())
			var workers sync.WaitGroup
			answered := make(chan struct{})
			for range 8 {
				workers.Go(func() {
					for ctx.Err() == nil {
						r, err := c.Do(t.Context(), &upstream.Request{Method: "POST", Target: "/", Host: "h", Body: strings.NewReader("body"), Length: 4})
						if err != nil {
							t.Error(err)
							continue
						}
						b, err := io.ReadAll(r.Body)
						if _ = r.Body.Close(); err != nil || string(b) != "body" {
							t.Errorf("got %q, %v", b, err)
						}
						select {
						case answered <- struct{}{}:
						case <-ctx.Done():
						}
					}
				})
			}
			for i := range 500 {
				<-answered
				if i%10 == 0 {
					m.trust.Renew()
				}
				if i%50 == 0 && m.trust.Recheck() > 0 {
					t.Error("a connection was cut")
				}
			}
			stop()
			workers.Wait()
		})
	}
}
