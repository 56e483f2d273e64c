package listen

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/palisade-security/palisade/proxy/canon"
)

// feed is a connection that delivers what r does.
type feed struct {
	net.Conn
	r io.Reader
}

func (f *feed) Read(p []byte) (int, error)      { return f.r.Read(p) }
func (f *feed) SetReadDeadline(time.Time) error { return nil }
func (f *feed) SetWriteDeadline(time.Time) error {
	return nil
}
func (f *feed) Close() error { return nil }

// splits delivers data in pieces of random sizes.
type splits struct {
	data []byte
	rand *rand.Rand
}

func (s *splits) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	most := min(len(p), len(s.data))
	if s.rand.IntN(4) > 0 {
		most = min(most, 1+s.rand.IntN(40))
	}
	n := copy(p[:most], s.data)
	s.data = s.data[n:]
	return n, nil
}

// verdict is what a guard made of a stream of bytes.
type verdict struct {
	passed string // without the stand-in
	heads  int
	code   string // of the refusal, if any
	inBody bool   // it came as an error
}

// drive reads everything that a guard lets through; sizes are drawn from pick.
func drive(t testing.TB, r io.Reader, pick func() int) verdict {
	t.Helper()
	g := (&guards{limit: 1 << 10, header: time.Second}).guard(&feed{r: r})
	var got bytes.Buffer
	for {
		p := make([]byte, pick())
		n, err := g.Read(p)
		got.Write(p[:n])
		g.served = g.scan.heads // as if each request were served at once
		if err == nil {
			continue
		}
		v := verdict{heads: g.scan.heads}
		var why *canon.Refusal
		switch {
		case errors.As(err, &why):
			v.code, v.inBody = why.Code, true
		case !errors.Is(err, io.EOF):
			t.Fatalf("error %v", err)
		case g.refusal != nil:
			v.code = g.refusal.Code
			rest, ok := bytes.CutSuffix(got.Bytes(), []byte(stand))
			if !ok {
				rest, ok = bytes.CutSuffix(got.Bytes(), []byte("HEAD"+stand[len("GET"):]))
			}
			if !ok {
				t.Fatalf("refused without a stand-in: %q", got.Bytes())
			}
			got = *bytes.NewBuffer(rest)
		}
		v.passed = got.String()
		return v
	}
}

const (
	get  = "GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n"
	post = "POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc"
	many = "POST /a HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"
)

func chunked(body string) string {
	return "POST /a HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n" + body
}

