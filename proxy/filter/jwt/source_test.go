package jwt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
)

// pipes is a listener of in-memory connections: a real TLS server on it runs in a synctest bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// issuerServer is an issuer: its handler may be exchanged, requests are counted.
type issuerServer struct {
	*httptest.Server
	handler  atomic.Pointer[http.HandlerFunc]
	requests atomic.Int32
}

// newIssuer starts a TLS server in the bubble.
func newIssuer(t *testing.T) *issuerServer {
	t.Helper()
	s := &issuerServer{}
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	s.Server = &httptest.Server{Listener: p, Config: &http.Server{
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.requests.Add(1)
			(*s.handler.Load())(w, r)
		}),
	}}
	s.StartTLS()
	transport, ok := s.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatal("no transport")
	}
	transport.DialContext = p.dial
	t.Cleanup(s.Close)
	return s
}

// answer makes the server answer every request with a document.
func (s *issuerServer) answer(status int, cacheControl string, body []byte) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", cacheControl)
		w.WriteHeader(status)
		_, _ = w.Write(body)
	})
	s.handler.Store(&h)
}

// start builds an Authenticator on the server's keys and runs it until the test ends.
func (s *issuerServer) start(t *testing.T, change func(*Options)) *Authenticator {
	t.Helper()
	p := testProvider()
	p.JWKS, p.JWKSURL = nil, s.URL+"/jwks.json"
	o := Options{Providers: []model.ResolvedProvider{p}, Client: s.Client(), CacheSize: -1}
	if change != nil {
		change(&o)
	}
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return a
}

// fresh makes a token that is valid now, by key id.
func fresh(kid string) string {
	now := time.Now().Unix()
	return sign(headerWith(map[string]any{"kid": kid}), claimsWith(map[string]any{"iat": now, "exp": now + 600}))
}

// TestRotation follows an issuer through start, rotation, failure and withdrawal.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keysOnce()
		s := newIssuer(t)
		s.answer(503, "", nil)
		a := s.start(t, nil)
		source := a.sources[0]

		synctest.Wait()
		if err := a.Ready(); err == nil || !strings.Contains(err.Error(), "answered 503") {
			t.Errorf("ready without keys: %v", err)
		}
		r := requestWith("Bearer " + fresh("p256"))
		err := a.ForRoute(model.ResolvedRoute{}).Filter(t.Context(), r)
		if _, denied := errors.AsType[*proxy.Denial](err); err == nil || denied {
			t.Errorf("without keys got %v, want no decision", err)
		}

		s.answer(200, "max-age=3600", testSet())
		time.Sleep(firstBackoff)
		synctest.Wait()
		if err := a.Ready(); err != nil {
			t.Fatal(err)
		}
		if _, err := a.authenticate(t.Context(), fresh("p256")); err != nil {
			t.Fatal(err)
		}

		// A new key is found by its id, long before the set is due.
		s.answer(200, "max-age=3600", jwks(jwk("new", "ES256", &k.p256.PublicKey)))
		time.Sleep(minAsk)
		if _, err := a.authenticate(t.Context(), fresh("new")); err != nil {
			t.Errorf("after rotation: %v", err)
		}
		if _, err := a.authenticate(t.Context(), fresh("p256")); codeOf(err) != CodeUnknownKey {
			t.Errorf("the withdrawn key: %v", err)
		}

		// The last good keys stay through every kind of failure.
		due := time.Hour
		for name, h := range failures() {
			s.handler.Store(&h)
			time.Sleep(due + maxBackoff + fetchTimeout)
			due = 0
			synctest.Wait()
			if source.lastError() == nil {
				t.Errorf("%s is no failure", name)
			}
			if _, err := a.authenticate(t.Context(), fresh("new")); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if a.Ready() != nil {
				t.Errorf("%s: not ready with good keys", name)
			}
		}

		s.answer(200, "", jwks(jwk("next", "ES256", &k.p256.PublicKey)))
		time.Sleep(maxBackoff)
		synctest.Wait()
		if _, err := a.authenticate(t.Context(), fresh("next")); err != nil {
			t.Errorf("after the failures: %v", err)
		}
	})
}

// codeOf returns the code of a refusal.
func codeOf(err error) string {
	if refused, ok := errors.AsType[*tokenError](err); ok {
		return refused.code
	}
	return ""
}

