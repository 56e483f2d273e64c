package h1

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/field"
)

// script is what a handler answers.
type script struct {
	status  int
	header  field.List
	length  int64
	pieces  []string
	flush   bool
	trailer field.List
	broken  bool
}

// say serves requests that are answered by scripts, one after the other, and returns what was written.
func say(t testing.TB, requests string, scripts ...script) string {
	t.Helper()
	i := 0
	s := New(Options{HeaderBytes: 4 << 10, Header: hang, Idle: hang, Handler: engine.HandlerFunc(func(_ context.Context, c *engine.Call) bool {
		sc := scripts[i]
		i++
		c.Answer.Begin(sc.status, sc.header, sc.length)
		for _, p := range sc.pieces {
			if _, err := c.Answer.Write([]byte(p)); err != nil {
				return false
			}
			if sc.flush {
				_ = c.Answer.Flush()
			}
		}
		if sc.trailer != nil {
			c.Answer.Trailer(sc.trailer)
		}
		return !sc.broken
	})})
	f := &feed{r: strings.NewReader(requests)}
	k := newConn(s, f, engine.NewConn("test", "192.0.2.1:1", nil))
	k.ctx, k.cancel = context.WithCancel(t.Context())
	k.serve()
	return f.out.String()
}

func ask(method, version string, lines ...string) string {
	return method + " / HTTP/" + version + "\r\nHost: a\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n"
}

