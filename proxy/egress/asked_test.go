package egress_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
)

// listening is a server outside that keeps what it hears, and answers each connection with the next of what it says.
type listening struct {
	net.Listener
	heard chan string
}

// answers takes one connection at a time, says something once it has heard so much, and then hears the rest.
func answers(t *testing.T, after, says string) *listening {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	l := &listening{ln, make(chan string, 1)}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			var all bytes.Buffer
			buf := make([]byte, 64<<10)
			for said := false; err == nil; {
				var n int
				n, err = c.Read(buf)
				all.Write(buf[:n])
				if !said && strings.Contains(all.String(), after) {
					said = true
					_, _ = io.WriteString(c, says)
				}
			}
			_ = c.Close()
			l.heard <- all.String()
		}
	}()
	return l
}

// plainWay leads to one host over plain HTTP; another is declared beside it.
func plainWay(t *testing.T, at string) *way {
	t.Helper()
	w := newWay(t, model.Egress{Host: "api.example.com", Port: 80, Protocol: "http"}, model.Egress{Host: "other.example.com", Port: 80, Protocol: "http"})
	w.names.is["api.example.com"] = [][]string{{"93.184.215.14"}}
	w.instead["93.184.215.14:80"] = at
	w.wants("", 80)
	return w
}

const (
	ours  = "GET /a?b=c HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
	body  = "POST /p HTTP/1.1\r\nHost: API.example.com:80\r\nContent-Length: 5\r\n\r\nGET /"
	parts = "PUT /q HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n1c\r\nGET / HTTP/1.1\r\nHost: evil\r\n\r\n0\r\nX: y\r\n\r\n"
	evil  = "GET /evil HTTP/1.1\r\nHost: evil.example.com\r\n\r\n"
)

