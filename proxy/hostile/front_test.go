package hostile_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/listen"
	"github.com/palisade-security/palisade/proxy/route"
	"github.com/palisade-security/palisade/proxy/upstream"
)

// hang bounds every wait of these tests. It is no measure of anything.
const hang = time.Minute

const host = "shop.localhost"

// echo is a service that records the exact bytes it gets on each connection.
type echo struct {
	address string
	answer  func(r *http.Request, body []byte) string // raw

	mu    sync.Mutex
	conns []*bytes.Buffer
}

func newEcho(t *testing.T, answer func(*http.Request, []byte) string) *echo {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{address: ln.Addr().String(), answer: answer}
	var wg sync.WaitGroup
	var open sync.Map
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open.Store(c, nil)
			wg.Go(func() { defer open.Delete(c); e.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		open.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		wg.Wait()
	})
	return e
}

// serve answers whatever net/http can parse. What it cannot parse is recorded all the same.
func (e *echo) serve(c net.Conn) {
	defer c.Close()
	record := &bytes.Buffer{}
	e.mu.Lock()
	e.conns = append(e.conns, record)
	e.mu.Unlock()
	b := bufio.NewReader(io.TeeReader(c, writerFunc(func(p []byte) (int, error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		return record.Write(p)
	})))
	for {
		r, err := http.ReadRequest(b)
		if err != nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if _, err := io.WriteString(c, e.answer(r, body)); err != nil {
			return
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

var varying = regexp.MustCompile(`(X-Request-Id|Traceparent): [^\r]*`)

// received returns what came over each connection, with the values that differ every time cut out.
func (e *echo) received() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, c := range e.conns {
		out = append(out, varying.ReplaceAllString(c.String(), "$1: *"))
	}
	return out
}

// all is received in one string.
func (e *echo) all() string { return strings.Join(e.received(), "") }

// say answers with the request's target.
func say(r *http.Request, _ []byte) string { return ok("saw " + r.Method + " " + r.RequestURI) }

func ok(body string) string {
	return "HTTP/1.1 200 OK\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n" + body
}

// seen is what a filter saw of a request.
type seen struct{ method, host, path, query string }

// front is a gateway with an echo service behind it.
type front struct {
	engine  *engine.Engine
	echo    *echo
	address string

	mu     sync.Mutex
	seen   []seen
	events []event.Event
}

func (f *front) Durable(_ context.Context, e *event.Event) error { f.Observe(e); return nil }

func (f *front) Observe(e *event.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := *e
	c.Trail = append([]event.Stage(nil), e.Trail...)
	f.events = append(f.events, c)
}

func (f *front) Filter(_ context.Context, r *proxy.Request) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, seen{r.Method, r.Host, r.Path, r.RawQuery})
	return nil
}

// reset forgets what has been seen so far.
func (f *front) reset() {
	f.mu.Lock()
	f.seen, f.events = nil, nil
	f.mu.Unlock()
	f.echo.mu.Lock()
	for _, c := range f.echo.conns {
		c.Reset()
	}
	f.echo.mu.Unlock()
}

// bounds are what a test changes of the front.
type bounds struct {
	answer func(*http.Request, []byte) string
	listen func(*listen.Options)
	inside bool // the front of a sidecar
	table  func(*engine.Table)
	route  func(*engine.Route)
}

