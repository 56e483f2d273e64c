package engine_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/canon"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/listen"
	"github.com/palisade-security/palisade/proxy/route"
	"github.com/palisade-security/palisade/proxy/upstream"
)

// memory is a recorder that keeps events in memory.
type memory struct {
	mu     sync.Mutex
	events []event.Event
	fail   error // what Durable returns
}

func (m *memory) Durable(_ context.Context, e *event.Event) error {
	m.Observe(e)
	return m.fail
}

func (m *memory) Observe(e *event.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := *e
	c.Trail = append([]event.Stage(nil), e.Trail...)
	m.events = append(m.events, c)
}

func (m *memory) last(t *testing.T) event.Event {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.events) == 0 {
		t.Fatal("no event recorded")
	}
	return m.events[len(m.events)-1]
}

// house is a front with one service behind it.
type house struct {
	engine  *engine.Engine
	events  *memory
	address string
	client  *http.Client
}

// newHouse serves routes to handler. Each route needs host "shop.localhost", a path and methods; edit may
// change the table before it is used.
func newHouse(t *testing.T, handler http.Handler, routes []*engine.Route, edit func(*engine.Table)) *house {
	t.Helper()
	backend := httptest.NewServer(handler)
	t.Cleanup(backend.Close)
	pool := upstream.NewPool(upstream.Options{Address: backend.Listener.Addr().String()})
	t.Cleanup(pool.Close)
	svc := engine.NewService("orders", backend.Listener.Addr().String(), pool, 16)
	var entries []route.Entry[*engine.Route]
	for _, r := range routes {
		if r.Service == nil {
			r.Service = svc
		}
		tmpl, err := model.ParseTemplate(r.Template)
		if err != nil {
			t.Fatal(err)
		}
		r.Host, r.ID = "shop.localhost", "orders "+r.Template
		entries = append(entries, route.Entry[*engine.Route]{Name: r.ID, Host: r.Host, Path: tmpl, Methods: []string{"GET", "HEAD", "POST"}, Value: r})
	}
	m, err := route.Build(entries)
	if err != nil {
		t.Fatal(err)
	}
	table := &engine.Table{Version: "v1", Fleet: "test", Matcher: m, Limits: canon.Limits{}, Redactor: event.NewRedactor(nil), Pause: 5 * time.Second, Body: 5 * time.Second, Write: 5 * time.Second, Requests: 64}
	if edit != nil {
		edit(table)
	}
	h := &house{events: &memory{}}
	h.engine = engine.New(h.events)
	h.engine.Swap(table)
	h.serve(t)
	return h
}

func (h *house) serve(t *testing.T) {
	t.Helper()
	certs := httptest.NewUnstartedServer(nil)
	certs.StartTLS()
	t.Cleanup(certs.Close)
	cert := certs.TLS.Certificates[0]
	ctx, cancel := context.WithCancel(t.Context())
	s, err := listen.Bind(ctx, listen.Options{
		Name: "public", Address: "127.0.0.1:0", Handler: h.engine, Header: 2 * time.Second, Idle: 5 * time.Second, Drain: time.Second,
		HeaderBytes: 32 << 10, Connections: 512, PerAddress: 512,
		TLS: listen.Config(false, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }),
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("listener: %v", err)
		}
	})
	h.address = s.Addr().String()
	tr := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", h.address)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	h.client = &http.Client{Transport: tr}
}

func (h *house) get(t *testing.T, path string, header ...string) (*http.Response, string) {
	t.Helper()
	return h.send(t, http.MethodGet, path, "", header...)
}

func (h *house) send(t *testing.T, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "https://shop.localhost"+path, r)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := h.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func plain(template string) *engine.Route {
	return &engine.Route{Route: proxy.Route{Template: template, Service: "orders"}, Body: 1 << 20, Timeout: 5 * time.Second}
}

