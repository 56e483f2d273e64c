package mesh

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/table"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func testLog() *slog.Logger {
	if os.Getenv("PALISADE_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.DiscardHandler)
}

func ringIn(t testing.TB, dir string) *keyring.Ring {
	t.Helper()
	keeper, err := keyring.LocalKeeper(filepath.Join(dir, "keys"))
	must(t, err)
	ring, err := keyring.OpenRing(t.Context(), filepath.Join(dir, "ring"), keeper)
	must(t, err)
	return ring
}

func listenHere(t testing.TB, address string) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(t.Context(), "tcp", address)
	must(t, err)
	return ln
}

const remoteModel = `version: 1
fleet: shop
trust_domain: shop.example
mesh: {stale: serve}
edge: {listeners: {public: {address: "127.0.0.1:0", tls: {local: true}}}}
services:
  web: {address: "http://WEB", expose: [{host: shop.localhost, path: /, allow: [{anyone: true, methods: [GET]}]}]}
  catalog: {address: "http://CATALOG", callers: [web]}
  ledger: {address: "tcp://LEDGER", callers: [web]}
`

// site is a control and the services of a fleet, whose sidecars a test starts.
type site struct {
	t       *testing.T
	dir     string
	text    string
	control *control.Control
	store   *table.Store
	listen  string
	bus     string
	stop    func()
	records *records
}

func newSite(t *testing.T) *site {
	t.Helper()
	text := strings.Replace(remoteModel, "LEDGER", echo(t), 1)
	for _, name := range []string{"web", "catalog"} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, name+" "+r.URL.Path) }))
		t.Cleanup(srv.Close)
		text = strings.Replace(text, strings.ToUpper(name), srv.Listener.Addr().String(), 1)
	}
	return siteOf(t, text)
}

// siteOf is a control of a model, and its folder.
func siteOf(t *testing.T, text string) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "mesh") //nolint:usetesting // a socket lies in it, whose path must be short
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &site{t: t, dir: dir, text: text, records: &records{}}
	s.store, err = table.Open(t.Context(), "sqlite:"+filepath.Join(dir, "control.db"))
	must(t, err)
	t.Cleanup(func() { must(t, s.store.Close()) })
	for _, at := range []*string{&s.listen, &s.bus} {
		ln := listenHere(t, "127.0.0.1:0")
		*at = ln.Addr().String()
		must(t, ln.Close())
	}
	s.start()
	return s
}

func (s *site) compile() *model.Snapshot {
	s.t.Helper()
	path := filepath.Join(s.dir, "palisade.yaml")
	must(s.t, os.WriteFile(path, []byte(s.text), 0o600))
	d, _, err := model.Load(path)
	must(s.t, err)
	snap, findings := d.Compile(model.Options{})
	if snap == nil {
		s.t.Fatal(findings)
	}
	return snap
}

func (s *site) socket() string { return filepath.Join(s.dir, "admin.sock") }

