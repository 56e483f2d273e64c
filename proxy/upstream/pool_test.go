package upstream_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/proxy/upstream"
)

func newPool(t testing.TB, o upstream.Options) *upstream.Pool {
	t.Helper()
	p := upstream.NewPool(o)
	t.Cleanup(p.Close)
	return p
}

func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func read(t testing.TB, r *upstream.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("reading body: %v", err)
	}
	return string(b)
}

func TestPoolEcho(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Method", r.Method)
		_, _ = io.Copy(w, r.Body)
	})
	p := newPool(t, upstream.Options{Address: addr})
	for _, length := range []int64{5, -1} {
		for i := range 3 {
			r, err := p.Do(t.Context(), &upstream.Request{Method: "POST", Target: "/a?b=c", Host: "h", Body: strings.NewReader("hello"), Length: length})
			if got := read(t, r, err); got != "hello" {
				t.Fatalf("got %q", got)
			}
			if want := i > 0 || length < 0; r.Reused != want {
				t.Errorf("length %d, request %d: reused %v", length, i, r.Reused)
			}
		}
	}
}

// TestIdle sees the pool give up connections: idle for too long, more than it keeps, or when it closes.
func TestIdle(t *testing.T) {
	ended := make(chan int, 10)
	addr, count := script(t, func(p *peer) {
		for {
			r, _, ok := p.request()
			if !ok {
				ended <- p.number
				return
			}
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
			if r.URL.Path == "/wait" {
				_, _, _ = p.request() // never comes
				ended <- p.number
				return
			}
			p.say("ok")
		}
	})
	p := newPool(t, upstream.Options{Address: addr, Idle: 10 * time.Millisecond})
	r, err := p.Do(t.Context(), get("/"))
	read(t, r, err)
	if n := <-ended; n != 1 {
		t.Fatalf("connection %d ended", n)
	}

	p = newPool(t, upstream.Options{Address: addr, MaxIdle: 1})
	first, err := p.Do(t.Context(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.Do(t.Context(), get("/"))
	read(t, second, err)
	read(t, first, nil)
	if n := <-ended; n != 2 { // the later one came back first and is the one kept
		t.Fatalf("connection %d ended", n)
	}
	inFlight, err := p.Do(t.Context(), get("/"))
	if err != nil || !inFlight.Reused {
		t.Fatalf("reused %v, %v", inFlight.Reused, err)
	}
	p.Close()
	late, err := p.Do(t.Context(), get("/")) // begun on tables that still hold this pool
	if got := read(t, late, err); got != "ok" {
		t.Fatalf("late: got %q", got)
	}
	if n := <-ended; n != 4 {
		t.Fatalf("connection %d ended", n)
	}
	if got := read(t, inFlight, nil); got != "ok" {
		t.Fatalf("in flight: got %q", got)
	}
	if n := <-ended; n != 3 || count.Load() != 4 {
		t.Fatalf("connection %d of %d ended", n, count.Load())
	}
	p = newPool(t, upstream.Options{Address: addr})
	left, err := p.Do(t.Context(), get("/wait"))
	if err != nil {
		t.Fatal(err)
	}
	_ = left.Body.Close() // unread: takes the connection with it
	if n := <-ended; n != 5 {
		t.Fatalf("connection %d ended", n)
	}
}