func TestForward(t *testing.T) {
	var got *http.Request
	h := newHouse(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(context.WithoutCancel(r.Context()))
		w.Header().Set("Server", "secret/1.0")
		w.Header().Set("Set-Cookie", "sid=1")
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(append([]byte("echo:"), b...))
	}), []*engine.Route{plain("/orders/{id}")}, nil)
	resp, body := h.send(t, http.MethodPost, "/orders/7?a=1&b=%41", "hello", "X-Forwarded-For", "1.2.3.4", "X-User", "admin")
	if resp.StatusCode != 200 || body != "echo:hello" {
		t.Fatalf("got %d %q", resp.StatusCode, body)
	}
	for name, want := range map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-User": "", "X-Forwarded-Proto": "https", "X-Request-Id": resp.Header.Get("X-Request-Id"),
	} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("service saw %s %q, want %q", name, v, want)
		}
	}
	if got.RequestURI != "/orders/7?a=1&b=A" {
		t.Errorf("service saw target %q", got.RequestURI)
	}
	for name, want := range map[string]string{"Server": "", "Set-Cookie": "sid=1; Secure; HttpOnly; SameSite=Lax", "X-Content-Type-Options": "nosniff"} {
		if v := resp.Header.Get(name); v != want {
			t.Errorf("client saw %s %q, want %q", name, v, want)
		}
	}
	e := h.events.last(t)
	if !e.Allowed || e.Status != 200 || e.Route != "orders /orders/{id}" || e.BytesIn != 5 || e.BytesOut != 10 || e.UpstreamStatus != 200 {
		t.Errorf("event %+v", e)
	}
}

func TestRefusals(t *testing.T) {
	deny := func(err error) *engine.Route {
		r := plain("/denied")
		r.Steps = []engine.Step{{Stage: event.StageAuthorise, Filter: proxy.FilterFunc(func(context.Context, *proxy.Request) error { return err })}}
		return r
	}
	for _, c := range []struct {
		name, method, path string
		route              *engine.Route
		status             int
		slug               string
	}{
		{"no route", "GET", "/nothing", plain("/a"), 404, "not-found"},
		{"method", "DELETE", "/a", plain("/a"), 405, "method-not-allowed"},
		{"dot segment", "GET", "/a/%2e%2e/b", plain("/a"), 400, "malformed-request"},
		{"denied", "GET", "/denied", deny(&proxy.Denial{Kind: proxy.KindForbidden}), 403, "forbidden"},
		{"undecided", "GET", "/denied", deny(io.ErrClosedPipe), 503, "cannot-decide"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, http.NotFoundHandler(), []*engine.Route{c.route}, nil)
			resp, body := h.send(t, c.method, c.path, "")
			if resp.StatusCode != c.status || !strings.Contains(body, engine.ProblemBase+c.slug) {
				t.Fatalf("got %d %s", resp.StatusCode, body)
			}
			if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
				t.Errorf("content type %q", ct)
			}
			if e := h.events.last(t); e.Allowed || e.Problem != c.slug || e.ID != resp.Header.Get("X-Request-Id") {
				t.Errorf("event %+v", e)
			}
		})
	}
}

func TestDryRunPassesAndRecords(t *testing.T) {
	r := plain("/a")
	r.Steps = []engine.Step{{Stage: event.StageAuthorise, DryRun: true, Filter: proxy.FilterFunc(func(context.Context, *proxy.Request) error {
		return &proxy.Denial{Kind: proxy.KindForbidden, Reasons: []event.Reason{{Code: "no-permit"}}}
	})}}
	h := newHouse(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), []*engine.Route{r}, nil)
	resp, _ := h.get(t, "/a")
	e := h.events.last(t)
	if resp.StatusCode != 200 || !e.Allowed || !e.DryRun {
		t.Fatalf("got %d, event %+v", resp.StatusCode, e)
	}
}

func TestStrictRefusesWhatCannotBeRecorded(t *testing.T) {
	called := false
	h := newHouse(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }), []*engine.Route{plain("/a")}, func(t *engine.Table) { t.Strict = true })
	h.events.fail = io.ErrShortWrite
	resp, body := h.get(t, "/a")
	if resp.StatusCode != 503 || !strings.Contains(body, "cannot-record") || called {
		t.Fatalf("got %d %s, service called: %t", resp.StatusCode, body, called)
	}
	h.events.fail = nil
	if resp, _ = h.get(t, "/a"); resp.StatusCode != 200 || !called {
		t.Fatalf("got %d", resp.StatusCode)
	}
}

func TestBodyLimit(t *testing.T) {
	r := plain("/a")
	r.Body = 8
	h := newHouse(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }), []*engine.Route{r}, nil)
	if resp, _ := h.send(t, http.MethodPost, "/a", "123456789"); resp.StatusCode != 413 {
		t.Errorf("declared length: got %d", resp.StatusCode)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://shop.localhost/a", io.MultiReader(strings.NewReader("12345"), strings.NewReader("6789")))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("streamed: got %d", resp.StatusCode)
	}
}
