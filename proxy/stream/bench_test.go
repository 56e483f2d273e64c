//go:build unix

package stream_test

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/proxy/stream"
)

// BenchmarkThroughput moves megabytes from a client to a service: with nothing between, through io.Copy with and
// without the kernel's splice, through a server without TLS, and through both sidecars with mTLS. cpu-ms/GB is that
// of the whole process, client and service included; "direct" says how much of it is theirs.
func BenchmarkThroughput(b *testing.B) {
	sink := func(c *net.TCPConn) {
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 256<<10))
		_, _ = c.Write([]byte{1})
	}
	relay := func(b *testing.B, to string, f func(dst, src *net.TCPConn)) string {
		return serve(b, func(c *net.TCPConn) {
			far := dial(b, to)
			defer far.Close()
			go func() { _, _ = io.Copy(c, far); _ = c.CloseWrite() }()
			f(far, c)
			_ = far.CloseWrite()
			_, _ = io.ReadFull(c, make([]byte, 1))
		})
	}
	for _, v := range []struct {
		name string
		way  func(b *testing.B, to string) string
	}{
		{"direct", func(_ *testing.B, to string) string { return to }},
		{"io.Copy/splice", func(b *testing.B, to string) string {
			return relay(b, to, func(dst, src *net.TCPConn) { _, _ = io.Copy(dst, src) })
		}},
		{"io.Copy/buffer", func(b *testing.B, to string) string {
			return relay(b, to, func(dst, src *net.TCPConn) { _, _ = io.Copy(struct{ io.Writer }{dst}, struct{ io.Reader }{src}) })
		}},
		{"stream/plain", plainWay},
		{"stream/mTLS", func(b *testing.B, to string) string { return newPair(b, "tcp", to).address }},
	} {
		b.Run(v.name, func(b *testing.B) {
			const piece = 1 << 20
			c := dial(b, v.way(b, serve(b, sink)))
			block := make([]byte, piece)
			b.SetBytes(piece)
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				if _, err := c.Write(block); err != nil {
					b.Fatal(err)
				}
			}
			_ = c.CloseWrite()
			_, _ = io.ReadFull(c, make([]byte, 1))
			b.ReportMetric(float64((cpu(b)-before).Milliseconds())*1024/float64(b.N), "cpu-ms/GB")
		})
	}
}

// plainWay is a server without TLS, as egress is.
func plainWay(b *testing.B, to string) string {
	ln := listen(b)
	s := stream.New(stream.Options{Listener: ln, Recorder: newRecords(), Carrier: carrier(func(ctx context.Context, l *stream.Link) error {
		l.Depend(func(*stream.Rules) bool { return true })
		far, err := new(net.Dialer).DialContext(ctx, "tcp", to)
		if err != nil {
			return err
		}
		return l.Join(l.Client, far)
	})}, &stream.Rules{})
	run(b, s)
	return ln.Addr().String()
}

type carrier func(context.Context, *stream.Link) error

func (f carrier) Carry(ctx context.Context, l *stream.Link) error { return f(ctx, l) }

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkConnect is one connection of a service to another: both handshakes, records, one byte there and back.
func BenchmarkConnect(b *testing.B) {
	p := newPair(b, "tcp", serve(b, echo))
	b.ReportAllocs()
	for b.Loop() {
		c := dial(b, p.address)
		ask(b, c)
		_ = c.Close()
	}
}

// BenchmarkAsk is one byte there and back on an open connection, as a database is asked.
func BenchmarkAsk(b *testing.B) {
	p := newPair(b, "tcp", serve(b, echo))
	c := dial(b, p.address)
	ask(b, c)
	b.ReportAllocs()
	for b.Loop() {
		ask(b, c)
	}
}
