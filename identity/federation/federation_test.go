package federation

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/keyring"
)

// newRing opens a ring of its own.
func newRing(tb testing.TB) *keyring.Ring {
	tb.Helper()
	dir := tb.TempDir()
	keeper, err := keyring.LocalKeeper(dir)
	if err != nil {
		tb.Fatal(err)
	}
	ring, err := keyring.OpenRing(tb.Context(), dir, keeper)
	if err != nil {
		tb.Fatal(err)
	}
	return ring
}

// newAuthority makes a real authority of a trust domain.
func newAuthority(tb testing.TB, domain string) *authority.Authority {
	tb.Helper()
	a, err := authority.Open(tb.Context(), authority.Config{
		TrustDomain: spiffeid.RequireTrustDomainFromString(domain), Keys: newRing(tb), Log: slog.New(slog.DiscardHandler),
		Store: authority.NewFileStore(filepath.Join(tb.TempDir(), "authority.json")),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// identity issues an SVID.
func identity(tb testing.TB, a *authority.Authority, id string) peer.Identity {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	svid, err := a.SignX509(tb.Context(), authority.X509Request{ID: spiffeid.RequireFromString(id), Public: key.Public()})
	if err != nil {
		tb.Fatal(err)
	}
	return func() (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: svid.Chain, PrivateKey: key}, nil
	}
}

// endpoint serves a handler with TLS; nil is a certificate of httptest's own.
func endpoint(tb testing.TB, handler http.Handler, config *tls.Config) *httptest.Server {
	tb.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.TLS = config
	if config != nil {
		// httptest adds its own certificate, which would win for clients that name a host.
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c := config.Clone()
			c.Certificates, c.GetConfigForClient = nil, nil
			return c, nil
		}
	}
	server.StartTLS()
	tb.Cleanup(server.Close)
	return server
}

func webRoots(server *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return pool
}

// poller makes a poller of one relation, for shop.example.
func poller(tb testing.TB, keeper Keeper, r Relation, web *x509.CertPool) *Poller {
	tb.Helper()
	own := spiffebundle.New(spiffeid.RequireTrustDomainFromString("shop.example"))
	p, err := NewPoller(Config{
		Own: func() *spiffebundle.Bundle { return own }, Relations: []Relation{r}, Keeper: keeper, Web: web, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

var other = spiffeid.RequireTrustDomainFromString("other.example")

// TestProfiles fetches from our endpoint and from go-spiffe's, in both profiles, with our poller and with go-spiffe's.
func TestProfiles(t *testing.T) {
	a := newAuthority(t, "other.example")
	theirs, err := federation.NewHandler(other, a.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	id := spiffeid.RequireFromString("spiffe://other.example/control")
	for name, handler := range map[string]http.Handler{"ours": Handler(a.Bundle), "go-spiffe's": theirs} {
		t.Run(name, func(t *testing.T) {
			web := endpoint(t, handler, nil)
			spiffe := endpoint(t, handler, EndpointConfig(identity(t, a, id.String())))
			for profile, p := range map[string]*Poller{
				"https_web":    poller(t, newRing(t), Relation{TrustDomain: other, URL: web.URL}, webRoots(web)),
				"https_spiffe": poller(t, newRing(t), Relation{TrustDomain: other, URL: spiffe.URL, EndpointID: id, Bundle: a.Bundle()}, nil),
			} {
				p.Refresh(t.Context(), 0)
				status := p.Status()[0]
				if status.Err != nil || status.Fetched.IsZero() || len(p.Bundles()) != 1 || !p.Bundles()[0].Equal(a.Bundle()) {
					t.Errorf("%s: %+v", profile, status)
				}
			}
			if got, err := federation.FetchBundle(t.Context(), other, web.URL, federation.WithWebPKIRoots(webRoots(web))); err != nil || !got.Equal(a.Bundle()) {
				t.Errorf("go-spiffe over https_web: %v", err)
			}
			if got, err := federation.FetchBundle(t.Context(), other, spiffe.URL, federation.WithSPIFFEAuth(a.Bundle(), id)); err != nil || !got.Equal(a.Bundle()) {
				t.Errorf("go-spiffe over https_spiffe: %v", err)
			}
		})
	}
}

// TestFederatedPeer holds that a peer of the other domain is verified by the fetched bundle.
func TestFederatedPeer(t *testing.T) {
	a := newAuthority(t, "other.example")
	web := endpoint(t, Handler(a.Bundle), nil)
	p := poller(t, newRing(t), Relation{TrustDomain: other, URL: web.URL}, webRoots(web))
	changed := p.Watch()
	p.Refresh(t.Context(), 0)
	select {
	case <-changed:
	default:
		t.Error("nobody is told")
	}
	trust, err := peer.NewTrust(p.Bundles()...)
	if err != nil {
		t.Fatal(err)
	}
	v := peer.NewVerifier(new(peer.Live))
	v.SetTrust(trust)
	shown, err := identity(t, a, "spiffe://other.example/service/web")()
	if err != nil {
		t.Fatal(err)
	}
	var chain []*x509.Certificate
	for _, der := range shown.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, cert)
	}
	if got, err := v.Verify(chain, peer.AsClient, time.Now()); err != nil || got.ID.TrustDomain() != other {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestHostileEndpoint holds that a bad answer changes nothing, and that what was good stays in force.
func TestHostileEndpoint(t *testing.T) {
	a := newAuthority(t, "other.example")
	var mu sync.Mutex
	var handler http.Handler
	answer := func(h http.Handler) { mu.Lock(); defer mu.Unlock(); handler = h }
	web := endpoint(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h := handler
		mu.Unlock()
		h.ServeHTTP(w, r)
	}), nil)
	ring := newRing(t)
	p := poller(t, ring, Relation{TrustDomain: other, URL: web.URL}, webRoots(web))
	newest := a.Bundle()
	newest.SetSequenceNumber(10)
	answer(Handler(func() *spiffebundle.Bundle { return newest }))
	p.Refresh(t.Context(), 0)
	if err := p.Status()[0].Err; err != nil {
		t.Fatal(err)
	}
	text := func(code int, text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); _, _ = w.Write([]byte(text)) })
	}
	leaf, err := identity(t, a, "spiffe://other.example/service/web")()
	if err != nil {
		t.Fatal(err)
	}
	svid, err := x509.ParseCertificate(leaf.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]http.Handler{
		"error":      text(http.StatusInternalServerError, "{}"),
		"not JSON":   text(http.StatusOK, "<html>"),
		"no keys":    text(http.StatusOK, "{}"),
		"empty":      text(http.StatusOK, `{"keys":[],"spiffe_sequence":11}`),
		"bad root":   text(http.StatusOK, `{"keys":[{"use":"x509-svid","kty":"EC","x5c":["AAAA"]}]}`),
		"endless":    text(http.StatusOK, `{"keys":[`+strings.Repeat(" ", maxBundle)),
		"redirect":   http.RedirectHandler("https://127.0.0.1:1/", http.StatusFound),
		"old bundle": Handler(func() *spiffebundle.Bundle { b := a.Bundle(); b.SetSequenceNumber(9); return b }),
		"an SVID as root": Handler(func() *spiffebundle.Bundle {
			b := a.Bundle()
			b.SetSequenceNumber(11)
			b.AddX509Authority(svid)
			return b
		}),
	} {
		answer(h)
		p.Refresh(t.Context(), 0)
		if p.Status()[0].Err == nil || !p.Bundles()[0].Equal(newest) {
			t.Errorf("%s is taken", name)
		}
		if name == "old bundle" && !errors.Is(p.Status()[0].Err, ErrRollback) {
			t.Errorf("%s: %v", name, p.Status()[0].Err)
		}
	}
	web.Close()
	p.Refresh(t.Context(), 0)
	if p.Status()[0].Err == nil || len(p.Bundles()) != 1 {
		t.Error("an endpoint that is away takes the bundle away")
	}
	again := poller(t, ring, Relation{TrustDomain: other, URL: web.URL}, nil)
	if got := again.Bundles(); len(got) != 1 || !got[0].Equal(newest) {
		t.Errorf("after a restart: %v", got)
	}
	mended := newest.Clone()
	mended.SetSequenceNumber(12)
	again = poller(t, ring, Relation{TrustDomain: other, URL: web.URL, Bundle: mended}, nil)
	if got := again.Bundles(); len(got) != 1 || !got[0].Equal(mended) {
		t.Errorf("a newer declared bundle: %v", got)
	}
}

