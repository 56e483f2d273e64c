package mesh

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
)

// records keeps what the sidecars saw.
type records struct {
	mu   sync.Mutex
	all  []string
	acts []*event.Event
}

func (r *records) Durable(context.Context, *event.Event) error { return nil }

func (r *records) Observe(e *event.Event) {
	code := ""
	for i := range e.Trail {
		if s := &e.Trail[i]; s.Outcome != event.OutcomePass && len(s.Reasons) > 0 {
			code = " " + s.Reasons[0].Code
			for _, name := range slices.Sorted(maps.Keys(s.Reasons[0].Data)) {
				code = strings.TrimSuffix(code, " ") + " " + s.Reasons[0].Data[name]
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, e.Listener+" "+e.Method+" "+e.Host+e.Path+code)
}

// Act keeps the acts apart.
func (r *records) Act(_ context.Context, e *event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acts = append(r.acts, e)
}

// forget drops the acts that a proxy saw, once there are three, and returns how many there were.
func (r *records) forget(proxy string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.acts {
		if e.Act.Proxy == proxy {
			n++
		}
	}
	if n >= 3 {
		r.acts = nil
	}
	return n
}

// act waits for an act of a kind, for a reason.
func (r *records) act(t *testing.T, kind event.Kind, reason string) *event.Event {
	t.Helper()
	for t.Context().Err() == nil {
		r.mu.Lock()
		for _, e := range r.acts {
			if e.Act.Kind == kind && e.Act.Reason == reason {
				r.mu.Unlock()
				return e
			}
		}
		r.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("no act %s %s", kind, reason)
	return nil
}

// take returns what was seen since the last call, once there are n.
func (r *records) take(t *testing.T, n int) []string {
	t.Helper()
	for t.Context().Err() == nil {
		r.mu.Lock()
		if len(r.all) >= n {
			out := r.all
			r.all = nil
			r.mu.Unlock()
			return out
		}
		r.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	return nil
}

const fleetModel = `version: 1
fleet: shop
trust_domain: shop.example
mesh: {isolation: "off"}
edge: {listeners: {public: {address: "127.0.0.1:0", tls: {local: true}}}}
services:
  web: {address: "http://WEB", expose: [{host: shop.localhost, path: /, allow: [{anyone: true, methods: [GET]}]}]}
  catalog:
    address: http://CATALOG
    serve:
      - {path: /catalog, methods: [GET], callers: [web]}
      - {path: /stock, methods: [GET], callers: [orders]}
  orders: {address: "http://ORDERS"}
  ledger: {address: "tcp://LEDGER", callers: [orders]}
`

// fleet is a mesh of three services, of which each says who asked it.
type fleet struct {
	*Mesh
	records *records
	snap    *model.Snapshot
	toward  map[string]string // "web catalog": address of web's socket toward catalog
}

func newFleet(t *testing.T, edits ...string) *fleet {
	t.Helper()
	text, names := strings.NewReplacer(edits...).Replace(fleetModel), []string{"web", "catalog", "orders", "ledger"}
	text = strings.Replace(text, "LEDGER", echo(t), 1)
	for _, name := range names[:3] {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, name+" "+r.URL.Path) }))
		t.Cleanup(s.Close)
		text = strings.Replace(text, strings.ToUpper(name), s.Listener.Addr().String(), 1)
	}
	return openFleet(t, t.TempDir(), text, names...)
}

