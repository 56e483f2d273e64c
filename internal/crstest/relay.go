package crstest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
)

// relay stands between the runner and the server under test. It hands on the bytes of a test as they are,
// writes the server's log lines of it, and answers the runner's marker requests by itself, so that the server
// needs to know nothing of the suite.
type relay struct {
	target   Target
	listener net.Listener
	log      io.Writer
	group    sync.WaitGroup

	mu   sync.Mutex
	seen []exchange
}

// exchange is one test request as the server answered it. Status 0: no answer that is HTTP.
type exchange struct {
	status int
	own    bool   // the answer is the server's own, a problem document (RFC 9457)
	why    string // the server's reason
	lines  []string
}

// refused reports whether the server answered before any rule saw the request.
func (x exchange) refused() bool {
	return (x.own || x.status == http.StatusBadRequest) && len(x.lines) == 0 || x.status == http.StatusHTTPVersionNotSupported
}

func (x exchange) rules() []string {
	var out []string
	for _, line := range x.lines {
		for _, m := range idPattern.FindAllStringSubmatch(line, -1) {
			out = append(out, m[1])
		}
	}
	return out
}

var idPattern = regexp.MustCompile(`\[id "(\d+)"\]`)

const (
	markerHeader = "\nx-crs-test:"
	patience     = time.Minute
)

func newRelay(ctx context.Context, target Target, log io.Writer) (*relay, error) {
	target.IDHeader = cmp.Or(target.IDHeader, "X-Request-Id")
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the runner: %w", err)
	}
	r := &relay{target: target, listener: l, log: log}
	r.group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.group.Go(func() { r.serve(ctx, conn) })
		}
	})
	return r, nil
}

func (r *relay) close() {
	_ = r.listener.Close() // nothing is lost with it
	r.group.Wait()
}

func (r *relay) address() (string, int) {
	a, ok := r.listener.Addr().(*net.TCPAddr)
	if !ok {
		return "", 0
	}
	return a.IP.String(), a.Port
}

// take returns what was seen since the last call.
func (r *relay) take() []exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.seen
	r.seen = nil
	return out
}

// serve handles one connection; the runner sends one request on each.
func (r *relay) serve(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	first := make([]byte, 1<<20)
	n, err := conn.Read(first)
	if err != nil {
		return
	}
	first = first[:n]
	if marker, ok := findMarker(first); ok {
		_, _ = fmt.Fprintf(r.log, "X-CRS-Test: %s\n", marker)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return
	}
	answer, x := r.forward(ctx, conn, first)
	r.mu.Lock()
	r.seen = append(r.seen, x)
	r.mu.Unlock()
	// The lines stand in the log before the runner has the answer and asks for them.
	for _, line := range x.lines {
		_, _ = fmt.Fprintln(r.log, line)
	}
	_, _ = conn.Write(answer)
}

// findMarker returns the value of the runner's marker field in a request head.
func findMarker(request []byte) (string, bool) {
	head, _, _ := bytes.Cut(request, []byte("\r\n\r\n"))
	i := bytes.Index(bytes.ToLower(head), []byte(markerHeader))
	if i < 0 {
		return "", false
	}
	line, _, _ := strings.Cut(string(head[i+len(markerHeader):]), "\r\n")
	return strings.TrimSpace(line), true
}

// forward sends the request on and reads the whole answer. It returns the answer's bytes, as far as they came.
func (r *relay) forward(ctx context.Context, client net.Conn, first []byte) ([]byte, exchange) {
	server, err := r.dial(ctx)
	if err != nil {
		return nil, exchange{}
	}
	defer func() { _ = server.Close() }()
	_ = server.SetDeadline(time.Now().Add(patience))
	if _, err := server.Write(first); err != nil {
		return nil, exchange{}
	}
	rest := make(chan struct{})
	go func() {
		defer close(rest)
		_, _ = io.Copy(server, client)
	}()
	defer func() {
		_ = server.Close()
		_ = client.SetReadDeadline(time.Now())
		<-rest
	}()
	var raw bytes.Buffer
	method, _, _ := bytes.Cut(first, []byte(" "))
	res, err := http.ReadResponse(bufio.NewReader(io.TeeReader(server, &raw)), &http.Request{Method: string(method)})
	if err != nil {
		return raw.Bytes(), exchange{}
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	x := exchange{status: res.StatusCode, own: res.Header.Get("Content-Type") == "application/problem+json"}
	id := res.Header.Get(r.target.IDHeader)
	if lines, err := r.target.Lines(ctx, id); err == nil {
		x.lines = lines
	}
	if x.refused() && r.target.Why != nil {
		x.why = r.target.Why(id)
	}
	return raw.Bytes(), x
}

func (r *relay) dial(ctx context.Context) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: patience}
	if r.target.TLS != nil {
		return (&tls.Dialer{NetDialer: dialer, Config: r.target.TLS}).DialContext(ctx, "tcp", r.target.Address)
	}
	return dialer.DialContext(ctx, "tcp", r.target.Address)
}
