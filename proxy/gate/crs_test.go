package gate_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/crstest"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/filter/waf"
	"github.com/palisade-security/palisade/proxy/gate"
	"github.com/palisade-security/palisade/proxy/listen"
)

// crsHosts are all that the suite asks for and that a model can name; it has no bracketed addresses.
const crsHosts = `localhost example.com myapp.com webapp.com phpapp.com nextjs.example koaapp.com javaapp.com
	coldapp.com zendapp.com weblogicapp.com shinyapp.com sailsapp.com rubyapp.com railsapp.com playapp.com
	nodeapp.io nextjs-app.com meteorapp.com genericapp.com flaskapp.com ciapp.com cfapp.com cakeapp.com aspapp.com
	app.example.com api.example.com deadbeef.de 127.0.0.1 1.2.3.4`

const crsModel = `version: 1
fleet: suite
trust_domain: suite.example
edge:
  listeners:
    public: {address: 127.0.0.1:0, tls: {certificates: [{cert: cert.pem, key: key.pem}]}}
  timeouts: {header: 5s, body: 2s}
waf: WAF
services:
  backend:
    address: http://BACKEND
    expose:
`

// witness keeps what the gateway did with each request.
type witness struct {
	mu    sync.Mutex
	lines map[string][]string // matches by request id
	why   map[string]string   // refusals by request id
}

func (w *witness) Durable(context.Context, *event.Event) error { return nil }

// Observe implements engine.Recorder.
func (w *witness) Observe(e *event.Event) {
	for i := range e.Trail {
		if s := &e.Trail[i]; s.Outcome != event.OutcomePass && len(s.Reasons) > 0 {
			w.mu.Lock()
			w.why[e.ID] = s.Name + ": " + s.Reasons[0].Code + " " + s.Reasons[0].Text
			w.mu.Unlock()
		}
	}
}

func (w *witness) trace(id, line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines[id] = append(w.lines[id], line)
}

func (w *witness) of(_ context.Context, id string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lines[id], nil
}

func (w *witness) reason(id string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.why[id]
}

// unsigned lets nobody sign in.
type unsigned struct{}

func (unsigned) ForRoute(model.ResolvedRoute) proxy.Filter { return nil }

// gateway serves snap as the edge would, on plain HTTP, and returns its address.
func gateway(t *testing.T, snap *model.Snapshot, r engine.Recorder, with ...gate.Option) string {
	t.Helper()
	b, err := gate.NewBuilder(with...)
	if err != nil {
		t.Fatal(err)
	}
	g, findings, err := b.Build(t.Context(), snap, unsigned{})
	if err != nil {
		t.Fatal(err, findings)
	}
	e := engine.New(r)
	e.Swap(g.Table)
	b.Applied()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := listen.Bind(ctx, listen.Options{
		Name: "public", Address: "127.0.0.1:0", Handler: e, Header: 5 * time.Second, Idle: 5 * time.Second, Drain: time.Second,
		HeaderBytes: 32 << 10, Connections: 512, PerAddress: 512,
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
	return s.Addr().String()
}

// snapshot compiles the model that exposes the back end under those hosts.
func snapshot(t *testing.T, backend, inspection, hosts string) *model.Snapshot {
	t.Helper()
	var text strings.Builder
	text.WriteString(strings.NewReplacer("BACKEND", backend, "WAF", inspection).Replace(crsModel))
	for host := range strings.FieldsSeq(hosts) {
		text.WriteString("      - {host: \"" + host + "\", path: /**, methods: [GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS], allow: [{anyone: true}]}\n")
	}
	dir := t.TempDir()
	certificate(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "palisade.yaml"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	declared, _, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	snap, findings := declared.Compile(model.Options{})
	if snap == nil {
		t.Fatal(findings)
	}
	return snap
}

// certificate writes cert.pem and key.pem into dir and returns their paths.
func certificate(t *testing.T, dir string) model.Certificate {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	own := s.TLS.Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	c := model.Certificate{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for path, block := range map[string]*pem.Block{
		c.Cert: {Type: "CERTIFICATE", Bytes: own.Certificate[0]},
		c.Key:  {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// TestCoreRuleSet runs the rule set's own regression tests through the whole gateway: listener, guard,
// canonicaliser, routes, inspection of requests and answers, connections to the service. Under the race detector,
// where it would take too long, it runs every eighth test.
func TestCoreRuleSet(t *testing.T) {
	if testing.Short() {
		t.Skip("runs 4,674 requests")
	}
	w := &witness{lines: map[string][]string{}, why: map[string]string{}}
	backend := httptest.NewServer(crstest.Backend())
	defer backend.Close()
	snap := snapshot(t, backend.Listener.Addr().String(), "{paranoia: 4, answers: true}", crsHosts)
	address := gateway(t, snap, w, gate.WithWAF(waf.Options{Setup: crstest.Setup, NoCanaries: true, Trace: w.trace}))
	target := crstest.Target{Address: address, Lines: w.of, Why: w.reason}
	report, err := crstest.Run(t.Context(), target, t.TempDir(), crstest.Every(share))
	if err != nil {
		t.Fatal(err)
	}
	for _, difference := range report.Compare(expected(t, report)) {
		t.Error(difference)
	}
	alone := 0
	for i := range report.Results {
		if r := &report.Results[i]; r.Outcome == crstest.Strict && r.Passed {
			alone++
		}
	}
	passed, refused := report.Count(crstest.Passed), report.Count(crstest.Refused)
	t.Logf("%d tests in %s: %d pass, %d attacks are refused before the rules, %d fail; of what the suite wants left alone %d are refused, %d of them without breaking the suite's verdict",
		len(report.Results), report.Took.Round(time.Second), passed, refused, report.Count(crstest.Failed), report.Count(crstest.Strict), alone)
	if got := passed + refused + alone; share == 1 && got < wantCRS {
		t.Errorf("%d tests pass or are refused in time, want %d", got, wantCRS)
	}
}

// wantCRS is what Coraza alone passes of the suite, behind a plain server.
const wantCRS = 4658

// expected returns what is listed of the tests that ran.
func expected(t *testing.T, report *crstest.Report) []crstest.Expected {
	t.Helper()
	list, err := os.Open("testdata/crs-gateway-expected.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = list.Close() }()
	all, err := crstest.ReadExpected(list)
	if err != nil {
		t.Fatal(err)
	}
	if share > 1 {
		return report.Ran(all)
	}
	return all
}
