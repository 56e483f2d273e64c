package upstream_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// peer is a service's end of one connection.
type peer struct {
	net.Conn
	*bufio.Reader
	number int // of the connection, from 1
}

func (p *peer) Read(b []byte) (int, error) { return p.Reader.Read(b) }

// request reads a request with its body.
func (p *peer) request() (*http.Request, string, bool) {
	r, err := http.ReadRequest(p.Reader)
	if err != nil {
		return nil, "", false
	}
	b, err := io.ReadAll(r.Body)
	return r, string(b), err == nil
}

func (p *peer) say(s string) { _, _ = io.WriteString(p.Conn, s) }

// script listens and plays the service on each connection; it returns the address and the count of connections.
func script(t testing.TB, play func(p *peer)) (string, *atomic.Int64) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	count := new(atomic.Int64)
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			n := int(count.Add(1))
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				play(&peer{Conn: c, Reader: bufio.NewReader(c), number: n})
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String(), count
}

// holder sends what is written while it holds in one piece.
type holder struct {
	net.Conn
	hold bool
	held []byte
}

func (h *holder) Write(b []byte) (int, error) {
	if !h.hold {
		return h.Conn.Write(b)
	}
	h.held = append(h.held, b...)
	return len(b), nil
}

func (h *holder) release() {
	_, _ = h.Conn.Write(h.held)
	h.hold, h.held = false, nil
}
