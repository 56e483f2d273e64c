package app_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app"
	"github.com/palisade-security/palisade/app/isolate"
	"github.com/palisade-security/palisade/token"
)

// services is where TestMain's services are built, on first use.
var services = struct {
	dir   string
	build func() error
}{}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == isolate.Verb {
		os.Exit(isolate.Inside(context.Background(), os.Args[2:], os.Stderr))
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	dir, err := os.MkdirTemp("", "palisade-shop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	services.dir = dir
	services.build = sync.OnceValue(func() error {
		cmd := exec.Command("go", "build", "-o", dir+"/", "./web", "./catalog", "./orders", "./payments")
		cmd.Dir = "../examples/shop"
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building the shop: %w\n%s", err, out)
		}
		return nil
	})
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// output is what a running fleet writes; it can be read meanwhile.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// fleet is the example shop behind a gateway, with ports and folders of its own.
type fleet struct {
	t                     *testing.T
	dir                   string
	edge, redirect, admin string // host:port
	services              []string
	options               *app.Options
	lines, messages       output
	reload                chan struct{}
	stop                  context.CancelFunc
	done                  chan struct{} // closed when up has ended
	err                   error         // of up, once done
}

// newFleet writes the shop's model with free ports. Edits are pairs of old and new text of palisade.yaml.
func newFleet(t *testing.T, edits ...string) *fleet {
	t.Helper()
	if err := services.build(); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "palisade-") //nolint:usetesting // t.TempDir can be too long for the control socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := &fleet{t: t, dir: dir, reload: make(chan struct{}), done: make(chan struct{})}
	ports := freePorts(t, 7)
	f.edge, f.redirect, f.admin, f.services = ports[0], ports[1], ports[2], ports[3:]
	pairs := []string{
		"127.0.0.1:8443", f.edge, "127.0.0.1:8080", f.redirect,
		"edge:\n", "edge:\n  admin: " + f.admin + "\n",
		"rate: 300/1m, burst: 100", "rate: 1000000/1m, burst: 1000000",
	}
	for i, name := range []string{"web", "catalog", "orders", "payments"} {
		pairs = append(pairs, fmt.Sprintf("127.0.0.1:910%d", i+1), f.services[i], "build: [go, build, -o, .palisade/bin/"+name+", ./"+name+"], command: [.palisade/bin/"+name+"]", "command: ["+filepath.Join(services.dir, name)+"]")
	}
	for _, name := range []string{"policies/orders.cedar", "openapi/orders.yaml", "openapi/catalog.yaml"} {
		f.write(name, read(t, filepath.Join("../examples/shop", name)))
	}
	f.write("palisade.yaml", read(t, "../examples/shop/palisade.yaml"))
	f.edit("palisade.yaml", pairs...)
	f.edit("palisade.yaml", edits...)
	f.options = &app.Options{Paths: []string{dir}, Out: &f.lines, Err: &f.messages}
	return f
}

// startFleet runs a fleet and waits until it takes requests. It is stopped at the end of the test.
func startFleet(t *testing.T, edits ...string) *fleet {
	t.Helper()
	f := newFleet(t, edits...)
	f.start()
	return f
}

func (f *fleet) start() {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	f.stop = cancel
	go func() {
		defer close(f.done)
		f.err = app.Up(ctx, f.options, f.reload)
	}()
	f.t.Cleanup(func() {
		cancel()
		<-f.done
	})
	f.eventually("up is ready", func() bool {
		select {
		case <-f.done:
			f.t.Fatalf("up ended: %v\n%s", f.err, f.messages.String())
		default:
		}
		return strings.Contains(f.messages.String(), "Ctrl-C stops everything")
	})
}

// eventually polls until ok or the test's time is over.
func (f *fleet) eventually(what string, ok func() bool) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			f.t.Fatalf("%s: not in time\n%s", what, f.messages.String())
		case <-tick.C:
		}
	}
}

func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var out []string
	for range n {
		var lc net.ListenConfig
		ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		out = append(out, ln.Addr().String())
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (f *fleet) path(name string) string { return filepath.Join(f.dir, name) }

// write replaces a file as editors do: a new one takes its name.
func (f *fleet) write(name, text string) {
	f.t.Helper()
	path := f.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path+"~", []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		f.t.Fatal(err)
	}
}

// edit replaces texts of a file; each must be there.
func (f *fleet) edit(name string, pairs ...string) {
	f.t.Helper()
	text := read(f.t, f.path(name))
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			f.t.Fatalf("%s does not hold %q", name, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	f.write(name, text)
}

// tls trusts the local authority of the fleet.
func (f *fleet) tls() *tls.Config {
	f.t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(read(f.t, f.path(".palisade/ca/local-ca.pem")))) {
		f.t.Fatal("the local authority has no certificate")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// client speaks HTTP/1.1 or HTTP/2 to the edge, whatever the host.
func (f *fleet) client(h2 bool) *http.Client {
	f.t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	tr := &http.Transport{
		TLSClientConfig: f.tls(), Protocols: protocols, DisableCompression: true, MaxIdleConnsPerHost: 16,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", f.edge)
		},
	}
	f.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (f *fleet) url(path string) string {
	_, port, _ := net.SplitHostPort(f.edge)
	return "https://shop.localhost:" + port + path
}

func (f *fleet) token(subject string, c token.Claims, roles ...string) string {
	f.t.Helper()
	c.Subject, c.Roles = subject, roles
	s, err := app.Token(f.options, c)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

func (a *answer) id() string { return a.Header.Get("X-Request-Id") }

// problem is the answer's problem document.
func (a *answer) problem(t *testing.T) (p struct {
	Type, Title, Detail, Instance string
	Status                        int
	RequestID                     string `json:"request_id"`
	Reasons                       []any
},
) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Errorf("not a problem document: %v: %s", err, a.body)
	}
	return p
}

// request makes a request to the shop; header lines are "Name: value".
func (f *fleet) request(method, path, body string, header ...string) *http.Request {
	f.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url(path), r)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	return req
}

func (f *fleet) do(c *http.Client, method, path, body string, header ...string) *answer {
	f.t.Helper()
	return f.send(c, f.request(method, path, body, header...))
}

func (f *fleet) send(c *http.Client, req *http.Request) *answer {
	f.t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return &answer{resp, string(b)}
}

// get asks something in the clear: the admin listener, or the one that redirects.
func (f *fleet) get(url string) *answer {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return f.send(c, req)
}
