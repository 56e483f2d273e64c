package h1

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/field"
)

// repeat is a client that sends the same request again and again, in pieces of at most cut bytes.
type repeat struct {
	net.Conn
	text      string
	at, cut   int
	requests  int
	most, out int
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.at == 0 {
		if r.requests == r.most {
			return 0, io.EOF
		}
		r.requests++
	}
	n := copy(p[:min(len(p), r.cut)], r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	return n, nil
}

func (r *repeat) Write(p []byte) (int, error)      { r.out += len(p); return len(p), nil }
func (r *repeat) SetReadDeadline(time.Time) error  { return nil }
func (r *repeat) SetWriteDeadline(time.Time) error { return nil }
func (r *repeat) Close() error                     { return nil }

// BenchmarkServe is what the front costs without sockets, TLS and engine: it reads a request (11 fields, 430 bytes; a
// small chunked one; the former in two reads) and answers with 6 fields and 1 KiB.
func BenchmarkServe(b *testing.B) {
	const browser = "GET /orders/1842?expand=items HTTP/1.1\r\nHost: shop.localhost\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\r\n" +
		"Accept: application/json, text/plain, */*\r\nAccept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n" +
		"Connection: keep-alive\r\nReferer: https://shop.localhost/\r\nCookie: sid=0123456789abcdef\r\nSec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\n\r\n"
	header := field.List{
		{Name: "Content-Type", Value: "application/json"},
		{Name: "Cache-Control", Value: "no-store"},
		{Name: "X-Request-Id", Value: "01999999-9999-7999-8999-999999999999"},
		{Name: "X-Content-Type-Options", Value: "nosniff"},
		{Name: "Referrer-Policy", Value: "strict-origin-when-cross-origin"},
		{Name: "X-Frame-Options", Value: "DENY"},
	}
	body := make([]byte, 1<<10)
	s := New(Options{HeaderBytes: 32 << 10, Header: time.Minute, Idle: time.Minute, Handler: engine.HandlerFunc(func(_ context.Context, c *engine.Call) bool {
		if c.Body != nil {
			_, _ = io.Copy(io.Discard, c.Body)
		}
		c.Line.WriteWithin(time.Minute)
		c.Answer.Begin(http.StatusOK, header, int64(len(body)))
		_, err := c.Answer.Write(body)
		return err == nil
	})})
	for _, c := range []struct {
		name, text string
		cut        int
	}{{"get", browser, 1 << 20}, {"chunked", many, 1 << 20}, {"split", browser, 200}} {
		b.Run(c.name, func(b *testing.B) {
			k := newConn(s, &repeat{text: c.text, cut: c.cut, most: b.N}, engine.NewConn("bench", "192.0.2.1:1", nil))
			k.ctx, k.cancel = context.WithCancel(b.Context())
			b.ReportAllocs()
			b.ResetTimer()
			k.serve()
		})
	}
}
