package upstream_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/upstream"
)

// TestDuplex sends and receives in turns on one exchange: nothing may wait for a buffer to fill.
func TestDuplex(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		_ = rc.Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			_ = rc.Flush()
			if err != nil {
				return
			}
		}
	})
	p := newPool(t, upstream.Options{Address: addr})
	src, feed := io.Pipe()
	r, err := p.Do(t.Context(), &upstream.Request{Method: "POST", Target: "/", Host: "h", Body: src, Length: -1})
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	for _, word := range []string{"one", "two", "three"} {
		_, _ = io.WriteString(feed, word)
		n, err := io.ReadFull(r.Body, buf[:len(word)])
		if err != nil || string(buf[:n]) != word {
			t.Fatalf("got %q, %v", buf[:n], err)
		}
	}
	_ = feed.Close()
	if got := read(t, r, nil); got != "" {
		t.Fatalf("got %q", got)
	}
	next, err := p.Do(t.Context(), get("/"))
	read(t, next, err)
	if !next.Reused {
		t.Error("connection not used again")
	}
}

// TestEarlyAnswer answers before the body is there: the answer counts, the connection is given up.
func TestEarlyAnswer(t *testing.T) {
	addr, _ := script(t, func(p *peer) {
		if _, err := http.ReadRequest(p.Reader); err == nil {
			p.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
		}
		_, _ = io.Copy(io.Discard, p.Reader)
	})
	p := newPool(t, upstream.Options{Address: addr})
	for range 2 {
		src, feed := io.Pipe()
		r, err := p.Do(t.Context(), &upstream.Request{
			Method: "POST", Target: "/", Host: "h", Body: src, Length: 1 << 20,
			Interrupt: func() { _ = src.Close() },
		})
		if got := read(t, r, err); got != "big" || r.Status != 413 || r.Reused {
			t.Fatalf("got %d %q, reused %v", r.Status, got, r.Reused)
		}
		if _, err := feed.Write([]byte("late")); err == nil {
			t.Error("the body is still read")
		}
	}
}