// TestImpostor holds that an endpoint must be who it is declared to be.
func TestImpostor(t *testing.T) {
	a := newAuthority(t, "other.example")
	id := spiffeid.RequireFromString("spiffe://other.example/control")
	for name, server := range map[string]*httptest.Server{
		"another service":                    endpoint(t, Handler(a.Bundle), EndpointConfig(identity(t, a, "spiffe://other.example/service/web"))),
		"another authority of the same name": endpoint(t, Handler(a.Bundle), EndpointConfig(identity(t, newAuthority(t, "other.example"), id.String()))),
		"a certificate of the web":           endpoint(t, Handler(a.Bundle), nil),
	} {
		p := poller(t, newRing(t), Relation{TrustDomain: other, URL: server.URL, EndpointID: id, Bundle: a.Bundle()}, webRoots(server))
		p.Refresh(t.Context(), 0)
		if p.Status()[0].Err == nil {
			t.Errorf("%s is believed", name)
		}
	}
	spiffe := endpoint(t, Handler(a.Bundle), EndpointConfig(identity(t, a, id.String())))
	p := poller(t, newRing(t), Relation{TrustDomain: other, URL: spiffe.URL}, nil)
	p.Refresh(t.Context(), 0)
	if p.Status()[0].Err == nil {
		t.Error("profile https_web takes an SVID")
	}
	p = poller(t, newRing(t), Relation{TrustDomain: other, URL: spiffe.URL, EndpointID: id}, nil)
	p.Refresh(t.Context(), 0)
	if p.Status()[0].Err == nil {
		t.Error("an endpoint of a domain without a bundle is believed")
	}
}