func TestAnswers(t *testing.T) {
	long := strings.Repeat("x", 20<<10)
	for _, c := range []struct {
		name, request string
		script        script
		want          string // behind the Date, which is cut out with its line
	}{
		{"length", ask("GET", "1.1"), script{status: 200, length: 2, pieces: []string{"ok"}}, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
		{"empty", ask("GET", "1.1"), script{status: 404}, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"},
		{"chunks", ask("GET", "1.1"), script{status: 200, length: -1, pieces: []string{"ok", "", "then"}}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n4\r\nthen\r\n0\r\n\r\n"},
		{"trailer", ask("GET", "1.1"), script{status: 200, length: -1, trailer: field.List{{Name: "X-Sum", Value: "1"}}}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n"},
		{"trailer without chunks", ask("GET", "1.1"), script{status: 200, trailer: field.List{{Name: "X-Sum", Value: "1"}}}, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"long", ask("GET", "1.1"), script{status: 200, length: 20 << 10, pieces: []string{long}}, "HTTP/1.1 200 OK\r\nContent-Length: 20480\r\n\r\n" + long},
		{"long chunk", ask("GET", "1.1"), script{status: 200, length: -1, pieces: []string{long}}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5000\r\n" + long + "\r\n0\r\n\r\n"},
		{"HEAD", ask("HEAD", "1.1"), script{status: 200, header: field.List{{Name: "Content-Length", Value: "7"}}, pieces: []string{"ok"}}, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"},
		{"HEAD of a stream", ask("HEAD", "1.1"), script{status: 200, length: -1}, "HTTP/1.1 200 OK\r\n\r\n"},
		{"204", ask("GET", "1.1"), script{status: 204, header: field.List{{Name: "Content-Length", Value: "7"}}, length: -1, pieces: []string{"ok"}}, "HTTP/1.1 204 No Content\r\n\r\n"},
		{"304", ask("GET", "1.1"), script{status: 304, header: field.List{{Name: "Content-Length", Value: "7"}, {Name: "Content-Type", Value: "a/b"}, {Name: "Etag", Value: "x"}}}, "HTTP/1.1 304 Not Modified\r\nEtag: x\r\n\r\n"},
		{"close asked for", ask("GET", "1.1", "Connection: x, Close"), script{status: 200}, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{"close by the handler", ask("GET", "1.1"), script{status: 200, header: field.List{{Name: "Connection", Value: "close"}}}, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{"framing by the handler", ask("GET", "1.1"), script{status: 200, header: field.List{{Name: "Content-Length", Value: "9"}, {Name: "Transfer-Encoding", Value: "chunked"}, {Name: "Date", Value: "x"}}}, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"1.0", ask("GET", "1.0"), script{status: 200, length: 2, pieces: []string{"ok"}}, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"},
		{"1.0 kept", ask("GET", "1.0", "Connection: keep-alive"), script{status: 200, length: 2, pieces: []string{"ok"}}, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"},
		{"1.0 stream", ask("GET", "1.0", "Connection: keep-alive"), script{status: 200, length: -1, pieces: []string{"ok", "then"}}, "HTTP/1.0 200 OK\r\n\r\nokthen"},
		{"values that would split", ask("GET", "1.1"), script{status: 200, header: field.List{{Name: "X", Value: "a\r\nContent-Length: 9\x00\tb"}, {Name: "Y\nZ", Value: "é"}}}, "HTTP/1.1 200 OK\r\nX: a  Content-Length: 9 \tb\r\nY Z: é\r\nContent-Length: 0\r\n\r\n"},
		{"unknown status", ask("GET", "1.1"), script{status: 599}, "HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n"},
		{"less than announced", ask("GET", "1.1"), script{status: 200, length: 3, pieces: []string{"ok"}}, ""},
		{"more than announced", ask("GET", "1.1"), script{status: 200, length: 1, pieces: []string{"ok"}}, ""},
		{"broken off", ask("GET", "1.1"), script{status: 200, length: -1, pieces: []string{"ok"}, flush: true, broken: true}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := say(t, c.request, c.script)
			if at := strings.Index(got, "Date: "); at >= 0 {
				_, rest, _ := strings.Cut(got[at:], "\r\n")
				got = got[:at] + rest
			}
			if got != c.want {
				t.Errorf("got %.300q, want %.300q", got, c.want)
			}
		})
	}
}

// TestKept holds which connections carry another request.
func TestKept(t *testing.T) {
	plain := script{status: 200}
	for _, c := range []struct {
		name, requests string
		script         script
		want           int // answers
	}{
		{"kept", ask("GET", "1.1") + ask("GET", "1.1"), plain, 2},
		{"closed", ask("GET", "1.1", "Connection: close") + ask("GET", "1.1"), plain, 1},
		{"1.0", ask("GET", "1.0") + ask("GET", "1.1"), plain, 1},
		{"1.0 kept", ask("GET", "1.0", "Connection: keep-alive") + ask("GET", "1.1"), plain, 2},
		{"1.0 kept, closed", ask("GET", "1.0", "Connection: keep-alive, close") + ask("GET", "1.1"), plain, 1},
		{"1.0 kept, without length", ask("GET", "1.0", "Connection: keep-alive") + ask("GET", "1.1"), script{status: 200, length: -1}, 1},
		{"body left", ask("POST", "1.1", "Content-Length: 3") + "abc" + ask("GET", "1.1"), plain, 2},
		{"chunks left", ask("POST", "1.1", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n" + ask("GET", "1.1"), plain, 2},
		{"much left", ask("POST", "1.1", "Content-Length: 300000") + strings.Repeat("a", 300_000) + ask("GET", "1.1"), plain, 1},
		{"many chunks left", ask("POST", "1.1", "Transfer-Encoding: chunked") + "493e0\r\n" + strings.Repeat("a", 300_000) + "\r\n0\r\n\r\n" + ask("GET", "1.1"), plain, 1},
		{"not asked to go on", ask("POST", "1.1", "Content-Length: 3", "Expect: 100-continue") + "abc" + ask("GET", "1.1"), plain, 1},
		{"broken off", ask("GET", "1.1") + ask("GET", "1.1"), script{status: 200, broken: true}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := say(t, c.requests, c.script, script{status: 200})
			if n := strings.Count(got, " 200 OK\r\n"); n != c.want {
				t.Errorf("%d answers: %q", n, got)
			}
		})
	}
}

// FuzzAnswer holds that net/http's client reads what was answered, and nothing behind it.
func FuzzAnswer(f *testing.F) {
	f.Add(uint16(200), "X-A", "b", "content", uint16(3), uint8(0))
	f.Add(uint16(204), "Set-Cookie", "a\r\nb: c", "content", uint16(9), uint8(1))
	f.Add(uint16(304), "Connection", "close", "", uint16(0), uint8(2))
	f.Add(uint16(599), "X-A", "\x00", strings.Repeat("x", 20_000), uint16(9000), uint8(7))
	f.Fuzz(func(t *testing.T, status uint16, name, value, content string, cut uint16, mode uint8) {
		code := 200 + int(status)%400
		method, version := "GET", "1.1"
		if mode&1 != 0 {
			method = "HEAD"
		}
		if mode&2 != 0 {
			version = "1.0"
		}
		at := min(int(cut), len(content))
		sc := script{status: code, length: int64(len(content)), pieces: []string{content[:at], content[at:]}, flush: mode&8 != 0}
		if mode&4 != 0 {
			sc.length = -1
		}
		named := name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") == ""
		if named { // names are the engine's own
			sc.header = field.List{{Name: http.CanonicalHeaderKey(name), Value: value}}
		}
		out := say(t, ask(method, version), sc)
		b := bufio.NewReader(strings.NewReader(out))
		resp, err := http.ReadResponse(b, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		want := content
		if method == "HEAD" || code == 204 || code == 304 {
			want = ""
		}
		if resp.StatusCode != code || string(body) != want {
			t.Fatalf("%q: status %d, content %q", out, resp.StatusCode, body)
		}
		if rest, _ := io.ReadAll(b); len(rest) > 0 {
			t.Fatalf("%q: %q behind the answer", out, rest)
		}
		known := map[string]bool{"Date": true, "Content-Length": true, "Connection": true, http.CanonicalHeaderKey(name): named}
		for k := range resp.Header {
			if !known[k] {
				t.Fatalf("%q: field %q", out, k)
			}
		}
		if bytes.Count([]byte(out), []byte("Date: ")) != 1 && !named {
			t.Fatalf("%q: no date, or more than one", out)
		}
	})
}
