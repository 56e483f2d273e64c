package hostile_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/listen"
)

// hurried is a front with short bounds.
func hurried(answer func(*http.Request, []byte) string) bounds {
	return bounds{
		answer: answer,
		listen: func(o *listen.Options) { o.Header, o.Idle = 2*time.Second, 2*hang },
		table:  func(t *engine.Table) { t.Pause, t.Body, t.Write = time.Second, 2*time.Second, time.Second },
	}
}

// TestSlowClients holds that crowds of slow clients are cut at their bounds, and that others do not notice.
func TestSlowClients(t *testing.T) {
	begin := "POST /slow HTTP/1.1\r\nHost: " + host + "\r\n"
	for _, c := range []struct {
		name  string
		bare  bool // no handshake
		start string
		drip  string // one byte at a time
	}{
		{name: "no handshake", bare: true},
		{name: "half a handshake", bare: true, start: "\x16\x03\x01\x02\x00\x01"},
		{name: "nothing after the handshake"},
		{name: "half a head", start: begin},
		{name: "head byte by byte", start: begin, drip: "X-Slow: " + strings.Repeat("a", 4096)},
		{name: "second head byte by byte", start: "GET /a HTTP/1.1\r\nHost: " + host + "\r\n\r\n" + begin, drip: "X-Slow: " + strings.Repeat("a", 4096)},
		{name: "head of one byte", start: "\r"},
		{name: "half a body", start: begin + "Content-Length: 4096\r\n\r\nabc"},
		{name: "body byte by byte", start: begin + "Content-Length: 4096\r\n\r\n", drip: strings.Repeat("a", 4096)},
		{name: "chunk byte by byte", start: begin + "Transfer-Encoding: chunked\r\n\r\n1000\r\n", drip: strings.Repeat("a", 4096)},
		{name: "trailer byte by byte", start: begin + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", drip: strings.Repeat("a", 2000)},
		{name: "body awaited with 100", start: begin + "Expect: 100-continue\r\nContent-Length: 4096\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFront(t, hurried(nil))
			f.during(t, func(full func()) {
				conns := f.crowd(t, c.bare, c.start)
				full()
				drip(t, conns, c.drip)
				var cut atomic.Int64
				var wg sync.WaitGroup
				for _, conn := range conns {
					wg.Go(func() {
						if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
							t.Error("a slow client was not cut")
							return
						}
						cut.Add(1)
					})
				}
				wg.Wait()
				t.Logf("%d of %d connections cut", cut.Load(), len(conns))
			})
		})
	}
}

// crowd opens many connections, each of which begins with start.
func (f *front) crowd(t *testing.T, bare bool, start string) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, crowd)
	var wg sync.WaitGroup
	for part := range 8 {
		wg.Go(func() {
			for i := part; i < crowd; i += 8 {
				if bare {
					c, err := new(net.Dialer).DialContext(t.Context(), "tcp", f.address)
					if err != nil {
						t.Error(err)
						return
					}
					t.Cleanup(func() { _ = c.Close() })
					_ = c.SetDeadline(time.Now().Add(hang)) // a closed connection shows when it is used
					conns[i] = c
				} else {
					c, err := f.shake(t, "http/1.1")
					for tries := 0; err != nil && tries < 20; tries++ { // a busy machine may miss the front's bound on handshakes
						c, err = f.shake(t, "http/1.1")
					}
					if err != nil {
						t.Error(err)
						return
					}
					conns[i] = c
				}
				_, _ = io.WriteString(conns[i], start)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return conns
}

// drip sends text byte by byte on all connections in the background, until they end.
func drip(t *testing.T, conns []net.Conn, text string) {
	t.Helper()
	done := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for i := range len(text) {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			for _, c := range conns {
				_, _ = io.WriteString(c, text[i:i+1]) // one that was cut stays so
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
}

// TestSlowRead holds that clients that ask for much and take nothing do not keep the gateway busy.
func TestSlowRead(t *testing.T) {
	large := ok(strings.Repeat("x", 4<<20))
	f := newFront(t, hurried(func(r *http.Request, b []byte) string {
		if r.URL.Path == "/large" {
			return large
		}
		return say(r, b)
	}))
	f.during(t, func(full func()) {
		conns := f.crowd(t, false, "GET /large HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		full()
		f.settle(t)
		t.Logf("%d connections, none of them read; all requests ended", len(conns))
	})
}

// TestConnectionBound holds that a client address cannot have more connections than its share.
func TestConnectionBound(t *testing.T) {
	b := hurried(nil)
	hurry := b.listen
	b.listen = func(o *listen.Options) { hurry(o); o.PerAddress = 20 }
	f := newFront(t, b)
	var open []net.Conn
	for range 40 {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", f.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	cut := 0
	for _, c := range open[20:] {
		_ = c.SetReadDeadline(time.Now().Add(hang)) // fails on a closed connection alone
		if _, err := c.Read(make([]byte, 1)); err != nil && !isTimeout(err) {
			cut++
		}
	}
	if cut != 20 {
		t.Errorf("%d of 20 surplus connections were cut", cut)
	}
}
