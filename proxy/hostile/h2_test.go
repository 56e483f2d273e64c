package hostile_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2 is an HTTP/2 client that sends whatever it is told to.
type h2 struct {
	*http2.Framer
	conn *tls.Conn
	enc  *hpack.Encoder
	buf  bytes.Buffer
}

// h2 opens a connection and exchanges settings.
func (f *front) h2(t *testing.T, settings ...http2.Setting) *h2 {
	t.Helper()
	c := &h2{conn: f.dial(t, "h2")}
	c.Framer = http2.NewFramer(c.conn, c.conn)
	c.AllowIllegalWrites = true
	c.enc = hpack.NewEncoder(&c.buf)
	if _, err := io.WriteString(c.conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	return c
}

// block encodes fields, which come in pairs.
func (c *h2) block(fields ...string) []byte {
	c.buf.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		_ = c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // a buffer does not fail
	}
	return bytes.Clone(c.buf.Bytes())
}

// request is the head of an ordinary request, with more fields.
func (c *h2) request(method, path string, fields ...string) []byte {
	return c.block(append([]string{":method", method, ":scheme", "https", ":authority", host, ":path", path}, fields...)...)
}

// send writes a request of one stream.
func (c *h2) send(stream uint32, head []byte, body string) error {
	err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head, EndHeaders: true, EndStream: body == ""})
	if err != nil || body == "" {
		return err
	}
	return c.WriteData(stream, true, []byte(body))
}

// outcome is what became of a stream.
type outcome struct {
	status string // of the answer; empty: none
	reset  bool   // the stream was reset
	gone   bool   // the connection was
	code   http2.ErrCode
	body   string
}

// await reads frames until the stream, or the connection, has ended.
func (c *h2) await(t *testing.T, stream uint32) outcome {
	t.Helper()
	var out outcome
	dec := hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if f.Name == ":status" {
			out.status = f.Value
		}
	})
	for {
		fr, err := c.ReadFrame()
		if err != nil {
			if isTimeout(err) {
				t.Error("the front left the connection open")
			}
			out.gone = true
			return out
		}
		switch fr := fr.(type) {
		case *http2.HeadersFrame:
			if _, err := dec.Write(fr.HeaderBlockFragment()); err != nil {
				t.Fatal(err)
			}
			if fr.StreamID == stream && fr.StreamEnded() {
				return out
			}
		case *http2.DataFrame:
			if fr.StreamID == stream {
				out.body += string(fr.Data())
				if fr.StreamEnded() {
					return out
				}
			}
		case *http2.RSTStreamFrame:
			if fr.StreamID == stream {
				out.reset, out.code = true, fr.ErrCode
				return out
			}
		case *http2.GoAwayFrame:
			out.gone, out.code = true, fr.ErrCode
			return out
		case *http2.SettingsFrame:
			if !fr.IsAck() {
				_ = c.WriteSettingsAck() // a connection that ended shows at the next read
			}
		}
	}
}

// eachHTTP2 runs a test against the front of the edge and that of sidecars.
func eachHTTP2(t *testing.T, test func(t *testing.T, inside bool)) {
	for _, inside := range []bool{false, true} {
		t.Run(map[bool]string{false: "edge", true: "inside"}[inside], func(t *testing.T) { test(t, inside) })
	}
}

// TestDowngrade sends over HTTP/2 what would be another request, or another header, over HTTP/1.1.
func TestDowngrade(t *testing.T) { eachHTTP2(t, testDowngrade) }

