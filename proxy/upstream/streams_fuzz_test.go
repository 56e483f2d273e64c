package upstream_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/palisade-security/palisade/proxy/upstream"
)

// told is a connection to a service that says what it always says, once it was asked something.
type told struct {
	net.Conn
	in    *bytes.Reader
	piece int

	mu    sync.Mutex
	out   []byte
	asked chan struct{}
	ask   func()
}

func newTold(says []byte, piece int) *told {
	c := &told{in: bytes.NewReader(says), piece: piece, asked: make(chan struct{})}
	c.ask = sync.OnceFunc(func() { close(c.asked) })
	return c
}

// Write takes what the service is told, until a request has begun.
func (c *told) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, p...)
	const head = 9
	for rest := c.out[min(len(c.out), len(http2.ClientPreface)):]; len(rest) >= head; {
		if http2.FrameType(rest[3]) == http2.FrameHeaders {
			c.ask()
		}
		rest = rest[min(len(rest), head+int(binary.BigEndian.Uint32(rest)>>8)):]
	}
	return len(p), nil
}

func (c *told) Read(p []byte) (int, error) {
	<-c.asked
	return c.in.Read(p[:min(len(p), c.piece)])
}

func (c *told) Close() error                     { c.ask(); return nil }
func (c *told) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }
func (c *told) SetDeadline(time.Time) error      { return nil }
func (c *told) SetReadDeadline(time.Time) error  { return nil }
func (c *told) SetWriteDeadline(time.Time) error { return nil }

// saying is what a service says, as a seed.
func saying(play func(p *h2peer)) []byte {
	out := &bytes.Buffer{}
	p := &h2peer{Framer: http2.NewFramer(out, nil)}
	p.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(&p.block)
	_ = p.WriteSettings()
	play(p)
	return out.Bytes()
}

// FuzzStreams lets a service answer a request with anything. The exchange ends, and what comes of it is no answer, or one that
// follows from what was said.
func FuzzStreams(f *testing.F) {
	for _, play := range []func(p *h2peer){
		func(*h2peer) {},
		func(p *h2peer) {
			p.head(1, false, ":status", "200", "content-length", "2", "x", "y")
			_ = p.WriteDataPadded(1, true, []byte("ok"), make([]byte, 9))
		},
		func(p *h2peer) {
			p.head(1, false, ":status", "103", "link", "</a>")
			p.head(1, false, ":status", "200", "content-type", "application/grpc")
			_ = p.WriteData(1, false, []byte("ok"))
			p.head(1, true, "grpc-status", "0")
		},
		func(p *h2peer) { p.head(1, false, ":status", "100"); p.head(1, true, ":status", "204") },
		func(p *h2peer) { _ = p.WriteGoAway(0, http2.ErrCodeNo, nil) },
		func(p *h2peer) { _ = p.WriteRSTStream(1, http2.ErrCodeRefusedStream) },
		func(p *h2peer) {
			_ = p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
			_ = p.WriteWindowUpdate(1, 1)
			_ = p.WriteWindowUpdate(0, 1<<31-1)
			_ = p.WritePing(false, [8]byte{1})
		},
		func(p *h2peer) {
			_ = p.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
			p.head(3, true, ":status", "200")
			_ = p.WriteData(1, true, []byte("ok"))
		},
	} {
		f.Add(saying(play), uint8(0))
		f.Add(saying(play), uint8(3))
	}
	f.Fuzz(func(t *testing.T, says []byte, pieces uint8) {
		piece := 1 << 20
		if pieces > 0 {
			piece = int(pieces)
		}
		dialled := 0
		s := upstream.NewStreams(upstream.Options{Address: "192.0.2.1:1", Idle: time.Minute, DialContext: func(context.Context, string, string) (net.Conn, error) {
			if dialled++; dialled > 4 {
				return nil, errors.New("asked too often")
			}
			return newTold(says, piece), nil
		}}, true)
		defer s.Close()
		q := get("/")
		body := strings.NewReader("content")
		q.Method, q.Body, q.Length = "POST", body, int64(body.Len())
		q.Rewind = func() bool { _, err := body.Seek(0, io.SeekStart); return err == nil }
		r, err := s.Do(t.Context(), q)
		if dialled > 2 {
			t.Errorf("%d connections for one request", dialled)
		}
		if err != nil {
			return
		}
		defer r.Body.Close()
		content, err := io.ReadAll(r.Body)
		if r.Status < 200 || r.Status > 999 || len(content) > len(says) || err == nil && r.Length >= 0 && int64(len(content)) != r.Length {
			t.Errorf("status %d, %d bytes of %d: %v", r.Status, len(content), r.Length, err)
		}
		for _, h := range append(r.Header, r.Trailer()...) {
			if h.Name == "" || strings.ContainsAny(h.Name+h.Value, "\r\n\x00") || strings.HasPrefix(h.Name, ":") {
				t.Errorf("field %q: %q", h.Name, h.Value)
			}
		}
	})
}
