package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/proxy/field"
)

// canned is a connection whose other end has said everything.
type canned struct {
	net.Conn
	io.Reader
}

func (c canned) Read(p []byte) (int, error)      { return c.Reader.Read(p) }
func (c canned) SetReadDeadline(time.Time) error { return nil }
func (c canned) Close() error                    { return nil }

// slowly gives one byte at a time.
type slowly struct{ r io.Reader }

func (s slowly) Read(p []byte) (int, error) { return s.r.Read(p[:min(1, len(p))]) }

// result is what a reader makes of the bytes of an answer.
type result struct {
	status  int
	fields  field.List
	body    []byte
	trailer field.List
	rest    int // bytes not consumed
	keep    bool
}

func readOwn(t *testing.T, method string, from io.Reader) (result, error) {
	t.Helper()
	p := NewPool(Options{Address: "127.0.0.1:1", MaxConns: 1})
	c := &conn{line: line{Conn: canned{Reader: from}}}
	c.Conn = &c.line
	c.reader.src, c.reader.shared = c.Conn, p.dialer.buffers
	c.reader.reset()
	p.slots <- struct{}{}
	x := &exchange{pool: p, conn: c, ctx: t.Context(), request: &Request{Method: method}}
	if err := x.await(""); err != nil {
		x.finish(false)
		return result{}, err
	}
	var r result
	r.status, r.fields = x.response.Status, x.response.Header
	r.keep = x.frame.keep
	var err error
	// The exchange lets go of its connection at the end; what is left is counted before.
	for x.conn != nil && err == nil {
		var part [7]byte
		var n int
		n, err = x.decode(part[:])
		r.body = append(r.body, part[:n]...)
	}
	if err != nil && err != io.EOF { //nolint:errorlint // decode gives the bare value
		return result{}, err
	}
	r.trailer = x.response.Trailer()
	if x.conn != nil {
		r.rest = c.reader.buffered()
		x.finish(false)
	}
	return r, nil
}

// readReference reads the same bytes with net/http, and the fields once more with net/textproto, since net/http
// takes some of them away.
func readReference(method string, data []byte) (result, textproto.MIMEHeader, error) {
	b := bufio.NewReaderSize(bytes.NewReader(data), 32<<10)
	heads := textproto.NewReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		resp, err := http.ReadResponse(b, &http.Request{Method: method})
		if err != nil {
			return result{}, nil, err
		}
		if _, err = heads.ReadLine(); err != nil {
			return result{}, nil, err
		}
		all, err := heads.ReadMIMEHeader()
		if err != nil {
			return result{}, nil, err
		}
		if resp.StatusCode < 200 && resp.StatusCode != 101 {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return result{}, nil, err
		}
		return result{status: resp.StatusCode, body: body, trailer: listed(resp.Trailer), rest: b.Buffered()}, all, resp.Body.Close()
	}
}

// endToEnd is what should be left of all fields.
func endToEnd(status int, all textproto.MIMEHeader) field.List {
	drop := []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Transfer-Encoding", "Upgrade"}
	for _, v := range all["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			if name = textproto.CanonicalMIMEHeaderKey(strings.Trim(name, " \t")); name != "Content-Length" {
				drop = append(drop, name)
			}
		}
	}
	if status == 204 {
		drop = append(drop, "Content-Length")
	}
	l := listed(http.Header(all))
	l.DelFunc(func(f field.Field) bool { return slices.Contains(drop, f.Name) })
	return l
}

func sortedList(l field.List) field.List {
	h := http.Header{}
	for _, f := range l {
		h[f.Name] = append(h[f.Name], f.Value)
	}
	return listed(h)
}

// FuzzResponse holds the reader of answers against net/http's: what it accepts, net/http must accept with the
// same status, fields, body, trailers and end.
func FuzzResponse(f *testing.F) {
	for _, s := range responseSeeds() {
		f.Add(false, []byte(s))
		f.Add(true, []byte(s))
	}
	f.Fuzz(func(t *testing.T, isHead bool, data []byte) {
		method := "GET"
		if isHead {
			method = "HEAD"
		}
		own, err := readOwn(t, method, bytes.NewReader(data))
		if slow, slowErr := readOwn(t, method, slowly{bytes.NewReader(data)}); (err == nil) != (slowErr == nil) || !bytes.Equal(own.body, slow.body) {
			t.Fatalf("depends on how bytes come: %v, %v\n%q", err, slowErr, data)
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("sort of error: %v", err)
			}
			return
		}
		ref, all, err := readReference(method, data)
		if err != nil {
			t.Fatalf("accepted what net/http refuses: %v\n%q", err, data)
		}
		if own.status != ref.status || !bytes.Equal(own.body, ref.body) {
			t.Fatalf("got %d %q, want %d %q\n%q", own.status, own.body, ref.status, ref.body, data)
		}
		if got, want := sortedList(own.fields), endToEnd(own.status, all); !slices.Equal(got, want) {
			t.Fatalf("fields %q, want %q\n%q", got, want, data)
		}
		ref.trailer.DelFunc(func(f field.Field) bool { return !inTrailer(f.Name) })
		if got := sortedList(own.trailer); !slices.Equal(got, ref.trailer) {
			t.Fatalf("trailer %q, want %q\n%q", got, ref.trailer, data)
		}
		if own.keep && len(own.body) > 0 && own.rest != ref.rest && len(data) < readBufferSize {
			t.Fatalf("%d bytes left, want %d\n%q", own.rest, ref.rest, data)
		}
	})
}

func responseSeeds() []string {
	return []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5  \r\nhello\r\n0000\r\n\r\nmore",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\nuntil the end",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nEtag: \"a\"\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: close, x-a\r\nX-A: b\r\nUpgrade: h2c\r\nKeep-Alive: timeout=5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\n\r\n",
		"HTTP/1.1 200 OK\nX-A: b\n\n",
		"HTTP/1.1 200 OK\r\nX-A : b\r\n\r\n",
		"HTTP/1.1 200 OK\r\nx-lower: \t b \t\r\nx-lower: c\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nContent-Length: 1\r\n\r\n",
	}
}

// listed lists fields by name, so that the order does not depend on a map's.
func listed(h http.Header) field.List {
	var list field.List
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			list = append(list, field.Field{Name: name, Value: v})
		}
	}
	return list
}