// failures are what an issuer may answer instead of keys.
func failures() map[string]http.HandlerFunc {
	fixed := func(status int, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = w.Write(body) }
	}
	return map[string]http.HandlerFunc{
		"500":       fixed(500, testSet()),
		"404":       fixed(404, nil),
		"204":       fixed(204, nil),
		"empty":     fixed(200, nil),
		"HTML":      fixed(200, []byte("<html>maintenance</html>")),
		"no keys":   fixed(200, []byte(`{"keys":[]}`)),
		"symmetric": fixed(200, []byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`)),
		"endless":   fixed(200, bytes.Repeat([]byte(" "), maxDocument+1)),
		"cut":       fixed(200, testSet()[:100]),
		"redirect":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"silence":   func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"hangs up":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"slow to end": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"wrong length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			_, _ = w.Write([]byte("{}"))
		},
	}
}

// TestSchedule holds when a source fetches: by max-age within bounds, less and less often while it fails.
func TestSchedule(t *testing.T) {
	for _, c := range []struct {
		control string
		status  int
		span    time.Duration
		low, up int32 // fetches in span
	}{
		{"max-age=600", 200, time.Hour, 6, 8},
		{"max-age=1", 200, time.Hour, 59, 68},
		{"no-store", 200, time.Hour, 59, 68},
		{"max-age=99999999", 200, 96 * time.Hour, 4, 5},
		{"", 200, time.Hour, 4, 5},
		{"public, max-age=\"600\"", 200, time.Hour, 6, 8},
		{"max-age=-5", 200, time.Hour, 4, 5},
		{"", 500, 30 * time.Second, 4, 9},
		{"", 500, time.Hour, 60, 130},
	} {
		t.Run(fmt.Sprint(c.control, " ", c.status, " ", c.span), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newIssuer(t)
				s.answer(c.status, c.control, testSet())
				s.start(t, nil)
				time.Sleep(c.span)
				synctest.Wait()
				if n := s.requests.Load(); n < c.low || n > c.up {
					t.Errorf("%d fetches, want %d to %d", n, c.low, c.up)
				}
			})
		})
	}
}

// TestUnknownKeys holds that tokens with made-up key ids cannot make the gateway fetch without bound.
func TestUnknownKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newIssuer(t)
		s.answer(200, "max-age=86400", testSet())
		a := s.start(t, nil)
		synctest.Wait()
		before := s.requests.Load()
		var g sync.WaitGroup
		for i := range 100 {
			g.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				for n := range 10 {
					if _, err := a.authenticate(t.Context(), fresh(fmt.Sprint(i, n))); codeOf(err) != CodeUnknownKey {
						t.Errorf("got %v", err)
					}
				}
			})
		}
		g.Wait()
		if n := s.requests.Load() - before; n < 1 || n > 2 {
			t.Errorf("%d fetches in 10 s for 1,000 unknown key ids", n)
		}
	})
}

// TestSlowIssuer holds that requests neither pile up behind a slow issuer nor get a wrong answer.
func TestSlowIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newIssuer(t)
		s.answer(200, "max-age=86400", testSet())
		a := s.start(t, nil)
		synctest.Wait()
		time.Sleep(minAsk)
		h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		s.handler.Store(&h)
		var busy atomic.Int32
		var g sync.WaitGroup
		start := time.Now()
		for range 2 * maxWaiting {
			g.Go(func() {
				if _, err := a.authenticate(t.Context(), fresh("new")); errors.Is(err, errBusy) {
					busy.Add(1)
				}
			})
		}
		g.Wait()
		if busy.Load() != 2*maxWaiting || time.Since(start) != maxWait {
			t.Errorf("%d undecided after %s", busy.Load(), time.Since(start))
		}
		if _, err := a.authenticate(t.Context(), fresh("p256")); err != nil {
			t.Errorf("a known key must not wait: %v", err)
		}
	})
}

// TestDiscovery holds that metadata leads to keys only where it names its own issuer and an https URL.
func TestDiscovery(t *testing.T) {
	for _, c := range []struct{ name, metadata, want string }{
		{"good", `{"issuer":"%[1]s","jwks_uri":"%[1]s/keys","x":1}`, ""},
		{"other issuer", `{"issuer":"https://evil.example","jwks_uri":"%[1]s/keys"}`, "names another issuer"},
		{"issuer with a slash", `{"issuer":"%[1]s/","jwks_uri":"%[1]s/keys"}`, "names another issuer"},
		{"no issuer", `{"jwks_uri":"%[1]s/keys"}`, "names another issuer"},
		{"plain http", `{"issuer":"%[1]s","jwks_uri":"http://keys.example/keys"}`, "is not an https URL"},
		{"no URL", `{"issuer":"%[1]s"}`, "is not a URL"},
		{"twice", `{"issuer":"%[1]s","jwks_uri":"https://evil.example","jwks_uri":"%[1]s/keys"}`, "twice"},
		{"not JSON", `<html>`, "not well-formed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newIssuer(t)
				h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					switch r.URL.Path {
					case "/.well-known/openid-configuration":
						_, _ = fmt.Fprintf(w, c.metadata, s.URL)
					case "/keys":
						_, _ = w.Write(testSet())
					}
				})
				s.handler.Store(&h)
				a := s.start(t, func(o *Options) { o.Providers[0].JWKSURL, o.Providers[0].Issuer = "", s.URL })
				synctest.Wait()
				err := a.Ready()
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("got %v, want %q", err, c.want)
				}
			})
		})
	}
}

// TestUntrusted holds that keys come only from a server whose certificate is trusted.
func TestUntrusted(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(testSet()) }))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.StartTLS()
	defer server.Close()
	for _, client := range []*http.Client{nil, server.Client()} {
		s := newSource(&Options{Client: client, Log: slog.New(slog.DiscardHandler)}, "x", testIssuer, server.URL)
		if _, _, err := s.fetch(t.Context()); (err == nil) != (client != nil) {
			t.Errorf("trusted %v: %v", client != nil, err)
		}
	}
}

// TestPrevious holds that a reload takes keys over, from the same source only.
func TestPrevious(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newIssuer(t)
		s.answer(200, "", testSet())
		old := s.start(t, nil)
		synctest.Wait()
		p := testProvider()
		p.JWKS, p.JWKSURL = nil, s.URL+"/jwks.json"
		same, err := New(Options{Providers: []model.ResolvedProvider{p}, Previous: old})
		if err != nil || same.Ready() != nil {
			t.Errorf("the same source: %v, %v", err, same.Ready())
		}
		p.JWKSURL = s.URL + "/other.json"
		other, err := New(Options{Providers: []model.ResolvedProvider{p}, Previous: old})
		if err != nil || other.Ready() == nil {
			t.Errorf("another source: %v", err)
		}
	})
}