// TestRelations holds which relations are refused before anything is asked.
func TestRelations(t *testing.T) {
	own := spiffebundle.New(spiffeid.RequireTrustDomainFromString("shop.example"))
	good := Relation{TrustDomain: other, URL: "https://other.example/bundle"}
	with := func(change func(*Relation)) []Relation { r := good; change(&r); return []Relation{r} }
	for name, relations := range map[string][]Relation{
		"own domain":     with(func(r *Relation) { r.TrustDomain = own.TrustDomain() }),
		"no domain":      with(func(r *Relation) { r.TrustDomain = spiffeid.TrustDomain{} }),
		"http":           with(func(r *Relation) { r.URL = "http://other.example/" }),
		"no host":        with(func(r *Relation) { r.URL = "https:///bundle" }),
		"user info":      with(func(r *Relation) { r.URL = "https://a:b@other.example/" }),
		"domain as ID":   with(func(r *Relation) { r.EndpointID = other.ID() }),
		"another bundle": with(func(r *Relation) { r.Bundle = own }),
		"twice":          {good, good},
	} {
		_, err := NewPoller(Config{Own: func() *spiffebundle.Bundle { return own }, Relations: relations, Keeper: newRing(t), Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// TestNext holds how long the poller waits.
func TestNext(t *testing.T) {
	hinted := func(hint time.Duration) *spiffebundle.Bundle {
		b := spiffebundle.New(other)
		b.SetRefreshHint(hint)
		return b
	}
	for name, c := range map[string]struct {
		state  state
		spread float64
		want   time.Duration
	}{
		"nothing known":  {state{}, 0, defaultRefresh},
		"no hint":        {state{bundle: spiffebundle.New(other)}, 0, defaultRefresh},
		"a hint":         {state{bundle: hinted(10 * time.Minute)}, 0, 10 * time.Minute},
		"spread":         {state{bundle: hinted(10 * time.Minute)}, 1, 11 * time.Minute},
		"too often":      {state{bundle: hinted(time.Nanosecond)}, 0, minRefresh},
		"negative":       {state{bundle: hinted(-time.Hour)}, 0, minRefresh},
		"too seldom":     {state{bundle: hinted(1000 * time.Hour)}, 0, maxRefresh},
		"first failure":  {state{bundle: hinted(time.Hour), failures: 1}, 0, firstRetry},
		"third failure":  {state{failures: 3}, 0, 4 * firstRetry},
		"many failures":  {state{failures: 1 << 40}, 0, maxRetry},
		"failure spread": {state{failures: 1}, 0.5, firstRetry + firstRetry/20},
	} {
		if got := next(&c.state, c.spread); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestRun polls until it is told to stop.
func TestRun(t *testing.T) {
	a := newAuthority(t, "other.example")
	web := endpoint(t, Handler(a.Bundle), nil)
	p := poller(t, newRing(t), Relation{TrustDomain: other, URL: web.URL}, webRoots(web))
	ctx, cancel := context.WithCancel(t.Context())
	changed := p.Watch()
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	<-changed
	cancel()
	running.Wait()
	if len(p.Bundles()) != 1 {
		t.Error("no bundle")
	}
}

// FuzzParse holds that a bundle that is taken can be trusted, shown and taken again.
func FuzzParse(f *testing.F) {
	data, err := newAuthority(f, "other.example").Bundle().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"keys":[{"use":"x509-svid","x5c":["AAAA"]}],"spiffe_sequence":1,"spiffe_refresh_hint":-1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		bundle, err := parse(other, data)
		if err != nil {
			return
		}
		if wait := next(&state{bundle: bundle}, 0); wait < minRefresh || wait > maxRefresh {
			t.Errorf("waits %s", wait)
		}
		again, err := bundle.Marshal()
		if err != nil {
			t.Skip("go-spiffe reads what it cannot write")
		}
		if _, err := parse(other, again); err != nil {
			t.Errorf("not read again: %v", err)
		}
	})
}
