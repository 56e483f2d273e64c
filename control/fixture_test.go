package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/internal/porttest"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/table"
)

const domain = "shop.example"

const shop = `version: 1
fleet: shop
trust_domain: shop.example
mesh: {stale: serve}
edge: {listeners: {main: {address: "127.0.0.1:8443", tls: {local: true}}}}
services:
  web: {address: "http://127.0.0.1:1", expose: [{host: web.localhost, path: /, allow: [{anyone: true}]}]}
  orders: {address: "http://127.0.0.1:2", callers: [web]}
  payments:
    address: "http://127.0.0.1:3"
    callers: [orders]
    workloads: [{kubernetes: {namespace: shop, service_account: payments}}]
`

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// compile compiles a model.
func compile(t testing.TB, texts ...string) *model.Snapshot {
	t.Helper()
	dir := t.TempDir()
	var files []string
	for i, text := range texts {
		files = append(files, filepath.Join(dir, fmt.Sprint(i, ".yaml")))
		must(t, os.WriteFile(files[i], []byte(text), 0o600))
	}
	d, _, err := model.Load(files...)
	must(t, err)
	s, findings := d.Compile(model.Options{})
	if s == nil {
		t.Fatal(findings)
	}
	return s
}

func encode(t testing.TB, v any) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(v)
	must(t, err)
	return data
}

func testLog(t testing.TB) *slog.Logger {
	if os.Getenv("PALISADE_CONTROL_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	return slog.New(slog.DiscardHandler)
}

// soon is a context that ends long after what is awaited should have happened.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ctx := soon(t); !holds(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// site is where one control lives: what remains when its process ends.
type site struct {
	t       testing.TB
	dir     string
	store   *table.Store
	ring    *keyring.Ring
	listen  string
	busAt   string
	first   *model.Snapshot
	change  func(*control.Options)
	mu      sync.Mutex
	events  []control.Event
	running *running
}

type running struct {
	control *control.Control
	stop    context.CancelFunc
	done    chan error
}

func openRing(t testing.TB, dir string) *keyring.Ring {
	t.Helper()
	keeper, err := keyring.LocalKeeper(filepath.Join(dir, "keys"))
	must(t, err)
	ring, err := keyring.OpenRing(t.Context(), filepath.Join(dir, "ring"), keeper)
	must(t, err)
	return ring
}

func newSite(t testing.TB, first *model.Snapshot, change func(*control.Options)) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "control") //nolint:usetesting // a socket lies in it, whose path must be short
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &site{t: t, dir: dir, first: first, change: change, listen: porttest.Free(t, 1)[0], busAt: porttest.Free(t, 1)[0]}
	s.store, err = table.Open(t.Context(), "sqlite:"+filepath.Join(dir, "control.db"))
	must(t, err)
	t.Cleanup(func() { must(t, s.store.Close()) })
	s.ring = openRing(t, dir)
	return s
}

func (s *site) socket() string { return filepath.Join(s.dir, "admin.sock") }

// start runs control until stop, and waits until it leads.
func (s *site) start() *control.Control {
	s.t.Helper()
	c := s.begin()
	eventually(s.t, "control leads", func() bool { return c.Status().Leads })
	return c
}

