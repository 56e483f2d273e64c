package peer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/palisade-security/palisade/identity/revocation"
)

// mesh is two services of one trust domain.
type mesh struct {
	root, issuer *ca
	v            *Verifier
	live         *Live
	web, catalog Identity
}

const webID, catalogID = "spiffe://shop.example/service/web", good

func newMesh(t testing.TB) *mesh {
	m := &mesh{root: authority(t, "shop.example", nil, nil)}
	m.issuer = authority(t, "shop.example", m.root, nil)
	m.v, m.live = trusting(t, bundle("shop.example", m.root))
	m.web, m.catalog = showing(m.issuer.leaf(webID, nil)), showing(m.issuer.leaf(catalogID, nil))
	return m
}

func id(text string) spiffeid.ID { return spiffeid.RequireFromString(text) }

// serve answers connections of a config with one byte each, until the test ends; it returns the address and what
// handshakes end with.
func serve(t testing.TB, config *tls.Config, track func(*tls.Conn) error) (string, <-chan error) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 1000)
	var group sync.WaitGroup
	group.Go(func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			group.Go(func() {
				defer func() { _ = conn.Close() }()
				secure := tls.Server(conn, config)
				err := secure.HandshakeContext(t.Context())
				results <- err
				if err != nil {
					return
				}
				if track != nil && track(secure) != nil {
					return
				}
				_, _ = secure.Write([]byte{1})
				_, _ = io.Copy(io.Discard, secure)
			})
		}
	})
	t.Cleanup(group.Wait)
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String(), results
}

// call shakes hands, reads the byte, and returns the connection.
func call(t testing.TB, address string, config *tls.Config) (*tls.Conn, error) {
	t.Helper()
	conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		return nil, err
	}
	secure := conn.(*tls.Conn)
	if _, err := io.ReadFull(secure, make([]byte, 1)); err != nil {
		_ = secure.Close()
		return nil, err
	}
	return secure, nil
}

// reason returns the reason of a refusal.
func reason(err error) Reason {
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return refusal.Reason
	}
	return ""
}

// TestMutual holds that both sides verify and expect each other.
func TestMutual(t *testing.T) {
	m := newMesh(t)
	address, results := serve(t, ServerConfig(m.catalog, m.v, OneOf(id(webID))), nil)
	conn, err := call(t, address, ClientConfig(m.web, m.v, OneOf(id(catalogID))))
	if err != nil || <-results != nil {
		t.Fatal(err)
	}
	if p, err := Of(conn.ConnectionState()); err != nil || p.ID != id(catalogID) || p.Serial == "" {
		t.Errorf("%+v, %v", p, err)
	}
	_ = conn.Close()

	if _, err := call(t, address, ClientConfig(m.web, m.v, OneOf(id("spiffe://shop.example/service/payments")))); reason(err) != Unexpected {
		t.Errorf("the client takes another server: %v", err)
	}
	<-results
	for name, c := range map[string]struct {
		config *tls.Config
		want   Reason
	}{
		"unexpected client": {ClientConfig(showing(m.issuer.leaf("spiffe://shop.example/service/x", nil)), m.v, AnyIn(id(webID).TrustDomain())), Unexpected},
		"rogue client":      {ClientConfig(showing(authority(t, "shop.example", nil, nil).leaf(webID, nil)), m.v, AnyIn(id(webID).TrustDomain())), Untrusted},
	} {
		if _, err := call(t, address, c.config); err == nil {
			t.Errorf("%s is served", name)
		}
		if err := <-results; reason(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, config := range map[string]*tls.Config{
		"no certificate": {InsecureSkipVerify: true},
		"TLS 1.2": func() *tls.Config {
			c := ClientConfig(m.web, m.v, OneOf(id(catalogID)))
			c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
			return c
		}(),
	} {
		if _, err := call(t, address, config); err == nil {
			t.Errorf("%s is served", name)
		}
		if <-results == nil {
			t.Errorf("%s shakes hands", name)
		}
	}
}

// TestResumption holds that a ticket gets nobody in who would not get in without it.
func TestResumption(t *testing.T) {
	domain := spiffeid.RequireTrustDomainFromString("shop.example")
	for name, c := range map[string]struct {
		change func(*testing.T, *mesh)
		want   Reason
	}{
		"nothing changed": {func(*testing.T, *mesh) {}, ""},
		"service revoked": {func(t *testing.T, m *mesh) {
			list, err := revocation.New(domain, 1, []revocation.Entry{{Kind: revocation.Service, Value: "service/web"}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.live.Deny(list); err != nil {
				t.Fatal(err)
			}
		}, Revoked},
		"trust replaced": {func(t *testing.T, m *mesh) {
			trust, err := NewTrust(bundle("shop.example", authority(t, "shop.example", nil, nil)))
			if err != nil {
				t.Fatal(err)
			}
			m.v.SetTrust(trust)
		}, Untrusted},
		"trust gone": {func(_ *testing.T, m *mesh) { m.v.SetTrust(nil) }, UnknownDomain},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			address, results := serve(t, ServerConfig(m.catalog, m.v, OneOf(id(webID))), nil)
			// A client that verifies nothing, as a thief of a ticket would.
			config := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return m.web() }}
			conn, err := call(t, address, config)
			if err != nil || <-results != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			c.change(t, m)
			conn, err = call(t, address, config)
			if got := reason(<-results); got != c.want || (err == nil) != (c.want == "") {
				t.Fatalf("the server says %q, the client gets %v", got, err)
			}
			if err == nil {
				if !conn.ConnectionState().DidResume {
					t.Error("the session is not resumed: this test shows nothing")
				}
				_ = conn.Close()
			}
		})
	}
}