// start runs control until stop.
func (s *site) start() {
	s.t.Helper()
	ready := make(chan struct{})
	c, err := control.New(control.Options{
		Domain: "shop.example", Store: s.store, Ring: ringIn(s.t, filepath.Join(s.dir, "control")), Log: testLog(), Model: s.compile(), Name: "test",
		Listen: s.listen, Socket: s.socket(), Bus: control.BusOptions{Dir: filepath.Join(s.dir, "bus"), Listen: s.bus},
		Ready: func(string) { close(ready) }, Lease: 2 * time.Second,
	})
	must(s.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	ended := false
	s.stop = func() {
		if !ended {
			ended = true
			cancel()
			must(s.t, <-done)
		}
	}
	s.t.Cleanup(func() { s.stop() })
	select {
	case <-ready:
	case err := <-done:
		s.t.Fatal(err)
	}
	s.control = c
	eventually(s.t, "control leads", func() bool { return c.Status().Leads })
}

// remote is a sidecar of a test, with its state, which survives restarts.
type remote struct {
	*Remote
	s    *site
	name string
	dir  string
	stop func()
}

// join starts a sidecar with a new join token and waits until it serves.
func (s *site) join(name string) *remote {
	s.t.Helper()
	a := admin.Local(s.socket())
	defer a.Close()
	token, err := a.Token(s.t.Context(), admin.TokenRequest{Name: "service/" + name})
	must(s.t, err)
	r := &remote{s: s, name: name, dir: s.t.TempDir()}
	r.start(token.Token)
	eventually(s.t, name+" is ready", func() bool { return r.Ready() == nil })
	return r
}

func (r *remote) start(token string) {
	t := r.s.t
	t.Helper()
	ln := listenHere(t, "127.0.0.1:0")
	var err error
	r.Remote, err = OpenRemote(t.Context(), RemoteOptions{
		Service: r.name, Inbound: ln, Advertise: []string{ln.Addr().String()}, Recorder: r.s.records,
		Client: client.Options{
			Domain: "shop.example", Node: "host", Keeper: ringIn(t, r.dir), Log: testLog(), Control: []string{r.s.listen}, JoinToken: token, Every: 200 * time.Millisecond,
		},
		Doors: func(slice *model.Snapshot) []model.Door {
			return slices.DeleteFunc(slice.Doors(r.name), func(d model.Door) bool { return d.At.Port() == 80 })
		},
	})
	must(t, err)
	must(t, r.Surround(t.Context(), func(ctx context.Context, _ model.Door) (net.Listener, error) {
		return new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	}))
	r.Attach(new(net.Dialer).DialContext)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done, ended := make(chan error, 1), false
	go func() { done <- r.Run(ctx) }()
	r.stop = func() {
		if !ended {
			ended = true
			cancel()
			if err := <-done; err != nil {
				t.Errorf("%s: %v", r.name, err)
			}
			_ = ln.Close()
		}
	}
	t.Cleanup(func() { r.stop() })
}

// get asks as the service and returns status and body.
func (r *remote) get(callee, path string) (int, string) {
	t := r.s.t
	t.Helper()
	at := r.At(callee)
	if at == nil {
		return 0, ""
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at.String()+path, nil)
	must(t, err)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(b)
}

func (r *remote) say(callee, text string) string {
	at := r.At(callee)
	if at == nil {
		return ""
	}
	c, err := (&net.Dialer{}).DialContext(r.s.t.Context(), "tcp", at.String())
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

func (r *remote) gets(callee, path string, want int) {
	r.s.t.Helper()
	eventually(r.s.t, r.name+" asks "+callee, func() bool { status, _ := r.get(callee, path); return status == want })
}

// TestRemote is the life of sidecars that a control feeds.
func TestRemote(t *testing.T) {
	s := newSite(t)
	web, catalog, ledger := s.join("web"), s.join("catalog"), s.join("ledger")
	web.gets("catalog", "/x", 200)
	eventually(t, "a connection is carried", func() bool { return web.say("ledger", "hello") == "hello" })
	if at := catalog.At("web"); at != nil {
		t.Errorf("catalog finds web at %s, which it may not call", at)
	}

	// Control is away: calls go on, and so does a sidecar that starts anew.
	s.stop()
	web.gets("catalog", "/x", 200)
	web.stop()
	web.start("")
	web.gets("catalog", "/x", 200)
	if got := web.say("ledger", "hello"); got != "hello" {
		t.Errorf("got %q", got)
	}
	s.start()

	// A changed model reaches all: who may call no more finds nobody, and a service may change its kind.
	a := admin.Local(s.socket())
	defer a.Close()
	before := s.control.Status().InForce.Version
	s.text = strings.Replace(s.text, "callers: [web]}\n  ledger", "callers: [ledger]}\n  ledger", 1)
	s.text = strings.Replace(s.text, "tcp://", "http://", 1)
	document, err := json.Marshal(s.compile())
	must(t, err)
	result, err := a.Apply(t.Context(), admin.ApplyRequest{Model: document, Before: before, Watch: model.Duration(time.Second)})
	if err != nil || result.Outcome != admin.Applied {
		t.Fatalf("%+v, %v", result, err)
	}
	ledger.gets("catalog", "/x", 200)
	if at := web.At("catalog"); at != nil {
		t.Errorf("web still finds catalog at %s", at)
	}
	eventually(t, "the ledger is asked over HTTP", func() bool { status, _ := web.get("ledger", "/x"); return status == http.StatusBadGateway })

	// A revocation cuts.
	ledger.gets("catalog", "/x", 200)
	_, err = a.Revoke(t.Context(), admin.RevokeRequest{Kind: "service", Value: "service/ledger", Reason: "test"})
	must(t, err)
	if status, body := ledger.get("catalog", "/x"); status != http.StatusBadGateway {
		t.Errorf("the revoked ledger gets %d %s", status, body)
	}
}
