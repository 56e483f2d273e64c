package app_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket/wsjson"

	"github.com/palisade-security/palisade/app"
	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/token"
)

// load is what goes on while a fleet changes under it: clients that ask again and again, and long exchanges
// that must outlive every change.
type load struct {
	f       *fleet
	asked   atomic.Int64
	failed  sync.Map // what went wrong, by text
	stop    context.CancelFunc
	ending  atomic.Bool
	workers sync.WaitGroup

	events   *bufio.Scanner // server-sent events, open since the beginning
	visitors func() error   // reads from a WebSocket, open since the beginning
	upload   chan string    // parts of a body, begun at the beginning
	uploaded chan *fleettest.Answer
	customer string
}

func (l *load) fail(format string, args ...any) { l.failed.Store(fmt.Sprintf(format, args...), true) }

func (f *fleet) load() *load {
	f.T.Helper()
	ctx, cancel := context.WithCancel(f.T.Context())
	l := &load{f: f, stop: cancel, upload: make(chan string), uploaded: make(chan *fleettest.Answer, 1)}
	l.customer = "Authorization: Bearer " + f.token("user-1", token.Claims{}, "customer")
	for i := range 8 {
		c := f.Client(i%2 == 0)
		l.workers.Go(func() {
			for ctx.Err() == nil {
				resp, err := c.Do(f.Request("GET", "/catalog", ""))
				if err != nil {
					l.fail("GET: %v", err)
					continue
				}
				if resp.StatusCode != http.StatusOK {
					l.fail("GET: status %d", resp.StatusCode)
				}
				_ = resp.Body.Close()
				l.asked.Add(1)
			}
		})
	}
	f.T.Cleanup(l.end)
	l.open(ctx)
	return l
}

// open begins what is to outlive every change.
func (l *load) open(ctx context.Context) {
	f := l.f
	f.T.Helper()
	resp, err := f.Client(false).Do(f.Request("GET", "/orders/events", "", l.customer))
	if err != nil || resp.StatusCode != http.StatusOK {
		f.T.Fatalf("opening a stream: %v %v", resp, err)
	}
	f.T.Cleanup(func() { _ = resp.Body.Close() })
	l.events = bufio.NewScanner(resp.Body)
	conn, _, err := f.dialLive(ctx)
	if err != nil {
		f.T.Fatal(err)
	}
	f.T.Cleanup(func() { _ = conn.CloseNow() })
	l.visitors = func() error {
		var v struct{ Visitors int }
		return wsjson.Read(ctx, conn, &v)
	}
	req := f.Request("POST", "/orders", "x", l.customer, "Content-Type: application/json")
	req.Body, req.ContentLength, req.GetBody = http.NoBody, -1, nil
	req.Body = struct {
		*slowBody
		closer
	}{&slowBody{parts: l.upload}, closer{}}
	c := f.Client(false)
	l.workers.Go(func() {
		resp, err := c.Do(req)
		if err != nil {
			l.fail("upload: %v", err)
			close(l.uploaded)
			return
		}
		defer resp.Body.Close()
		l.uploaded <- &fleettest.Answer{Response: resp}
	})
	l.part(`{"product": 1, `)
}

type closer struct{}

func (closer) Close() error { return nil }

func (l *load) part(text string) {
	select {
	case l.upload <- text:
	case <-l.f.T.Context().Done():
		l.f.T.Error("the upload takes no more")
	}
}

// served waits until clients have been answered since now.
func (l *load) served() {
	l.f.T.Helper()
	until := l.asked.Load() + 40
	l.f.Eventually("clients are answered", func() bool { return l.asked.Load() > until })
}

// alive shows that nothing of what was open is broken.
func (l *load) alive(t *testing.T) {
	t.Helper()
	a := l.f.Do(l.f.Client(true), "POST", "/orders", `{"product": 1, "count": 1}`, l.customer, "Content-Type: application/json")
	if a.StatusCode != http.StatusCreated {
		t.Fatalf("ordering: %d %s", a.StatusCode, a.Text)
	}
	for l.events.Scan() && !strings.HasPrefix(l.events.Text(), "event: order") {
	}
	if err := l.events.Err(); err != nil || !strings.HasPrefix(l.events.Text(), "event: order") {
		t.Errorf("the stream of events broke: %q, %v", l.events.Text(), err)
	}
	if err := l.visitors(); err != nil {
		t.Errorf("the WebSocket broke: %v", err)
	}
}

func (l *load) end() {
	if !l.ending.Swap(true) {
		close(l.upload)
	}
	l.stop()
	l.workers.Wait()
}

// finish completes the upload and reports what failed.
func (l *load) finish(t *testing.T) {
	t.Helper()
	l.part(`"count": 1}`)
	l.ending.Store(true)
	close(l.upload)
	if a, ok := <-l.uploaded; ok && a.StatusCode != http.StatusCreated {
		t.Errorf("the upload ended with %d", a.StatusCode)
	}
	failed := false
	l.failed.Range(func(what, _ any) bool {
		failed = true
		t.Errorf("under load: %v", what)
		return true
	})
	t.Logf("%d requests answered, any failed: %t", l.asked.Load(), failed)
}

// version is the snapshot in force, as metrics tell.
func (f *fleet) version() string {
	f.T.Helper()
	_, rest, _ := strings.Cut(f.Get("http://"+f.admin+"/metrics").Text, `palisade_snapshot_info{version="`)
	v, _, _ := strings.Cut(rest, `"`)
	return v
}

// changed waits until another snapshot than before is in force.
func (f *fleet) changed(before string) string {
	f.T.Helper()
	var now string
	f.Eventually("the change is in force", func() bool { now = f.version(); return now != before })
	return now
}

