package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/upstream"
)

func get(target string) *upstream.Request {
	return &upstream.Request{Method: "GET", Target: target, Host: "h"}
}

// once answers each connection's first request with text, then closes.
func once(t testing.TB, text string) string {
	t.Helper()
	addr, _ := script(t, func(p *peer) {
		if _, _, ok := p.request(); ok {
			p.say(text)
		}
	})
	return addr
}

func TestMalformedAnswers(t *testing.T) {
	fields := strings.Repeat("X-A: b\r\n", 257)
	for name, answer := range map[string]string{
		"empty line first":       "\r\nHTTP/1.1 200 OK\r\n\r\n",
		"bare LF":                "HTTP/1.1 200 OK\nX-A: b\n\n",
		"bare LF in fields":      "HTTP/1.1 200 OK\r\nX-A: b\n\r\n",
		"bare CR":                "HTTP/1.1 200 OK\r\nX-A: b\rX-B: c\r\n\r\n",
		"folded line":            "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\n\r\n",
		"space before colon":     "HTTP/1.1 200 OK\r\nX-A : b\r\n\r\n",
		"no colon":               "HTTP/1.1 200 OK\r\nX-A\r\n\r\n",
		"no name":                "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
		"NUL":                    "HTTP/1.1 200 OK\r\nX-A: b\x00c\r\n\r\n",
		"version 2":              "HTTP/2.0 200 OK\r\n\r\n",
		"version 1.2":            "HTTP/1.2 200 OK\r\n\r\n",
		"status of two digits":   "HTTP/1.1 20 OK\r\n\r\n",
		"status of four digits":  "HTTP/1.1 2000 OK\r\n\r\n",
		"status below 100":       "HTTP/1.1 099 OK\r\n\r\n",
		"two lengths":            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"list of lengths":        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
		"negative length":        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
		"signed length":          "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
		"huge length":            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
		"length and chunks":      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"unknown coding":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
		"coding twice":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"coding list":            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"chunks in HTTP/1.0":     "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"switch unasked":         "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"flood of interim":       strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 17) + "HTTP/1.1 200 OK\r\n\r\n",
		"too many fields":        "HTTP/1.1 200 OK\r\n" + fields + "\r\n",
		"head too large":         "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 5000) + "\r\n\r\n",
		"head without line ends": strings.Repeat("a", 20000),
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, upstream.Options{Address: once(t, answer), MaxHeaderBytes: 4096})
			_, err := p.Do(t.Context(), get("/"))
			if !errors.Is(err, upstream.ErrMalformed) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestMalformedBodies(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, c := range map[string]struct {
		answer string
		want   error
	}{
		"short of length":      {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", io.ErrUnexpectedEOF},
		"cut in chunk":         {chunked + "5\r\nhel", io.ErrUnexpectedEOF},
		"cut after chunk":      {chunked + "5\r\nhello\r\n", io.ErrUnexpectedEOF},
		"cut in trailer":       {chunked + "5\r\nhello\r\n0\r\nX-A: b\r\n", io.ErrUnexpectedEOF},
		"chunk longer":         {chunked + "5\r\nhelloworld\r\n0\r\n\r\n", upstream.ErrMalformed},
		"bare LF":              {chunked + "5\nhello\n0\n\n", upstream.ErrMalformed},
		"no size":              {chunked + "\r\nhello\r\n", upstream.ErrMalformed},
		"signed size":          {chunked + "+5\r\nhello\r\n0\r\n\r\n", upstream.ErrMalformed},
		"0x size":              {chunked + "0x5\r\nhello\r\n0\r\n\r\n", upstream.ErrMalformed},
		"huge size":            {chunked + "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", upstream.ErrMalformed},
		"space and extension":  {chunked + "5 ;a\r\nhello\r\n0\r\n\r\n", upstream.ErrMalformed},
		"flood of extensions":  {chunked + strings.Repeat("1;"+strings.Repeat("x", 500)+"\r\na\r\n", 20), upstream.ErrMalformed},
		"trailer with fold":    {chunked + "0\r\nX-A: b\r\n c\r\n\r\n", upstream.ErrMalformed},
		"trailer without end":  {chunked + "0\r\n" + strings.Repeat("X-A: b\r\n", 5000), upstream.ErrMalformed},
		"CR within chunk line": {chunked + "5;\r\r\nhello\r\n0\r\n\r\n", upstream.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, upstream.Options{Address: once(t, c.answer)})
			r, err := p.Do(t.Context(), get("/"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Body.Close() }()
			_, err = io.ReadAll(r.Body)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestReuse says after which answers a connection carries another request.
func TestReuse(t *testing.T) {
	for name, c := range map[string]struct {
		method, answer, body string
		reused               bool
	}{
		"length":            {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", "ab", true},
		"chunks":            {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "ab", true},
		"none":              {"GET", "HTTP/1.1 204 No Content\r\n\r\n", "", true},
		"not modified":      {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "", true},
		"head":              {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "", true},
		"head with body":    {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", "", false},
		"no content, body":  {"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nab", "", false},
		"1.0 kept":          {"GET", "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nab", "ab", true},
		"1.0":               {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", "ab", false},
		"close":             {"GET", "HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 2\r\n\r\nab", "ab", false},
		"more than length":  {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "ab", false},
		"more than chunks":  {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "", false},
		"interim then last": {"GET", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", "ab", true},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := script(t, func(p *peer) {
				for {
					if _, _, ok := p.request(); !ok {
						return
					}
					p.say(c.answer)
				}
			})
			p := newPool(t, upstream.Options{Address: addr})
			for i := range 2 {
				q := get("/")
				q.Method = c.method
				r, err := p.Do(t.Context(), q)
				if got := read(t, r, err); got != c.body {
					t.Fatalf("body %q", got)
				}
				if want := i > 0 && c.reused; r.Reused != want {
					t.Errorf("request %d: reused %v", i, r.Reused)
				}
			}
		})
	}
}

// TestCloseDelimited reads to the end of the connection.
func TestCloseDelimited(t *testing.T) {
	p := newPool(t, upstream.Options{Address: once(t, "HTTP/1.0 200 OK\r\nX-A: b\r\n\r\nuntil the end")})
	r, err := p.Do(t.Context(), get("/"))
	if got := read(t, r, err); got != "until the end" || r.Length != -1 {
		t.Fatalf("got %q, length %d", got, r.Length)
	}
}

// TestPoisoned sends an answer nobody asked for on an idle connection: it must not answer the next request.
func TestPoisoned(t *testing.T) {
	taken, said := make(chan struct{}), make(chan struct{})
	addr, _ := script(t, func(p *peer) {
		p.request()
		p.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
		if p.number == 1 {
			<-taken
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
			close(said)
		}
		p.request()
	})
	p := newPool(t, upstream.Options{Address: addr})
	for i := range 2 {
		r, err := p.Do(t.Context(), get("/"))
		if got := read(t, r, err); got != "good" || r.Reused {
			t.Fatalf("got %q, reused %v", got, r.Reused)
		}
		if i == 0 {
			close(taken)
		}
		<-said
	}
}

// TestRetry breaks a kept connection after it has taken the second request.
func TestRetry(t *testing.T) {
	memory := func() bool { return true }
	for name, c := range map[string]struct {
		request  upstream.Request
		attempts int // 0: refused with ErrDisconnected
	}{
		"GET":             {upstream.Request{Method: "GET"}, 2},
		"POST":            {upstream.Request{Method: "POST"}, 0},
		"PATCH":           {upstream.Request{Method: "PATCH"}, 0},
		"PUT in memory":   {upstream.Request{Method: "PUT", Body: strings.NewReader("ab"), Length: 2, Rewind: memory}, 2},
		"PUT streamed":    {upstream.Request{Method: "PUT", Body: strings.NewReader("ab"), Length: 2}, 0},
		"POST in memory":  {upstream.Request{Method: "POST", Body: strings.NewReader("ab"), Length: 2, Rewind: memory}, 0},
		"DELETE no body":  {upstream.Request{Method: "DELETE"}, 2},
		"unknown method":  {upstream.Request{Method: "FROB"}, 0},
		"PUT unrewinding": {upstream.Request{Method: "PUT", Body: strings.NewReader("ab"), Length: 2, Rewind: func() bool { return false }}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := script(t, func(p *peer) {
				for i := 0; ; i++ {
					r, body, ok := p.request()
					if !ok || p.number == 1 && i == 1 {
						return
					}
					answer := "ok"
					if r.URL.Path == "/second" && r.Method == "PUT" && body != "ab" {
						answer = "no" // a repeated body must be the same
					}
					p.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + answer)
				}
			})
			p := newPool(t, upstream.Options{Address: addr})
			r, err := p.Do(t.Context(), get("/first"))
			read(t, r, err)
			q := c.request
			q.Target, q.Host = "/second", "h"
			r, err = p.Do(t.Context(), &q)
			if c.attempts == 0 {
				if !errors.Is(err, upstream.ErrDisconnected) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if got := read(t, r, err); got != "ok" || r.Attempts != c.attempts || r.Reused {
				t.Fatalf("got %q after %d attempts, reused %v", got, r.Attempts, r.Reused)
			}
		})
	}
}

// TestNoRetryAfterAnswer breaks a kept connection within the answer's head.
func TestNoRetryAfterAnswer(t *testing.T) {
	addr, count := script(t, func(p *peer) {
		p.request()
		p.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		p.request()
		p.say("HTTP/1.1 2")
	})
	p := newPool(t, upstream.Options{Address: addr})
	r, err := p.Do(t.Context(), get("/"))
	read(t, r, err)
	if _, err := p.Do(t.Context(), get("/")); !errors.Is(err, upstream.ErrDisconnected) || count.Load() != 1 {
		t.Fatalf("got %v on %d connections", err, count.Load())
	}
}

func TestDialFails(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	p := newPool(t, upstream.Options{Address: l.Addr().String()})
	if _, err := p.Do(t.Context(), get("/")); !errors.Is(err, upstream.ErrDial) {
		t.Fatalf("got %v", err)
	}
}

func TestTimeouts(t *testing.T) {
	hang := make(chan struct{})
	addr, _ := script(t, func(p *peer) {
		r, _, ok := p.request()
		if ok && r.URL.Path != "/silent" {
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
		}
		<-hang
	})
	t.Cleanup(func() { close(hang) })
	p := newPool(t, upstream.Options{Address: addr, Pause: 20 * time.Millisecond, Header: time.Minute})
	q := get("/silent")
	q.HeaderTimeout = 20 * time.Millisecond
	if _, err := p.Do(t.Context(), q); !errors.Is(err, upstream.ErrTimeout) {
		t.Fatalf("head: %v", err)
	}
	q.Method, q.Body, q.Length = "POST", strings.NewReader("hello"), -1
	if _, err := p.Do(t.Context(), q); !errors.Is(err, upstream.ErrTimeout) {
		t.Fatalf("head after body: %v", err)
	}
	r, err := p.Do(t.Context(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r.Body); string(b) != "he" || !errors.Is(err, upstream.ErrTimeout) {
		t.Fatalf("body: %q, %v", b, err)
	}
	_ = r.Body.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Do(ctx, get("/silent")); !errors.Is(err, upstream.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("context: %v", err)
	}
}

func TestBusy(t *testing.T) {
	p := newPool(t, upstream.Options{Address: once(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"), MaxConns: 1, Dial: 20 * time.Millisecond})
	r, err := p.Do(t.Context(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Do(t.Context(), get("/")); !errors.Is(err, upstream.ErrBusy) {
		t.Fatalf("got %v", err)
	}
	_ = r.Body.Close()
	if r, err = p.Do(t.Context(), get("/")); err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
}

func TestRefusedRequests(t *testing.T) {
	p := newPool(t, upstream.Options{Address: "127.0.0.1:1"})
	for _, r := range []*upstream.Request{
		{Method: "GE T", Target: "/", Host: "h"},
		{Method: "CONNECT", Target: "/", Host: "h"},
		{Method: "GET", Target: "/ HTTP/1.1\r\nX: y", Host: "h"},
		{Method: "GET", Target: "a", Host: "h"},
		{Method: "GET", Target: "*", Host: "h"},
		{Method: "GET", Target: "/#a", Host: "h"},
		{Method: "GET", Target: "/", Host: "h\r\nX: y"},
		{Method: "GET", Target: "/", Host: ""},
		{Method: "GET", Target: "/", Host: "h", Header: field.List{{Name: "X-A", Value: "b\r\nX-B: c"}}},
		{Method: "GET", Target: "/", Host: "h", Header: field.List{{Name: "X-A", Value: "b\nc"}}},
		{Method: "GET", Target: "/", Host: "h", Header: field.List{{Name: "X-A", Value: "b\x00c"}}},
		{Method: "GET", Target: "/", Host: "h", Header: field.List{{Name: "X-A: b\r\nX-B", Value: "c"}}},
		{Method: "GET", Target: "/", Host: "h", Header: field.List{{Name: "", Value: "c"}}},
		{Method: "POST", Target: "/", Host: "h", Length: 5},
	} {
		if _, err := p.Do(t.Context(), r); !errors.Is(err, upstream.ErrRequest) {
			t.Errorf("%s: got %v", fmt.Sprintf("%q %q", r.Method, r.Target), err)
		}
	}
}