func with(lines ...string) string {
	return "POST /a HTTP/1.1\r\nHost: a.example\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// passing are streams that a guard lets through as they are.
var passing = []string{
	"", get, post, many, get + get + post + many + get,
	"HEAD /%41%c3%a9?x=%zz&y=\xff HTTP/1.0\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET http://A.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
	with("A:b", "C: \t d \t", "E:", "F: \xff\x80", "x_y!#$%&'*+-.^`|~: 1"),
	with("Expect: 100-Continue", "content-LENGTH: 0"),
	"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", chunked("0\r\n\r\n") + get,
	chunked("00A\r\n0123456789\r\n000\r\nTrailer-Name: \t x\r\nY:\r\n\r\n"),
}

// refusing are streams with the code of their refusal.
var refusing = []struct{ name, stream, code string }{
	{"bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", CodeLineEnding},
	{"bare LF after a field", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", CodeLineEnding},
	{"bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", CodeLineEnding},
	{"bare CR in a value", with("X: a\rY: b"), canon.CodeHeaderValue},
	{"bare CR in a name", with("X\rY: b"), canon.CodeHeaderName},
	{"bare CR in the request line", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", canon.CodeTargetByte},
	{"bare CR at the start", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", CodeLineEnding},
	{"two empty lines", "\r\n\r\n" + get, CodeRequestLine},
	{"fold", with("X: a", " b"), CodeFolding},
	{"fold with a tab", with("X: a", "\tb"), CodeFolding},
	{"fold at once", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", CodeFolding},
	{"space before colon", with("Content-Length : 3"), canon.CodeHeaderName},
	{"tab before colon", with("Transfer-Encoding\t: chunked"), canon.CodeHeaderName},
	{"no name", with(": x"), canon.CodeHeaderName},
	{"no colon", with("X"), canon.CodeHeaderName},
	{"name with a byte outside ASCII", with("X\xff: y"), canon.CodeHeaderName},
	{"NUL in a name", with("X\x00: y"), canon.CodeHeaderName},
	{"NUL in a value", with("X: a\x00b"), canon.CodeHeaderValue},
	{"DEL in a value", with("X: a\x7f"), canon.CodeHeaderValue},
	{"control character in a long value", with("X: 0123456789\x01abcdefghijkl"), canon.CodeHeaderValue},
	{"length and coding", with("Content-Length: 3", "Transfer-Encoding: chunked"), canon.CodeLengthConflict},
	{"coding and length", with("Transfer-Encoding: chunked", "Content-Length: 3"), canon.CodeLengthConflict},
	{"two equal lengths", with("Content-Length: 3", "Content-Length: 3"), canon.CodeLengthConflict},
	{"list of lengths", with("Content-Length: 3, 3"), canon.CodeLength},
	{"signed length", with("Content-Length: +3"), canon.CodeLength},
	{"hexadecimal length", with("Content-Length: 0x3"), canon.CodeLength},
	{"leading zero", with("Content-Length: 03"), canon.CodeLength},
	{"empty length", with("Content-Length:"), canon.CodeLength},
	{"huge length", with("Content-Length: 9999999999999999999"), canon.CodeLength},
	{"coding with a prefix", with("Transfer-Encoding: xchunked"), canon.CodeTransferEncoding},
	{"coding list", with("Transfer-Encoding: gzip, chunked"), canon.CodeTransferEncoding},
	{"two codings", with("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), canon.CodeTransferEncoding},
	{"coding in capitals", with("Transfer-Encoding: Chunked"), canon.CodeTransferEncoding},
	{"coding with a vertical tab", with("Transfer-Encoding: \x0bchunked"), canon.CodeHeaderValue},
	{"coding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", canon.CodeTransferEncoding},
	{"kept HTTP/1.0 with a body", "POST / HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\na", CodeKeepAlive},
	{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", canon.CodeProtocol},
	{"version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", canon.CodeProtocol},
	{"version in small letters", "GET / http/1.1\r\nHost: a\r\n\r\n", canon.CodeProtocol},
	{"HTTP/0.9", "GET /\r\n\r\n", CodeRequestLine},
	{"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", CodeRequestLine},
	{"two spaces before the version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", canon.CodeProtocol},
	{"space at the end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", canon.CodeProtocol},
	{"space at the start", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", CodeRequestLine},
	{"tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", CodeRequestLine},
	{"method with a control character", "G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n", CodeRequestLine},
	{"broken escape", "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", canon.CodePercent},
	{"odd target", "GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", canon.CodeTargetForm},
	{"target names another host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", canon.CodeHostConflict},
	{"no host", "GET / HTTP/1.1\r\n\r\n", canon.CodeHostInvalid},
	{"two hosts", with("Host: a"), canon.CodeHostInvalid},
	{"host with a slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", canon.CodeHostInvalid},
	{"other expectation", with("Expect: 200-ok"), canon.CodeExpect},
	{"trailer that frames", with("Transfer-Encoding: chunked", "Trailer: X, content-length"), CodeTrailer},
	{"long target", "GET /" + strings.Repeat("a", 1<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", canon.CodeTargetTooLong},
	{"long field", with("X: " + strings.Repeat("a", 1<<10)), canon.CodeHeaderTooLarge},
	{"many fields", with(slices.Repeat([]string{"X: y"}, 300)...), canon.CodeHeaderTooLarge},
	{"TLS", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\n\r\n", CodeLineEnding},
}

// breaking are chunked bodies with the code of their refusal.
var breaking = []struct{ name, body, code string }{
	{"extension", "3;a=b\r\nabc\r\n0\r\n\r\n", CodeChunk},
	{"space after the size", "3 \r\nabc\r\n0\r\n\r\n", CodeChunk},
	{"space before the size", " 3\r\nabc\r\n0\r\n\r\n", CodeChunk},
	{"prefix", "0x3\r\nabc\r\n0\r\n\r\n", CodeChunk},
	{"sign", "+3\r\nabc\r\n0\r\n\r\n", CodeChunk},
	{"no size", "\r\nabc\r\n0\r\n\r\n", CodeChunk},
	{"bare LF after the size", "3\nabc\r\n0\r\n\r\n", CodeChunk},
	{"bare CR after the size", "3\rabc\r\n0\r\n\r\n", CodeChunk},
	{"overflow", "10000000000000003\r\nabc\r\n0\r\n\r\n", CodeChunk},
	{"chunk too long", "3\r\nabcd\r\n0\r\n\r\n", CodeChunk},
	{"bare LF after the chunk", "3\r\nabc\n0\r\n\r\n", CodeChunk},
	{"CR without LF after the chunk", "3\r\nabc\rx0\r\n\r\n", CodeChunk},
	{"bare LF at the end", "0\r\n\n", CodeTrailer},
	{"trailer without a name", "0\r\n: x\r\n\r\n", CodeTrailer},
	{"trailer with a space", "0\r\nA : x\r\n\r\n", CodeTrailer},
	{"trailer with a fold", "0\r\nA: x\r\n b\r\n\r\n", CodeTrailer},
	{"trailer with NUL", "0\r\nA: \x00\r\n\r\n", CodeTrailer},
	{"trailer with a bare LF", "0\r\nA: x\n\r\n", CodeTrailer},
	{"trailer too long", "0\r\nA: " + strings.Repeat("x", trailerBytes) + "\r\n\r\n", CodeTrailer},
	{"request as trailer", "0\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n", CodeTrailer},
}

func whole() int { return 4096 }

func TestGuardPasses(t *testing.T) {
	for i, s := range passing {
		for name, r := range map[string]io.Reader{"at once": strings.NewReader(s), "byte by byte": iotest.OneByteReader(strings.NewReader(s))} {
			t.Run(fmt.Sprintf("%d %s", i, name), func(t *testing.T) {
				if v := drive(t, r, whole); v.passed != s || v.code != "" {
					t.Errorf("%q: %+v", s, v)
				}
			})
		}
	}
	if v := drive(t, strings.NewReader("\r\n"+get+"\r\n"+post), whole); v.passed != get+post || v.code != "" {
		t.Errorf("one empty line: %+v", v)
	}
	if v := drive(t, strings.NewReader(get+"GET / HTT"), whole); v.passed != get || v.code != "" {
		t.Errorf("cut head: %+v", v)
	}
}

func TestGuardRefuses(t *testing.T) {
	for _, c := range refusing {
		t.Run(c.name, func(t *testing.T) {
			for _, before := range []string{"", post + get, many} {
				v := drive(t, strings.NewReader(before+c.stream+get), whole)
				if v.code != c.code || v.passed != before || v.inBody {
					t.Errorf("got %+v, want %q", v, c.code)
				}
				if w := drive(t, iotest.OneByteReader(strings.NewReader(before+c.stream+get)), func() int { return 1 }); w != v {
					t.Errorf("byte by byte: got %+v, at once %+v", w, v)
				}
			}
		})
	}
}

func TestGuardBreaksBodies(t *testing.T) {
	for _, c := range breaking {
		t.Run(c.name, func(t *testing.T) {
			s := get + chunked(c.body) + get
			v := drive(t, strings.NewReader(s), whole)
			if v.code != c.code || !v.inBody || !strings.HasPrefix(s, v.passed) || v.heads != 2 {
				t.Errorf("got %+v, want %q", v, c.code)
			}
			if w := drive(t, iotest.OneByteReader(strings.NewReader(s)), func() int { return 1 }); w != v {
				t.Errorf("byte by byte: got %+v, at once %+v", w, v)
			}
		})
	}
}

// TestGuardCounts holds that the refusal meets the stand-in and no request before it, however far net/http
// reads ahead.
func TestGuardCounts(t *testing.T) {
	g := (&guards{limit: 1 << 10, header: time.Second}).guard(&feed{r: strings.NewReader(get + post + "GET / HTTP/1.1\n\n")})
	b := bufio.NewReader(g)
	if _, err := b.Peek(len(get + post + stand)); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if g.next() != nil {
			t.Errorf("request %d, before the offending one, was refused", i)
		}
	}
	if why := g.next(); why == nil || why.Code != CodeLineEnding {
		t.Errorf("got %v", why)
	}
}

// TestGuardBreaksInTurn holds that the error of a broken body meets no request before it.
func TestGuardBreaksInTurn(t *testing.T) {
	g := (&guards{limit: 1 << 10, header: time.Second}).guard(&feed{r: strings.NewReader(get + chunked("0x1\r\n"))})
	p := make([]byte, 4096)
	if n, err := g.Read(p); err != nil || n != len(get+chunked("0")) {
		t.Fatalf("read %d, %v", n, err)
	}
	_ = g.next()
	if _, err := g.Read(p); !errors.Is(err, io.EOF) { // what the connection says
		t.Errorf("the first request: %v", err)
	}
	_ = g.next()
	var why *canon.Refusal
	if _, err := g.Read(p); !errors.As(err, &why) || why.Code != CodeChunk {
		t.Errorf("the second request: %v", err)
	}
}

func TestGuardSwitches(t *testing.T) {
	const upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
	frames := "\x81\x05hello"
	r, w := net.Pipe()
	defer w.Close()
	g := (&guards{limit: 1 << 10, header: time.Second}).guard(r)
	go func() { _, _ = io.WriteString(w, upgrade); _, _ = io.WriteString(w, frames) }()
	p := make([]byte, 4096)
	if n, err := g.Read(p); err != nil || string(p[:n]) != upgrade {
		t.Fatalf("read %q, %v", p[:n], err)
	}
	if g.Switch() {
		t.Error("switched before the request was served")
	}
	_ = g.next()
	if !g.Switch() {
		t.Fatal("cannot switch")
	}
	if n, err := g.Read(p); err != nil || string(p[:n]) != frames {
		t.Errorf("read %q, %v", p[:n], err)
	}
	early := (&guards{limit: 1 << 10, header: time.Second}).guard(&feed{r: strings.NewReader(upgrade + "G")})
	if _, err := early.Read(p); err != nil {
		t.Fatal(err)
	}
	_ = early.next()
	if early.Switch() {
		t.Error("switched although the client did not wait")
	}
}

func FuzzGuard(f *testing.F) {
	for _, s := range passing {
		f.Add([]byte(s), uint64(1))
	}
	for _, c := range refusing {
		f.Add([]byte(c.stream), uint64(2))
		f.Add([]byte(post+c.stream), uint64(3))
	}
	for _, c := range breaking {
		f.Add([]byte(chunked(c.body)), uint64(4))
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		v := drive(t, bytes.NewReader(data), func() int { return len(data) + 1 })
		random := rand.New(rand.NewPCG(seed, 1))
		w := drive(t, &splits{data: bytes.Clone(data), rand: random}, func() int { return 1 + random.IntN(100) })
		if v != w {
			t.Fatalf("at once %+v, in pieces %+v", v, w)
		}
		compare(t, v)
	})
}

// compare holds that net/http reads what passed as a plain reader of the RFC does.
func compare(t *testing.T, v verdict) {
	t.Helper()
	b := bufio.NewReader(strings.NewReader(v.passed))
	rest := v.passed
	for i := range v.heads {
		want := plainRead(t, &rest)
		r, err := http.ReadRequest(b)
		if err != nil {
			t.Fatalf("request %d of %q: %v", i, v.passed, err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil && i < v.heads-1 {
			t.Fatalf("body of request %d of %q: %v", i, v.passed, err)
		}
		if want.cut != (err != nil) {
			t.Fatalf("request %d of %q: cut %t, body error %v", i, v.passed, want.cut, err)
		}
		if r.Method != want.method || r.RequestURI != want.target || string(body) != want.body || r.Proto != want.proto {
			t.Fatalf("request %d of %q: net/http has %s %s %s %q, want %+v", i, v.passed, r.Method, r.RequestURI, r.Proto, body, want)
		}
		compareFields(t, r, want)
		if want.cut {
			return
		}
		if b.Buffered() < len(rest) && len(rest) < 4096 && len(v.passed) < 4096 {
			t.Fatalf("request %d of %q: %d bytes left, want %d", i, v.passed, b.Buffered(), len(rest))
		}
	}
	if left, _ := io.ReadAll(b); v.heads > 0 && !v.inBody && len(rest) != len(left) {
		t.Fatalf("%q: %d bytes left, want %d", v.passed, len(left), len(rest))
	}
}

func compareFields(t *testing.T, r *http.Request, want plainRequest) {
	t.Helper()
	have := r.Header.Clone()
	if r.TransferEncoding != nil {
		have["Transfer-Encoding"] = r.TransferEncoding
	}
	for _, name := range []string{"Host", "Trailer", "Pragma", "Cache-Control"} { // net/http rewrites these
		have.Del(name)
		want.header.Del(name)
	}
	if fmt.Sprint(have) != fmt.Sprint(want.header) {
		t.Fatalf("net/http has fields %q, want %q", have, want.header)
	}
}

type plainRequest struct {
	method, target, proto, body string
	header                      http.Header
	cut                         bool
}

// plainRead reads a request by searching and splitting alone.
func plainRead(t *testing.T, rest *string) plainRequest {
	t.Helper()
	head, after, ok := strings.Cut(*rest, "\r\n\r\n")
	if !ok {
		t.Fatalf("an incomplete head passed: %q", *rest)
	}
	lines := strings.Split(head, "\r\n")
	first := strings.Split(lines[0], " ")
	if len(first) != 3 {
		t.Fatalf("request line %q passed", lines[0])
	}
	r := plainRequest{method: first[0], target: first[1], proto: first[2], header: http.Header{}}
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ":")
		r.header.Add(name, strings.Trim(value, " \t"))
	}
	*rest = after
	if r.header.Get("Transfer-Encoding") != "" {
		r.readChunks(rest)
		return r
	}
	n := 0
	_, _ = fmt.Sscanf(r.header.Get("Content-Length"), "%d", &n)
	r.cut = n > len(after)
	n = min(n, len(after))
	r.body, *rest = after[:n], after[n:]
	return r
}

func (r *plainRequest) readChunks(rest *string) {
	for {
		size, after, ok := strings.Cut(*rest, "\r\n")
		if !ok {
			r.cut, *rest = true, ""
			return
		}
		var n int64
		_, _ = fmt.Sscanf(size, "%x", &n)
		if n == 0 {
			break
		}
		if int64(len(after)) < n+2 {
			r.body += after[:min(n, int64(len(after)))]
			r.cut, *rest = true, ""
			return
		}
		r.body += after[:n]
		*rest = after[n+2:]
	}
	_, after, _ := strings.Cut(*rest, "\r\n")
	if left, ok := strings.CutPrefix(after, "\r\n"); ok {
		*rest = left
		return
	}
	_, left, ok := strings.Cut(after, "\r\n\r\n")
	r.cut, *rest = !ok, left
}
