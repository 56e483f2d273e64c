package upstream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/upstream"
)

// serveProtocols tells every client over which version of HTTP it asked and what it said, switches protocols where that is asked,
// and counts connections.
func (m *mesh) serveProtocols(h2 bool) (string, *atomic.Int64) {
	m.t.Helper()
	var conns atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				m.t.Error(err)
				return
			}
			defer c.Close()
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			_, _ = io.Copy(c, c)
			return
		}
		b, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %d", r.Proto, len(b))
	}))
	s.TLS = m.server("payments")
	s.EnableHTTP2 = h2
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.StartTLS()
	m.t.Cleanup(s.Close)
	return s.Listener.Addr().String(), &conns
}

// TestBoth holds what shares a connection of HTTP/2 and what has one of HTTP/1.1 for itself.
func TestBoth(t *testing.T) {
	m := newMesh(t)
	shares, _ := m.serveProtocols(true)
	alone, conns := m.serveProtocols(false)
	o := upstream.Options{TLS: m.client(), Trust: &m.trust}
	both := upstream.NewBalancer(o, upstream.Both, shares)
	defer both.Close()
	one := upstream.NewBalancer(o, upstream.Both, alone)
	defer one.Close()
	long := strings.Repeat("x", 16<<10+1)
	for name, c := range map[string]struct {
		body   string
		length int64
		ask    bool // first
		header field.List
		proto  string
	}{
		"nothing to send":  {"", 0, false, nil, "HTTP/2.0 0"},
		"a small body":     {"body", 4, false, nil, "HTTP/2.0 4"},
		"the largest":      {long[1:], 16 << 10, false, nil, "HTTP/2.0 16384"},
		"a larger one":     {long, 16<<10 + 1, false, nil, "HTTP/1.1 16385"},
		"an end unknown":   {"body", -1, false, nil, "HTTP/1.1 4"},
		"asks first":       {"body", 4, true, nil, "HTTP/1.1 4"},
		"gRPC in disguise": {"body", 4, false, field.List{{Name: "Content-Type", Value: "Application/gRPC+proto"}}, "HTTP/1.1 4"},
	} {
		for _, b := range []*upstream.Balancer{both, one} {
			want := c.proto
			if b == one {
				want = strings.Replace(want, "2.0", "1.1", 1)
			}
			r := &upstream.Request{Method: "POST", Target: "/", Host: "payments", Header: c.header, Length: c.length, ExpectContinue: c.ask}
			if c.length != 0 {
				r.Body = strings.NewReader(c.body)
			}
			resp, err := b.Do(t.Context(), r)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if got := read(t, resp, nil); got != want {
				t.Errorf("%s: %q, expected %q", name, got, want)
			}
			q := get("/")
			q.Header.Set("Upgrade", "x")
			_, tunnel, err := b.Upgrade(t.Context(), q)
			if err != nil {
				t.Errorf("switching protocols: %v", err)
				continue
			}
			_ = tunnel.Close()
		}
	}
	if n := conns.Load(); n > 1+1+7 { // asked whether it shares, one that is kept, and tunnels
		t.Errorf("%d connections to who does not share them", n)
	}
	for _, b := range []*upstream.Balancer{both, one} {
		if a := b.State().Addresses[0]; a.Failed > 0 || a.InFlight > 0 {
			t.Errorf("%+v", a)
		}
	}
	m.denied.Store(true)
	m.trust.Recheck()
	for _, b := range []*upstream.Balancer{both, one} {
		if _, err := b.Do(t.Context(), get("/")); !errors.Is(err, upstream.ErrDial) {
			t.Errorf("a denied peer: %v", err)
		}
	}
}

// TestBothInTheClear asks over HTTP/1.1 where nobody can say whether HTTP/2 is spoken.
func TestBothInTheClear(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	b := upstream.NewBalancer(upstream.Options{}, upstream.Both, addr)
	defer b.Close()
	resp, err := b.Do(t.Context(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, resp, nil); got != "HTTP/1.1" {
		t.Errorf("asked over %s", got)
	}
}

// TestBothIsCut ends a connection that many share under their feet: what is safe to repeat is answered all the same, and what is
// not is sent once.
func TestBothIsCut(t *testing.T) {
	m := newMesh(t)
	const many = 8
	var began sync.WaitGroup
	began.Add(2 * many)
	var asked, posted atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			posted.Add(1)
		}
		if asked.Add(1) <= 2*many {
			began.Done()
			<-r.Context().Done()
		}
		_, _ = io.WriteString(w, r.Proto)
	}))
	s.TLS, s.EnableHTTP2 = m.server("payments"), true
	first := make(chan net.Conn, 1)
	s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		select {
		case first <- c:
		default:
		}
		return ctx
	}
	s.StartTLS()
	defer s.Close()
	b := upstream.NewBalancer(upstream.Options{TLS: m.client(), Trust: &m.trust}, upstream.Both, s.Listener.Addr().String())
	defer b.Close()
	var answered, failed atomic.Int64
	var all sync.WaitGroup
	for i := range 2 * many {
		all.Go(func() {
			r := get("/")
			if i%2 == 1 {
				r.Method = http.MethodPost
			}
			resp, err := b.Do(t.Context(), r)
			if err != nil {
				failed.Add(1)
				return
			}
			if read(t, resp, nil) == "HTTP/2.0" {
				answered.Add(1)
			}
		})
	}
	began.Wait()
	_ = (<-first).(*tls.Conn).NetConn().Close()
	all.Wait()
	if n := posted.Load(); n != many {
		t.Errorf("%d requests that may not be repeated came %d times", many, n)
	}
	if n, lost := answered.Load(), failed.Load(); n < many-1 || n > many || n+lost != 2*many { // the connection's first request is its own
		t.Errorf("answered %d, lost %d", n, lost)
	}
}