// openFleet runs the sidecars of a model, and gives each of these services a door to each.
func openFleet(t *testing.T, dir, text string, names ...string) *fleet {
	t.Helper()
	f := &fleet{records: &records{}, toward: map[string]string{}}
	snap := compile(t, dir, text)
	f.snap = snap
	var err error
	if f.Mesh, err = Open(t.Context(), snap, Options{Folder: filepath.Join(dir, "mesh"), Recorder: f.records, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	f.run(t)
	f.apply(t, snap)
	for _, name := range names {
		f.attach(t, name, names)
	}
	return f
}

// compile reads a model.
func compile(t *testing.T, dir, text string) *model.Snapshot {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "palisade.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	declared, findings, err := model.Load(dir)
	if err != nil {
		t.Fatal(err, findings)
	}
	snap, findings := declared.Compile(model.Options{})
	if snap == nil {
		t.Fatal(findings)
	}
	return snap
}

// apply puts a model in force.
func (f *fleet) apply(t *testing.T, snap *model.Snapshot) {
	t.Helper()
	prepared, findings, err := f.Prepare(t.Context(), snap)
	if err != nil {
		t.Fatal(err, findings)
	}
	prepared.Apply()
}

// run serves until the end of the test.
func (f *fleet) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- f.Run(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
}

func (f *fleet) attach(t *testing.T, name string, others []string) {
	t.Helper()
	s := f.Sidecar(name)
	s.Attach(new(net.Dialer).DialContext)
	for _, other := range others {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f.toward[name+" "+other] = ln.Addr().String()
		if _, err := s.Open(t.Context(), model.Door{Name: other, Port: 80, TCP: f.sidecars[other].tcp()}, ln); err != nil {
			t.Fatal(err)
		}
	}
}

// ask sends a request as one service to another and returns status and body.
func (f *fleet) ask(t *testing.T, from, to, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+f.toward[from+" "+to]+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestCalls holds that declared calls pass both sidecars, and that others are refused by the first.
func TestCalls(t *testing.T) {
	f := newFleet(t)
	for _, c := range []struct {
		from, to, path string
		status         int
		seen           []string
	}{
		{"web", "catalog", "/catalog", 200, []string{"catalog/inbound GET catalog/catalog", "web/outbound GET catalog/catalog"}},
		{"orders", "catalog", "/stock", 200, []string{"catalog/inbound GET catalog/stock", "orders/outbound GET catalog/stock"}},
		{"web", "catalog", "/stock", 403, []string{"web/outbound GET catalog/stock call-not-declared"}},
		{"web", "orders", "/", 403, []string{"web/outbound GET orders/ call-not-declared"}},
		{"catalog", "web", "/", 403, []string{"catalog/outbound GET web/ call-not-declared"}},
	} {
		status, body := f.ask(t, c.from, c.to, c.path)
		if status != c.status || status == 200 && body != c.to+" "+c.path {
			t.Errorf("%s asks %s for %s: got %d %s", c.from, c.to, c.path, status, body)
		}
		if seen := f.records.take(t, len(c.seen)); strings.Join(seen, "|") != strings.Join(c.seen, "|") {
			t.Errorf("%s asks %s for %s: recorded %q, want %q", c.from, c.to, c.path, seen, c.seen)
		}
	}
}

// echo is a service that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return ln.Addr().String()
}

// TestConnections holds that declared connections that are not HTTP pass, and others are closed and recorded.
func TestConnections(t *testing.T) {
	f := newFleet(t)
	for from, want := range map[string]string{"orders": "hello", "web": ""} {
		if got := f.say(t, from, "hello"); got != want {
			t.Errorf("%s: got %q, want %q", from, got, want)
		}
		seen := strings.Join(f.records.take(t, map[string]int{"orders": 2, "web": 1}[from]), "|")
		if (from == "web") != strings.Contains(seen, "call-not-declared") {
			t.Errorf("%s: recorded %s", from, seen)
		}
	}
}

// say sends text as one service to the ledger and returns what comes back; a connection that is refused may be reset
// before it is made.
func (f *fleet) say(t *testing.T, from, text string) string {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", f.toward[from+" ledger"])
	if err != nil {
		return ""
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(c, text)
	_ = c.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // it was dialled over TCP
	b, _ := io.ReadAll(c)
	return string(b)
}

// TestRefusedBehind holds that the called side decides for itself, by the identity of the connection: the sidecar of web
// asks for what only orders may have.
func TestRefusedBehind(t *testing.T) {
	f := newFleet(t)
	catalog := &model.ResolvedService{Name: "catalog", ID: model.ServiceID("shop.example", "catalog")}
	peers := f.Sidecar("web").reach(catalog).Peers
	addresses, _ := peers.Addresses()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: peers.TLS}}
	defer client.CloseIdleConnections()
	for path, want := range map[string]int{"/catalog": 200, "/stock": 403} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addresses[0]+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "catalog"
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: got %d, want %d", path, resp.StatusCode, want)
		}
	}
	if c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addresses[0]); err == nil {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		_, _ = io.WriteString(c, "GET /catalog HTTP/1.1\r\nHost: catalog\r\n\r\n")
		b, _ := io.ReadAll(c)
		if strings.Contains(string(b), "catalog") {
			t.Errorf("answered without an identity: %q", b)
		}
		_ = c.Close()
	}
}