// TestResumedExpiry holds that neither side resumes with a peer whose SVID has expired since. The server's and the
// client's clocks are set by hand.
func TestResumedExpiry(t *testing.T) {
	m := newMesh(t)
	brief, key := m.issuer.leaf(catalogID, nil)
	server := ServerConfig(showing(brief, key), m.v, OneOf(id(webID)))
	address, results := serve(t, server, nil)
	later := false
	client := ClientConfig(m.web, m.v, OneOf(id(catalogID)))
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	client.VerifyConnection = func(state tls.ConnectionState) error {
		now := time.Now()
		if later {
			now = now.Add(2 * time.Hour)
		}
		_, err := m.v.Verify(state.PeerCertificates, AsServer, now)
		if later && !state.DidResume {
			t.Error("not resumed: this test shows nothing")
		}
		return err
	}
	conn, err := call(t, address, client)
	if err != nil || <-results != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	later = true
	if _, err := call(t, address, client); reason(err) != Expired {
		t.Errorf("resumed with an expired server: %v", err)
	}
	<-results
}

// TestGoSPIFFE holds that go-spiffe's own configs and ours take each other.
func TestGoSPIFFE(t *testing.T) {
	m := newMesh(t)
	chain, key := m.issuer.leaf(webID, nil)
	foreign := &x509svid.SVID{ID: id(webID), Certificates: chain, PrivateKey: key}
	trust := bundle("shop.example", m.root)
	address, results := serve(t, ServerConfig(m.catalog, m.v, OneOf(id(webID))), nil)
	conn, err := call(t, address, tlsconfig.MTLSClientConfig(foreign, trust, tlsconfig.AuthorizeID(id(catalogID))))
	if err != nil || <-results != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	address, results = serve(t, tlsconfig.MTLSServerConfig(foreign, trust, tlsconfig.AuthorizeID(id(catalogID))), nil)
	conn, err = call(t, address, ClientConfig(m.catalog, m.v, OneOf(id(webID))))
	if err != nil || <-results != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

// TestLive revokes a service while connections are up, and while one is between its handshake and Track.
func TestLive(t *testing.T) {
	m := newMesh(t)
	domain := id(webID).TrustDomain()
	other := showing(m.issuer.leaf("spiffe://shop.example/service/orders", nil))
	gate := make(chan struct{})
	close(gate)
	track := func(conn *tls.Conn) error {
		<-gate
		p, err := Of(conn.ConnectionState())
		if err != nil {
			return err
		}
		_, err = m.live.Track(p, conn.NetConn())
		return err
	}
	address, results := serve(t, ServerConfig(m.catalog, m.v, AnyIn(domain)), track)
	connect := func(identity Identity) *tls.Conn {
		t.Helper()
		conn, err := call(t, address, ClientConfig(identity, m.v, AnyIn(domain)))
		if err != nil || <-results != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	var web []*tls.Conn
	for range 20 {
		web = append(web, connect(m.web))
	}
	kept := connect(other)
	if n := len(m.live.Peers()); n != 21 {
		t.Fatalf("%d connections", n)
	}
	// One more has shaken hands, and waits.
	gate = make(chan struct{})
	late, err := (&tls.Dialer{Config: ClientConfig(m.web, m.v, AnyIn(domain))}).DialContext(t.Context(), "tcp", address)
	if err != nil || <-results != nil {
		t.Fatal(err)
	}
	defer func() { _ = late.Close() }()

	list, err := revocation.New(domain, 5, []revocation.Entry{{Kind: revocation.Service, Value: "service/web"}})
	if err != nil {
		t.Fatal(err)
	}
	cut, err := m.live.Deny(list)
	if err != nil || len(cut) != 20 {
		t.Errorf("%d cut, %v", len(cut), err)
	}
	close(gate)
	for _, conn := range append(web, late.(*tls.Conn)) {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("a connection of a revoked service is up")
		}
	}
	if peers := m.live.Peers(); len(peers) != 1 || !strings.HasSuffix(peers[0].ID.String(), "orders") {
		t.Errorf("left: %v", peers)
	}
	older, err := revocation.New(domain, 4, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.live.Deny(older); !errors.Is(err, ErrOld) {
		t.Errorf("an older list: %v", err)
	}
	if cut := m.live.Cut(func(p Peer) bool { return p.ID.MemberOf(domain) }); len(cut) != 1 {
		t.Errorf("%d cut", len(cut))
	}
	if _, err := kept.Read(make([]byte, 1)); err == nil {
		t.Error("a connection that was cut is up")
	}
}

// TestRelease holds that an ended connection is forgotten, also when it was cut before.
func TestRelease(t *testing.T) {
	live := new(Live)
	a, b := net.Pipe()
	defer func() { _ = b.Close() }()
	c, err := live.Track(Peer{ID: id(webID)}, a)
	if err != nil {
		t.Fatal(err)
	}
	c.Release()
	c.Release()
	if cut := live.Cut(func(Peer) bool { return true }); len(cut) != 0 {
		t.Errorf("%d cut", len(cut))
	}
}

// BenchmarkVerify shows what a handshake pays for verification.
func BenchmarkVerify(b *testing.B) {
	m := newMesh(b)
	chain, _ := m.issuer.leaf(webID, nil)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.v.Verify(chain, AsClient, now); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDeny shows what a pushed list costs a proxy with 10,000 connections, none of which it names.
func BenchmarkDeny(b *testing.B) {
	live := new(Live)
	conn, _ := net.Pipe()
	for range 10_000 {
		if _, err := live.Track(Peer{ID: id(webID), Serial: "ab", Node: "n2"}, conn); err != nil {
			b.Fatal(err)
		}
	}
	list, err := revocation.New(id(webID).TrustDomain(), 1, []revocation.Entry{{Kind: revocation.Service, Value: "service/x"}, {Kind: revocation.Node, Value: "n1"}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := live.Deny(list); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzParseID holds that what we take, go-spiffe takes, means the same, and survives being printed.
func FuzzParseID(f *testing.F) {
	for _, a := range []string{good, "spiffe://a/b", "spiffe://a//b", "spiffe://a/%2e", "SPIFFE://a/b", "spiffe://a:1/b", "spiffe://\u043e/b"} {
		f.Add(a)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseID(text)
		if err != nil {
			return
		}
		theirs, err := spiffeid.FromString(text)
		if err != nil || theirs != got || got.String() != text || got.Path() == "" {
			t.Errorf("%q is read as %q; go-spiffe: %v", text, got, err)
		}
	})
}

// FuzzChain holds that no bytes that parse as a certificate get in or panic.
func FuzzChain(f *testing.F) {
	m := newMesh(f)
	chain, _ := m.issuer.leaf(webID, nil)
	f.Add(chain[0].Raw[:len(chain[0].Raw)-1], chain[1].Raw)
	f.Add(m.root.cert.Raw, m.issuer.cert.Raw)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var certs []*x509.Certificate
		for _, der := range [][]byte{first, second} {
			if cert, err := x509.ParseCertificate(der); err == nil {
				certs = append(certs, cert)
			}
		}
		if _, err := m.v.Verify(certs, AsClient, time.Now()); err == nil {
			t.Error("accepted")
		}
	})
}