// begin runs control until stop.
func (s *site) begin() *control.Control {
	s.t.Helper()
	ready := make(chan string, 1)
	c, err := control.New(s.options(ready))
	must(s.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	r := &running{control: c, stop: cancel, done: make(chan error, 1)}
	go func() { r.done <- c.Run(ctx) }()
	select {
	case <-ready:
	case err := <-r.done:
		s.t.Fatalf("control ended: %v", err)
	case <-soon(s.t).Done():
		s.t.Fatal("control does not come up")
	}
	s.running = r
	s.t.Cleanup(func() { s.stop() })
	return c
}

// options are those of a control that tells where it listens.
func (s *site) options(ready chan<- string) control.Options {
	o := control.Options{
		Domain: domain, Store: s.store, Ring: s.ring, Log: testLog(s.t), Model: s.first, Name: "test",
		Listen: s.listen, Socket: s.socket(), Bus: control.BusOptions{Dir: filepath.Join(s.dir, "bus"), Listen: s.busAt},
		Record: func(_ context.Context, e control.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		},
		Ready: func(at string) { ready <- at }, Lease: 2 * time.Second,
	}
	if s.change != nil {
		s.change(&o)
	}
	return o
}

func (s *site) stop() {
	s.t.Helper()
	if s.running == nil {
		return
	}
	s.running.stop()
	if err := <-s.running.done; err != nil && !errors.Is(err, context.Canceled) {
		s.t.Errorf("control ended with %v", err)
	}
	s.running = nil
}

func (s *site) saw(kind string) []control.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []control.Event
	for _, e := range s.events {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

func (s *site) admin() *admin.Client {
	c := admin.Local(s.socket())
	s.t.Cleanup(c.Close)
	return c
}

func (s *site) token(name string) string {
	s.t.Helper()
	out, err := s.admin().Token(soon(s.t), admin.TokenRequest{Name: name})
	must(s.t, err)
	return out.Token
}

// proxy is a proxy of a test, with what it was told.
type proxy struct {
	*client.Client
	t    testing.TB
	o    client.Options
	stop func()

	mu      sync.Mutex
	serving string
	slice   *model.Snapshot
	places  map[string][]string
	jwks    []byte
	notes   []wire.Note
	stopped bool
	bad     func(*model.Snapshot) error
	stats   client.Stats
}

func (p *proxy) get(look func(*proxy)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	look(p)
}

func (p *proxy) version() (out string) { p.get(func(p *proxy) { out = p.serving }); return out }

func (p *proxy) noted(kind string) (out []string) {
	p.get(func(p *proxy) {
		for _, n := range p.notes {
			if n.Kind == kind {
				out = append(out, n.Text)
			}
		}
	})
	return out
}

// newProxy makes a proxy; its folder survives restarts.
func newProxy(t testing.TB, s *site, name, dir string, change func(*client.Options)) *proxy {
	t.Helper()
	p := &proxy{t: t}
	p.o = client.Options{
		Domain: domain, Name: name, Node: "host", Log: testLog(t), Control: []string{s.listen},
		Every: 500 * time.Millisecond,
		Compile: func(_ context.Context, snap *model.Snapshot) (func(), error) {
			p.mu.Lock()
			bad := p.bad
			p.mu.Unlock()
			if bad != nil {
				if err := bad(snap); err != nil {
					return nil, err
				}
			}
			return func() { p.get(func(p *proxy) { p.serving, p.slice = snap.Version, snap }) }, nil
		},
		Places: func(at map[string][]string) { p.get(func(p *proxy) { p.places = at }) },
		Keys:   func(jwks []byte) error { p.get(func(p *proxy) { p.jwks = jwks }); return nil },
		Stop:   func(stopped bool) { p.get(func(p *proxy) { p.stopped = stopped }) },
		Record: func(_ context.Context, n wire.Note) { p.get(func(p *proxy) { p.notes = append(p.notes, n) }) },
		Stats: func() (out client.Stats) {
			p.get(func(p *proxy) { out = p.stats })
			return out
		},
	}
	if change != nil {
		change(&p.o)
	}
	if p.o.Keeper == nil {
		p.o.Keeper = openRing(t, dir)
	}
	return p
}

// run opens and runs it until the test ends or halt.
func (p *proxy) run() *proxy {
	p.t.Helper()
	c, err := client.Open(p.t.Context(), p.o)
	must(p.t, err)
	p.Client = c
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.t.Context()))
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	var once sync.Once
	p.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				p.t.Errorf("proxy %s ended with %v", p.o.Name, err)
			}
		})
	}
	p.t.Cleanup(p.stop)
	return p
}

// join starts a proxy with a new join token and waits until it serves.
func join(t testing.TB, s *site, name string, change func(*client.Options)) *proxy {
	t.Helper()
	p := newProxy(t, s, name, t.TempDir(), func(o *client.Options) {
		o.JoinToken = s.token(name)
		if change != nil {
			change(o)
		}
	}).run()
	eventually(t, name+" serves", func() bool { return p.Ready() == nil })
	return p
}

// row returns what control says about a proxy.
func row(c *control.Control, p *proxy) *admin.Proxy {
	for _, r := range c.Status().Proxies {
		if r.Instance == p.Instance() {
			return &r
		}
	}
	return nil
}

func edited(from, to string) string {
	if !strings.Contains(shop, from) {
		panic(from)
	}
	return strings.Replace(shop, from, to, 1)
}