// TestRevoke holds that a revoked service is cut off at once, that others go on, and that it can be restored.
func TestRevoke(t *testing.T) {
	f := newFleet(t)
	get := func(from, path string, want int) {
		t.Helper()
		if status, body := f.ask(t, from, "catalog", path); status != want {
			t.Errorf("%s: got %d %s, want %d", from, status, body, want)
		}
	}
	get("web", "/catalog", 200)
	get("orders", "/stock", 200)
	web := model.ServiceID("shop.example", "web")
	cut, err := f.Revoke(t.Context(), "service", web, "stolen", "admin")
	if err != nil || cut.Connections == 0 {
		t.Fatalf("cut %+v, %v", cut, err)
	}
	f.records.take(t, 1)
	get("web", "/catalog", http.StatusBadGateway)
	if seen := f.records.take(t, 1); len(seen) == 0 || !strings.HasSuffix(seen[0], " own-identity-revoked") {
		t.Errorf("the record of the one that is revoked says %q", seen)
	}
	get("orders", "/stock", 200)
	for _, s := range f.Status() {
		if (s.Problem != "") != (s.Proxy == "web") {
			t.Errorf("%s: problem %q", s.Proxy, s.Problem)
		}
	}
	if err := f.Restore(t.Context(), "service", web); err != nil {
		t.Fatal(err)
	}
	for status := 0; status != 200 && t.Context().Err() == nil; {
		status, _ = f.ask(t, "web", "catalog", "/catalog")
	}
	if err := f.Restore(t.Context(), "service", web); err == nil {
		t.Error("restored twice")
	}
	if _, err := f.Revoke(t.Context(), "service", model.ServiceID("shop.example", "catalog"), "", "admin"); err != nil {
		t.Fatal(err)
	}
	f.records.take(t, 1)
	get("web", "/catalog", http.StatusBadGateway)
	if seen := f.records.take(t, 1); len(seen) == 0 || !strings.HasSuffix(seen[0], " peer-revoked") {
		t.Errorf("the record of the one that calls who is revoked says %q", seen)
	}
	if _, err := f.Revoke(t.Context(), "nonsense", web, "", ""); err == nil {
		t.Error("nonsense is revoked")
	}
}

// TestRefusedConnections holds that who is not let in by a sidecar leaves an event that says why, over HTTP and any other
// protocol.
func TestRefusedConnections(t *testing.T) {
	f := newFleet(t)
	stranger := newFleet(t) // another fleet with the same names and a root of its own
	foreign, err := stranger.Sidecar("web").Identity()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"catalog", "ledger"} {
		addresses, _ := f.places.of(name)
		for reason, certificates := range map[string][]tls.Certificate{"no_certificate": nil, "untrusted_chain": {*foreign}, "no_tls": nil} {
			var d net.Dialer
			c, err := d.DialContext(t.Context(), "tcp", addresses[0])
			if err != nil {
				t.Fatal(err)
			}
			if reason == "no_tls" {
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
			} else {
				shy := tls.Client(c, &tls.Config{InsecureSkipVerify: true, Certificates: certificates})
				_ = shy.HandshakeContext(t.Context()) // which ends before we are refused
			}
			e := f.records.act(t, event.KindRefused, reason)
			if e.Client != "127.0.0.1" || e.Act.Who != "" || e.Act.Outcome != event.Denied {
				t.Errorf("%s: %+v", reason, e)
			}
			_ = c.Close()
		}
		for f.records.forget(name) < 3 && t.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
	}
}