// newFront serves every path of host, and of 127.0.0.1.
func newFront(t *testing.T, b bounds) *front {
	t.Helper()
	if b.answer == nil {
		b.answer = say
	}
	f := &front{echo: newEcho(t, b.answer)}
	pool := upstream.NewPool(upstream.Options{Address: f.echo.address, MaxConns: 512})
	t.Cleanup(pool.Close)
	svc := engine.NewService("echo", f.echo.address, pool, 512)
	tmpl, err := model.ParseTemplate("/**")
	if err != nil {
		t.Fatal(err)
	}
	var entries []route.Entry[*engine.Route]
	for _, h := range []string{host, "127.0.0.1"} {
		r := &engine.Route{
			Route: proxy.Route{ID: "echo " + h, Service: "echo", Host: h, Template: "/**"}, Service: svc, Body: 1 << 20, Timeout: 10 * time.Second,
			Steps: []engine.Step{{Stage: event.StageAuthorise, Filter: f}},
		}
		if b.route != nil {
			b.route(r)
		}
		entries = append(entries, route.Entry[*engine.Route]{Name: r.ID, Host: h, Path: tmpl, Methods: []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, Value: r})
	}
	m, err := route.Build(entries)
	if err != nil {
		t.Fatal(err)
	}
	table := &engine.Table{Version: "v1", Fleet: "test", Matcher: m, Redactor: event.NewRedactor(nil), Pause: 2 * time.Second, Body: 4 * time.Second, Write: 2 * time.Second, Requests: 4096}
	if b.table != nil {
		b.table(table)
	}
	f.engine = engine.New(f)
	f.engine.Swap(table)
	f.serve(t, b)
	return f
}

func (f *front) serve(t *testing.T, b bounds) {
	t.Helper()
	certs := httptest.NewUnstartedServer(nil)
	certs.StartTLS()
	t.Cleanup(certs.Close)
	cert := certs.TLS.Certificates[0]
	o := listen.Options{
		Name: "public", Address: "127.0.0.1:0", Handler: f.engine, Header: 3 * time.Second, Idle: 4 * time.Second, Drain: time.Second,
		HeaderBytes: 32 << 10, Connections: 2048, PerAddress: 2048, Inside: b.inside,
		TLS: listen.Config(false, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }),
	}
	if b.listen != nil {
		b.listen(&o)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s, err := listen.Bind(ctx, o)
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
	f.address = s.Addr().String()
}

// dial opens a TLS connection that speaks proto.
func (f *front) dial(t *testing.T, proto string) *tls.Conn {
	t.Helper()
	c, err := f.shake(t, proto)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shake is dial for goroutines other than the test's.
func (f *front) shake(t *testing.T, proto string) (*tls.Conn, error) {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: host, NextProtos: []string{proto}}}
	c, err := d.DialContext(t.Context(), "tcp", f.address)
	if err != nil {
		return nil, err
	}
	conn, _ := c.(*tls.Conn)
	t.Cleanup(func() { _ = conn.Close() })
	return conn, conn.SetDeadline(time.Now().Add(hang))
}

// answer is one answer as a client reads it.
type answer struct {
	status int
	header http.Header
	body   string
	close  bool
}

// raw sends bytes on a new connection and returns all answers, once the front has closed it. Methods are those
// of the requests, as far as they matter.
func (f *front) raw(t *testing.T, stream string, methods ...string) []answer {
	t.Helper()
	c := f.dial(t, "http/1.1")
	var writing sync.WaitGroup
	writing.Go(func() { _, _ = io.WriteString(c, stream) }) // the front may have had enough before the end
	defer writing.Wait()
	defer c.Close()
	return readAll(t, c, methods...)
}

// readAll reads answers until the connection ends.
func readAll(t *testing.T, c net.Conn, methods ...string) []answer {
	t.Helper()
	var out []answer
	b := bufio.NewReader(c)
	for {
		if _, err := b.Peek(1); err != nil {
			if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
				t.Error("the front left the connection open")
			}
			return out
		}
		asked := &http.Request{Method: http.MethodGet}
		if len(methods) > len(out) {
			asked.Method = methods[len(out)]
		}
		resp, err := http.ReadResponse(b, asked)
		if err != nil {
			t.Fatalf("after %d answers: %v", len(out), err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusContinue {
			continue
		}
		out = append(out, answer{resp.StatusCode, resp.Header, string(body), resp.Close})
		if err != nil {
			return out
		}
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// client is a well-behaved one.
func (f *front) client(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}} // not the address of those who attack
			return d.DialContext(ctx, "tcp", f.address)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: hang}
}

// served sends one well-behaved request and reports what went wrong, if anything.
func served(ctx context.Context, c *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/well-behaved", nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || string(body) != "saw GET /well-behaved") {
		err = errors.New(resp.Status + " " + string(body))
	}
	return err
}

func statuses(answers []answer) []int {
	var out []int
	for _, a := range answers {
		out = append(out, a.status)
	}
	return out
}