// TestServiceStopsReading closes in the middle of a large body, with and without last words.
func TestServiceStopsReading(t *testing.T) {
	for words, want := range map[string]error{"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n": nil, "": upstream.ErrDisconnected} {
		addr, _ := script(t, func(p *peer) {
			_, _ = http.ReadRequest(p.Reader)
			p.say(words)
		})
		p := newPool(t, upstream.Options{Address: addr})
		r, err := p.Do(t.Context(), &upstream.Request{Method: "POST", Target: "/", Host: "h", Body: endless{}, Length: -1})
		if !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
		if err == nil {
			read(t, r, nil)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

type failing struct{ after io.Reader }

var errSource = errors.New("the client's fault")

func (f failing) Read(p []byte) (int, error) {
	n, err := f.after.Read(p)
	if err != nil {
		err = errSource
	}
	return n, err
}

// TestSourceFails must never let a service take a broken body for a whole one.
func TestSourceFails(t *testing.T) {
	for name, c := range map[string]struct {
		body   io.Reader
		length int64
		want   error
	}{
		"error, chunked":   {failing{strings.NewReader("abc")}, -1, errSource},
		"error, length":    {failing{strings.NewReader("abc")}, 5, errSource},
		"short":            {strings.NewReader("abc"), 5, io.ErrUnexpectedEOF},
		"long":             {strings.NewReader("abcdef"), 5, upstream.ErrBody},
		"error, at length": {failing{strings.NewReader("abc")}, 4, errSource},
	} {
		t.Run(name, func(t *testing.T) {
			whole := make(chan bool, 1)
			addr, _ := script(t, func(p *peer) {
				_, _, ok := p.request()
				whole <- ok
			})
			p := newPool(t, upstream.Options{Address: addr})
			_, err := p.Do(t.Context(), &upstream.Request{Method: "POST", Target: "/", Host: "h", Body: c.body, Length: c.length})
			if !errors.Is(err, upstream.ErrBody) || !errors.Is(err, c.want) {
				t.Fatalf("got %v", err)
			}
			if <-whole {
				t.Fatal("the service read a whole request")
			}
		})
	}
}

func TestTrailers(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.Copy(w, r.Body)
		w.Header().Set("X-Sum", r.Trailer.Get("X-Sum"))
	})
	p := newPool(t, upstream.Options{Address: addr})
	r, err := p.Do(t.Context(), &upstream.Request{
		Method: "POST", Target: "/", Host: "h", Body: strings.NewReader("hello"), Length: -1,
		Header: field.List{{Name: "Trailer", Value: "X-Sum"}},
		Trailer: func() field.List {
			return field.List{{Name: "X-Sum", Value: "5"}, {Name: "Content-Length", Value: "9"}}
		},
	})
	if got := read(t, r, err); got != "hello" || r.Trailer().Get("X-Sum") != "5" {
		t.Fatalf("got %q, trailer %q", got, r.Trailer())
	}
}

func TestExpectContinue(t *testing.T) {
	for name, c := range map[string]struct {
		interim string
		status  int
		sent    bool
	}{
		"continue": {"HTTP/1.1 100 Continue\r\n\r\n", 200, true},
		"refused":  {"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n", 417, false},
		"silent":   {"", 200, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, _ := script(t, func(p *peer) {
				r, err := http.ReadRequest(p.Reader)
				if err != nil || r.Header.Get("Expect") != "100-continue" {
					return
				}
				p.say(c.interim)
				b, _ := io.ReadAll(r.Body)
				if (string(b) == "hello") != c.sent {
					p.say("HTTP/1.1 599 Wrong\r\n\r\n")
				}
				if c.sent {
					p.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			})
			p := newPool(t, upstream.Options{Address: addr})
			r, err := p.Do(t.Context(), &upstream.Request{
				Method: "POST", Target: "/", Host: "h", Body: strings.NewReader("hello"), Length: 5,
				Rewind: func() bool { return true }, ExpectContinue: true,
			})
			read(t, r, err)
			if r.Status != c.status {
				t.Fatalf("got %d", r.Status)
			}
		})
	}
}

func TestInformational(t *testing.T) {
	p := newPool(t, upstream.Options{Address: once(t, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")})
	q := get("/")
	var hints string
	q.Informational = func(status int, h field.List) {
		if status == 103 {
			hints = h.Get("Link")
		}
	}
	r, err := p.Do(t.Context(), q)
	read(t, r, err)
	if hints != "</a>" || r.Status != 200 {
		t.Fatalf("got %q, then %d", hints, r.Status)
	}
}

// TestCancel cancels where an exchange can wait: for the head, in the answer's body, in sending, in the source.
func TestCancel(t *testing.T) {
	hang := make(chan struct{})
	arrived := make(chan struct{}, 1)
	addr, _ := script(t, func(p *peer) {
		r, err := http.ReadRequest(p.Reader)
		if err != nil {
			return
		}
		if r.URL.Path == "/body" {
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
		}
		arrived <- struct{}{}
		<-hang
	})
	t.Cleanup(func() { close(hang) })
	stuck, _ := io.Pipe()
	p := newPool(t, upstream.Options{Address: addr})
	for name, q := range map[string]*upstream.Request{
		"head":    get("/"),
		"body":    get("/body"),
		"sending": {Method: "POST", Target: "/", Host: "h", Body: endless{}, Length: -1},
		"source":  {Method: "POST", Target: "/", Host: "h", Body: stuck, Length: -1, Interrupt: func() { _ = stuck.Close() }},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				<-arrived
				cancel()
			})
			r, err := p.Do(ctx, q)
			if err == nil {
				_, err = io.ReadAll(r.Body)
				_ = r.Body.Close()
			}
			wg.Wait()
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestUpgrade(t *testing.T) {
	for name, c := range map[string]struct {
		answer   string
		switched bool
		err      error
	}{
		"switched":       {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\nhi", true, nil},
		"refused":        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", false, nil},
		"other protocol": {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", false, upstream.ErrMalformed},
		"no protocol":    {"HTTP/1.1 101 Switching Protocols\r\n\r\n", false, upstream.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := script(t, func(p *peer) {
				r, err := http.ReadRequest(p.Reader)
				if err != nil || r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "Upgrade" {
					return
				}
				p.say(c.answer)
				_, _ = io.Copy(p.Conn, p.Reader)
			})
			p := newPool(t, upstream.Options{Address: addr})
			q := get("/")
			q.Header = field.List{{Name: "Connection", Value: "Upgrade"}, {Name: "Upgrade", Value: "websocket"}}
			r, conn, err := p.Upgrade(t.Context(), q)
			if !errors.Is(err, c.err) || (conn != nil) != c.switched {
				t.Fatalf("got %v, %v", conn, err)
			}
			if err != nil {
				return
			}
			if !c.switched {
				if got := read(t, r, err); got != "no" || r.Status != 403 {
					t.Fatalf("got %d %q", r.Status, got)
				}
				return
			}
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, "ping\n")
			if line, err := bufio.NewReader(conn).ReadString('\n'); line != "hiping\n" {
				t.Fatalf("got %q, %v", line, err)
			}
		})
	}
}
