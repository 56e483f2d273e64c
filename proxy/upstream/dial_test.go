package upstream_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/palisade-security/palisade/proxy/upstream"
)

// TestUnix reaches services at a socket of the file system, with and without TLS, with both protocols.
func TestUnix(t *testing.T) {
	m := newMesh(t)
	path := filepath.Join(t.TempDir(), "s")
	plainPath := path + "p"
	for _, p := range []string{path, plainPath} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "unix", p)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto+" "+r.Host) }))
		s.Listener = l
		if p == path {
			s.TLS, s.EnableHTTP2 = m.server("catalog"), true
			s.StartTLS()
		} else {
			s.Config.Protocols = new(http.Protocols)
			s.Config.Protocols.SetHTTP1(true)
			s.Config.Protocols.SetUnencryptedHTTP2(true)
			s.Start()
		}
		t.Cleanup(s.Close)
	}
	check := func(want string, c upstream.Transport) {
		t.Helper()
		for i := range 2 {
			r, err := c.Do(t.Context(), get("/"))
			if got := read(t, r, err); got != want+" h" || r.Reused != (i > 0) || r.Address == "" {
				t.Errorf("got %q, reused %v at %q, expected %s", got, r.Reused, r.Address, want)
			}
		}
	}
	for protocol, c := range m.transports(upstream.Options{Address: "unix://" + path}) {
		check(protocol, c)
	}
	check("HTTP/1.1", newPool(t, upstream.Options{Address: "unix://" + plainPath}))
	h2c := upstream.NewStreams(upstream.Options{Address: "unix://" + plainPath}, true)
	defer h2c.Close()
	check("HTTP/2.0", h2c)
}

// TestDialContext reaches a service in a place of its own, which only the given function knows.
func TestDialContext(t *testing.T) {
	m := newMesh(t)
	s := m.serve(http.HandlerFunc(asker))
	var dialed atomic.Int64
	o := upstream.Options{Address: "127.0.0.1:9", DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if dialed.Add(1); network != "tcp" || address != "127.0.0.1:9" {
			t.Errorf("dialed %s %s", network, address)
		}
		return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
	}}
	for protocol, c := range m.transports(o) {
		for range 3 {
			r, err := c.Do(t.Context(), get("/"))
			if got := read(t, r, err); got != "orders-1 "+protocol {
				t.Errorf("got %q", got)
			}
		}
	}
	if n := dialed.Load(); n != 2 {
		t.Errorf("dialed %d times", n)
	}
}

// TestDialPipe uses a connection once that is no socket: nobody can tell whether it is silent.
func TestDialPipe(t *testing.T) {
	addr, count := script(t, func(p *peer) {
		for {
			if _, _, ok := p.request(); !ok {
				return
			}
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	p := newPool(t, upstream.Options{Address: addr, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		return struct{ net.Conn }{c}, err
	}})
	for range 3 {
		r, err := p.Do(t.Context(), get("/"))
		read(t, r, err)
	}
	if n := count.Load(); n != 3 {
		t.Errorf("%d connections for 3 requests", n)
	}
}