func testDowngrade(t *testing.T, inside bool) {
	f := newFront(t, bounds{inside: inside})
	for _, c := range []struct {
		name   string
		method string
		path   string
		fields []string
		body   string
	}{
		{"CRLF in a value", "GET", "/a", []string{"x", "y\r\nx-user: root"}, ""},
		{"LF in a value", "GET", "/a", []string{"x", "y\nx-user: root"}, ""},
		{"CR in a value", "GET", "/a", []string{"x", "y\rx-user: root"}, ""},
		{"NUL in a value", "GET", "/a", []string{"x", "y\x00z"}, ""},
		{"request in a value", "GET", "/a", []string{"x", "y\r\n\r\n" + hidden}, ""},
		{"CRLF in a name", "GET", "/a", []string{"x: y\r\nz", "1"}, ""},
		{"colon in a name", "GET", "/a", []string{"x:y", "1"}, ""},
		{"space in a name", "GET", "/a", []string{"x y", "1"}, ""},
		{"capitals in a name", "GET", "/a", []string{"X-Y", "1"}, ""},
		{"empty name", "GET", "/a", []string{"", "1"}, ""},
		{"CRLF in the path", "GET", "/a HTTP/1.1\r\nHost: " + host + "\r\n\r\nGET /hidden", nil, ""},
		{"space in the path", "GET", "/a HTTP/1.1", nil, ""},
		{"LF in the path", "GET", "/a\nx", nil, ""},
		{"no slash in the path", "GET", "a", nil, ""},
		{"empty path", "GET", "", nil, ""},
		{"absolute path", "GET", "https://evil.example/a", nil, ""},
		{"CRLF in the method", "GET / HTTP/1.1\r\nx: y\r\n\r\nGET", "/a", nil, ""},
		{"space in the method", "GET /hidden HTTP/1.1", "/a", nil, ""},
		{"host differs", "GET", "/a", []string{"host", "evil.example"}, ""},
		{"second authority", "GET", "/a", []string{":authority", "evil.example"}, ""},
		{"second path", "GET", "/a", []string{":path", "/hidden"}, ""},
		{"unknown pseudo-header", "GET", "/a", []string{":x", "y"}, ""},
		{"pseudo-header after fields", "GET", "/a", []string{"x", "y", ":path", "/hidden"}, ""},
		{"transfer-encoding", "POST", "/a", []string{"transfer-encoding", "chunked"}, "0\r\n\r\n" + hidden},
		{"transfer-encoding and content-length", "POST", "/a", []string{"transfer-encoding", "chunked", "content-length", "5"}, "0\r\n\r\n"},
		{"connection", "GET", "/a", []string{"connection", "x"}, ""},
		{"keep-alive", "GET", "/a", []string{"keep-alive", "1"}, ""},
		{"proxy-connection", "GET", "/a", []string{"proxy-connection", "keep-alive"}, ""},
		{"upgrade", "GET", "/a", []string{"upgrade", "websocket"}, ""},
		{"te", "GET", "/a", []string{"te", "chunked"}, ""},
		{"content-length too short", "POST", "/a", []string{"content-length", "1"}, "x" + hidden},
		{"content-length too long", "POST", "/a", []string{"content-length", "100"}, "x"},
		{"content-length without a body", "POST", "/a", []string{"content-length", "5"}, ""},
		{"two content-lengths", "POST", "/a", []string{"content-length", "1", "content-length", "4"}, "abcd"},
		{"content-length with a sign", "POST", "/a", []string{"content-length", "+1"}, "x"},
		{"body on GET", "GET", "/a", nil, hidden},
		{"CRLF in a cookie", "GET", "/a", []string{"cookie", "a=b\r\nx: y"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.reset()
			conn := f.h2(t)
			if err := conn.send(1, conn.request(c.method, c.path, c.fields...), c.body); err != nil {
				t.Fatal(err)
			}
			out := conn.await(t, 1)
			got := f.echo.all()
			if out.status >= "200" && out.status < "400" {
				t.Fatalf("served: %+v; the service got %q", out, got)
			}
			// A body that turns out wrong on its way may have begun to reach the service; it must not be complete.
			if got != "" && (c.method != "POST" || bytes.Contains([]byte(got), []byte("/hidden HTTP"))) {
				t.Errorf("%+v; the service got %q", out, got)
			}
			t.Logf("%+v, service got %d bytes", out, len(got))
		})
	}
	t.Run("split cookies", func(t *testing.T) {
		f.reset()
		conn := f.h2(t)
		if err := conn.send(1, conn.request("GET", "/a", "cookie", "a=1", "cookie", "b=2"), ""); err != nil {
			t.Fatal(err)
		}
		want := forwarded("GET", "/a", append([]string{"Cookie: a=1; b=2"}, added...)...)
		if out := conn.await(t, 1); out.status != "200" || f.echo.all() != want {
			t.Errorf("%+v; the service got %q", out, f.echo.all())
		}
	})
}