// TestReloadUnderLoad changes everything that can change while requests, a stream, a WebSocket and an upload
// are under way. None of them notices.
func TestReloadUnderLoad(t *testing.T) {
	f := startFleet(t, "rate: 30/1m, burst: 10", "rate: 6000/1m, burst: 1000",
		"edge:\n", "edge:\n  timeouts: {header: 6s, drain: 1s, body: 10m}\n")
	l := f.load()
	l.served()
	l.alive(t)
	for _, change := range []struct {
		name string
		do   func(t *testing.T, l *load)
	}{
		{"policy", changePolicy},
		{"model", changeModel},
		{"API document", changeDocument},
		{"broken model", breakModel},
		{"listener", changeListener},
		{"on demand", changeOnDemand},
		{"new service connection", changeService},
	} {
		t.Run(change.name, func(t *testing.T) {
			change.do(t, l)
			l.served()
			l.alive(t)
		})
	}
	l.finish(t)
}

func changePolicy(t *testing.T, l *load) {
	f, before := l.f, l.f.version()
	clerk := "Authorization: Bearer " + f.token("clerk-1", token.Claims{}, "clerk")
	put := func() int {
		return f.Do(f.Client(true), "PUT", "/catalog/2", `{"name": "Gate hinge", "cents": 1250, "stock": 79}`, clerk, "Content-Type: application/json").StatusCode
	}
	if got := put(); got != 200 {
		t.Fatalf("before: %d", got)
	}
	f.Write("policies/freeze.cedar", "@id(\"freeze\")\nforbid (principal, action == Action::\"PUT\", resource in Service::\"catalog\");\n")
	f.changed(before)
	if got := put(); got != 403 {
		t.Errorf("after a new policy: %d", got)
	}
}

func changeModel(t *testing.T, l *load) {
	f, before := l.f, l.f.version()
	if got := f.Do(f.Client(true), "GET", "/healthz", "").StatusCode; got != 404 {
		t.Fatalf("before: %d", got)
	}
	f.Edit("palisade.yaml", "      - {host: shop.localhost, path: /live,", "      - {host: shop.localhost, path: /healthz, allow: [{anyone: true, methods: [GET]}]}\n      - {host: shop.localhost, path: /live,")
	f.changed(before)
	if got := f.Do(f.Client(true), "GET", "/healthz", "").StatusCode; got != 200 {
		t.Errorf("a new route: %d", got)
	}
}

func changeDocument(t *testing.T, l *load) {
	f, before := l.f, l.f.version()
	f.Edit("openapi/orders.yaml", "maximum: 100", "maximum: 5")
	f.changed(before)
	a := f.Do(f.Client(true), "POST", "/orders", `{"product": 1, "count": 6}`, l.customer, "Content-Type: application/json")
	if a.StatusCode != 422 {
		t.Errorf("by the new document: %d", a.StatusCode)
	}
}

func breakModel(t *testing.T, l *load) {
	f, before := l.f, l.f.version()
	f.Edit("palisade.yaml", "roles: [clerk], methods: [PUT]", "roles: [clerc], methods: [PUT]")
	f.Eventually("the mistake is shown", func() bool { return strings.Contains(f.Messages.String(), `no role is named "clerc"`) })
	if !strings.Contains(f.Messages.String(), "palisade.yaml:") || !strings.Contains(f.Messages.String(), `did you mean "clerk"`) {
		t.Errorf("messages: %s", f.Messages.String())
	}
	l.served()
	if now := f.version(); now != before {
		t.Errorf("a broken model is in force: %s", now)
	}
	a, err := app.Reload(t.Context(), f.options)
	if err != nil || a.Error == "" || len(a.Findings) == 0 || a.Findings[0].Position.Line == 0 {
		t.Errorf("asked to reload: %+v, %v", a, err)
	}
	if m := f.Get("http://" + f.admin + "/metrics").Text; !strings.Contains(m, `palisade_reloads_total{result="refused"}`) {
		t.Error("refused reloads are not counted")
	}
	f.Edit("palisade.yaml", "roles: [clerc], methods: [PUT]", "roles: [clerk, finance], methods: [PUT]")
	f.changed(before)
}

func changeListener(_ *testing.T, l *load) {
	f, before := l.f, l.f.version()
	f.Edit("palisade.yaml", "header: 6s", "header: 7s")
	f.changed(before)
	l.served()
	before = f.version()
	f.Edit("palisade.yaml", "header: 7s", "header: 8s")
	f.changed(before)
	for range 6 { // well past a drain: what was open on the sockets before outlives it
		l.served()
	}
}

func changeOnDemand(t *testing.T, l *load) {
	f, before := l.f, l.f.version()
	f.Edit("palisade.yaml", "header: 8s", "header: 9s")
	a, err := app.Reload(t.Context(), f.options)
	if err != nil || a.Error != "" || a.Version == before || a.Version != f.version() {
		t.Errorf("reload: %+v, %v; before %s, now %s", a, err, before, f.version())
	}
	before = a.Version
	f.Edit("palisade.yaml", "header: 9s", "header: 10s")
	f.reload <- struct{}{} // as SIGHUP does
	f.changed(before)
}

func changeService(t *testing.T, l *load) {
	f, before := l.f, l.f.version()
	f.Edit("palisade.yaml", "    data: [public]\n    callers: [web, orders]", "    upstream: {connections: 3}\n    data: [public]\n    callers: [web, orders]")
	f.changed(before)
	l.served()
	if a := f.Do(f.Client(false), "GET", "/", ""); a.StatusCode != 200 {
		t.Errorf("page: %d", a.StatusCode)
	}
}