// TestEveryRequest holds that of each connection exactly those requests go on that are for its host, byte for byte, however
// they come in pieces, and that every one is recorded.
func TestEveryRequest(t *testing.T) {
	s := answers(t, "never", "")
	for _, c := range []struct{ name, good, bad, why, host string }{
		{"kept alive", ours + ours + body + parts + ours, "", "", ""},
		{"another host", ours, evil, "authorise:call-not-declared", "evil.example.com:80"},
		{"another declared host", body, strings.Replace(evil, "evil.", "other.", 1), "authorise:host-mismatch", "other.example.com:80"},
		{"behind a body", parts + body, evil, "authorise:call-not-declared", "evil.example.com:80"},
		{"another port", ours, "GET / HTTP/1.1\r\nHost: api.example.com:81\r\n\r\n", "authorise:host-unclear", "api.example.com:80"},
		{"absolute form", ours, "GET http://evil.example.com/ HTTP/1.1\r\nHost: evil.example.com\r\n\r\n", "authorise:host-unclear", "api.example.com:80"},
		{"absolute form of its own", ours, "GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "authorise:host-unclear", "api.example.com:80"},
		{"a tunnel", ours, "CONNECT api.example.com:80 HTTP/1.1\r\nHost: api.example.com:80\r\n\r\n", "authorise:host-unclear", "api.example.com:80"},
		{"no host", ours, "GET / HTTP/1.0\r\n\r\n", "authorise:host-unclear", "api.example.com:80"},
		{"both lengths", ours, "POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + evil, "forward:host-unclear", ""},
		{"two lengths", ours, "POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 0\r\nContent-Length: 50\r\n\r\n" + evil, "forward:host-unclear", ""},
		{"a length with a sign", ours, "POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: +5\r\n\r\n" + evil, "forward:host-unclear", ""},
		{"an odd coding", ours, "POST / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "forward:host-unclear", ""},
		{"a coding with a space", ours, "POST / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "forward:host-unclear", ""},
		{"two hosts", ours, "GET / HTTP/1.1\r\nHost: api.example.com\r\nHost: evil.example.com\r\n\r\n", "forward:host-unclear", ""},
		{"folded", ours, "GET / HTTP/1.1\r\nX: y\r\n Host: evil.example.com\r\nHost: api.example.com\r\n\r\n", "forward:host-unclear", ""},
		{"bare line feeds", ours, "GET / HTTP/1.1\nHost: api.example.com\n\n", "forward:host-unclear", ""},
		{"HTTP/2", ours, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "forward:host-unclear", ""},
		{"HTTP/0.9", ours, "GET /\r\n", "forward:host-unclear", ""},
		{"an empty line", ours, "\r\n" + ours, "forward:host-unclear", ""},
	} {
		for _, piece := range []int{1, 7, 1 << 20} {
			w := plainWay(t, s.Addr().String())
			conn := w.dial(t)
			all := c.good + c.bad
			for at := 0; at < len(all); at += piece {
				if _, err := io.WriteString(conn, all[at:min(at+piece, len(all))]); err != nil {
					break // it was cut
				}
			}
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
			if heard := <-s.heard; heard != c.good && (c.bad == "" || !strings.HasPrefix(c.good, heard)) { // a reset takes what was not read
				t.Fatalf("%s in pieces of %d: the host heard %q", c.name, piece, heard)
			}
			want := strings.Count(c.good, "\r\nHost: a") + strings.Count(c.good, "\r\nHost: A")
			for i := range want {
				if e := w.seen.next(t); e.Connection != nil || !e.Allowed || e.Host != "api.example.com:80" || e.Side != event.SideEgress || e.Trail[0].Reasons[0].Data["connection"] == "" {
					t.Fatalf("%s: request %d is recorded as %+v", c.name, i, e)
				}
			}
			if c.host != "" {
				if e := w.seen.next(t); e.Connection != nil || e.Allowed || code(&e) != c.why || e.Host != c.host {
					t.Errorf("%s: the refusal is recorded as %s %+v", c.name, code(&e), e)
				}
			}
			e := w.seen.next(t)
			if e.Connection == nil || e.Allowed != (c.bad == "") || e.BytesIn > int64(len(c.good)) {
				t.Errorf("%s: the connection is recorded as %s %+v", c.name, code(&e), e)
			}
			if c.bad != "" && code(&e) != "forward:"+c.why[strings.Index(c.why, ":")+1:] {
				t.Errorf("%s: the connection ended for %s", c.name, code(&e))
			}
		}
	}
}

// TestWebSocket holds that a server may switch to the protocol that the first request asks for, and that nothing else frees a
// connection of the check.
func TestWebSocket(t *testing.T) {
	const ask = "GET /ws HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	const frames = "\x81\x05GET /\r\nHost: evil\r\n\r\n"
	for _, c := range []struct {
		name, before, says string
		free               bool
	}{
		{"switched", ask, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", true},
		{"switched after hints", ask, "HTTP/1.1 103 Early Hints\r\nLink: x\r\nA: HTTP/1.1 101\r\n\r\nHTTP/1.1 101\r\n\r\n", true},
		{"refused", ask, "HTTP/1.1 400 Bad Request\r\nContent-Length: 14\r\n\r\nHTTP/1.1 101 X\r\n", false},
		{"silent", ask, "", false},
		{"another protocol", strings.Replace(ask, "websocket", "h2c", 1), "HTTP/1.1 101 Switching Protocols\r\n\r\n", false},
		{"not the first", ours + ask, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := answers(t, "/ws", c.says)
			w := plainWay(t, s.Addr().String())
			conn := w.dial(t)
			if _, err := io.WriteString(conn, c.before); err != nil {
				t.Fatal(err)
			}
			if c.says != "" {
				if _, err := io.ReadFull(conn, make([]byte, len(c.says))); err != nil {
					t.Fatal(err)
				}
			}
			_, _ = io.WriteString(conn, frames)
			_ = conn.(*net.TCPConn).CloseWrite()
			if c.says == "" { // nobody has decided: the frames wait, until the connection is cut
				w.seen.next(t)
				w.egress.Declare(nil)
				w.server.Recheck()
			}
			_, _ = io.Copy(io.Discard, conn)
			want := c.before
			if c.free {
				want += frames
			}
			if heard := <-s.heard; heard != want && (c.free || !strings.HasPrefix(want, heard)) {
				t.Errorf("the host heard %q", heard)
			}
		})
	}
}

// TestPlainClient lets a client of the standard library keep its connection alive.
func TestPlainClient(t *testing.T) {
	s := outside(t)
	s.Start()
	w := plainWay(t, s.Listener.Addr().String())
	conn := w.dial(t)
	r := bufio.NewReader(conn)
	for i := range 20 {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://api.example.com/x", strings.NewReader(strings.Repeat("x", i*10_000)))
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			req.ContentLength = -1
		}
		failed := make(chan error, 1)
		go func() { failed <- req.Write(conn) }()
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if werr := <-failed; werr != nil || !slices.Equal(bytes.Fields(text)[0], []byte("api.example.com")) {
			t.Fatalf("request %d: %q, %v", i, text, werr)
		}
	}
	_ = conn.Close()
	for range 20 {
		if e := w.seen.next(t); e.Connection != nil || !e.Allowed || e.Path != "/x" {
			t.Errorf("got %+v", e)
		}
	}
	if e := w.seen.next(t); e.Connection == nil || !e.Allowed || e.BytesIn < 1_900_000 {
		t.Errorf("got %+v", e)
	}
}
