package h2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/field"
)

// hostile is a connection whose client has said everything, and keeps what it is told.
type hostile struct {
	net.Conn
	in    *bytes.Reader
	piece int           // bytes of a read at most
	over  chan struct{} // closed when all was read, or the connection is
	end   func()

	mu  sync.Mutex
	out bytes.Buffer
}

func newHostile(in []byte, piece int) *hostile {
	h := &hostile{in: bytes.NewReader(in), piece: piece, over: make(chan struct{})}
	h.end = sync.OnceFunc(func() { close(h.over) })
	return h
}

func (h *hostile) Read(p []byte) (int, error) {
	n, err := h.in.Read(p[:min(len(p), h.piece)])
	if err != nil {
		h.end()
	}
	return n, err
}

func (h *hostile) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.out.Write(p)
}

func (h *hostile) Close() error                     { h.end(); return nil }
func (h *hostile) SetReadDeadline(time.Time) error  { return nil }
func (h *hostile) SetWriteDeadline(time.Time) error { return nil }

// frames are what a client says behind its preface, as seeds.
func frames(say func(f *http2.Framer, head func(...string) []byte)) []byte {
	var out, block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	f := http2.NewFramer(&out, nil)
	f.AllowIllegalWrites = true
	say(f, func(fields ...string) []byte {
		block.Reset()
		for i := 0; i+1 < len(fields); i += 2 {
			_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // a buffer does not fail
		}
		return block.Bytes()
	})
	return out.Bytes()
}

func seeds() [][]byte {
	get := []string{":method", "GET", ":scheme", "http", ":path", "/a", ":authority", "a.example"}
	post := []string{":method", "POST", ":scheme", "http", ":path", "/a", ":authority", "a.example", "content-length", "3"}
	type headers = http2.HeadersFrameParam
	return [][]byte{
		nil,
		frames(func(f *http2.Framer, head func(...string) []byte) {
			_ = f.WriteSettings()
			_ = f.WriteHeaders(headers{StreamID: 1, BlockFragment: head(get...), EndHeaders: true, EndStream: true})
			_ = f.WriteHeaders(headers{StreamID: 3, BlockFragment: head(post...), EndHeaders: true})
			_ = f.WriteDataPadded(3, true, []byte("abc"), make([]byte, 5))
		}),
		frames(func(f *http2.Framer, head func(...string) []byte) {
			_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
			b := head(append(get, "x", strings.Repeat("y", 300))...)
			_ = f.WriteHeaders(headers{StreamID: 1, BlockFragment: b[:9], EndStream: true, PadLength: 3, Priority: http2.PriorityParam{StreamDep: 0, Weight: 1}})
			_ = f.WriteContinuation(1, true, b[9:])
			_ = f.WriteWindowUpdate(1, 5)
			_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
			_ = f.WritePing(false, [8]byte{1})
			_ = f.WriteRSTStream(1, http2.ErrCodeCancel)
			_ = f.WriteGoAway(1, http2.ErrCodeNo, []byte("bye"))
		}),
		frames(func(f *http2.Framer, head func(...string) []byte) {
			_ = f.WriteSettings()
			_ = f.WriteHeaders(headers{StreamID: 1, BlockFragment: head(":method", "POST", ":scheme", "http", ":path", "/a", ":authority", "a"), EndHeaders: true})
			_ = f.WriteData(1, false, []byte("abc"))
			_ = f.WriteHeaders(headers{StreamID: 1, BlockFragment: head("trailer-field", "x"), EndHeaders: true, EndStream: true})
			_ = f.WriteHeaders(headers{StreamID: 3, BlockFragment: head(":method", "CONNECT", ":authority", "a:1"), EndHeaders: true})
			_ = f.WriteHeaders(headers{StreamID: 5, BlockFragment: head(append(get, "connection", "close")...), EndHeaders: true, EndStream: true})
			_ = f.WriteHeaders(headers{StreamID: 7, BlockFragment: head(":path", "/", ":path", "/b", "A", "b"), EndHeaders: true, EndStream: true})
			_ = f.WriteData(9, true, []byte("x"))
			_ = f.WriteHeaders(headers{StreamID: 2, BlockFragment: head(get...), EndHeaders: true, EndStream: true})
		}),
		frames(func(f *http2.Framer, _ func(...string) []byte) {
			_ = f.WriteSettings()
			for range 40 {
				_ = f.WritePing(false, [8]byte{})
				_ = f.WriteSettings()
				_ = f.WriteRSTStream(1, http2.ErrCodeCancel)
			}
			_ = f.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
			_ = f.WriteWindowUpdate(0, 1<<31-1)
			_ = f.WriteRawFrame(0xfa, 0xff, 1, []byte("odd"))
		}),
	}
}

// FuzzConn lets a client say anything behind its preface. The connection ends, what the handler is asked is what a request can be,
// and what the client is told is HTTP/2 and no more than it asked for.
func FuzzConn(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s, uint8(0))
		f.Add(s, uint8(3))
	}
	f.Fuzz(func(t *testing.T, said []byte, pieces uint8) {
		var asked atomic.Int64
		s := New(Options{HeaderBytes: 4 << 10, Header: time.Minute, Idle: time.Minute, Handler: engine.HandlerFunc(func(_ context.Context, c *engine.Call) bool {
			asked.Add(1)
			if c.Refused == nil && (c.Method == "" || c.Target == "" || c.Proto != "HTTP/2.0") {
				t.Errorf("asked %q %q %q", c.Method, c.Target, c.Proto)
			}
			for _, h := range c.Header {
				if h.Name != textproto.CanonicalMIMEHeaderKey(h.Name) || strings.HasPrefix(h.Name, ":") || strings.ContainsAny(h.Name+h.Value, "\r\n\x00") {
					t.Errorf("field %q: %q", h.Name, h.Value)
				}
			}
			came := int64(0)
			if c.Body != nil {
				came, _ = io.Copy(io.Discard, c.Body) // it may be cut short
			}
			if came > int64(len(said)) || c.Length >= 0 && came > c.Length {
				t.Errorf("%d bytes of content, announced as %d", came, c.Length)
			}
			c.Answer.Begin(http.StatusOK, field.List{{Name: "X-A", Value: "b"}}, -1)
			if _, err := c.Answer.Write([]byte("answer")); err != nil {
				return false
			}
			c.Answer.Trailer(field.List{{Name: "Grpc-Status", Value: "0"}})
			return true
		})})
		piece := 1 << 20
		if pieces > 0 {
			piece = int(pieces)
		}
		conn := newHostile(append([]byte(http2.ClientPreface), said...), piece)
		s.Take(t.Context(), conn, engine.NewConn("test", "192.0.2.1:1", nil))
		<-conn.over
		s.Drain(t.Context())
		if n := int(asked.Load()); n > len(said)/9 {
			t.Errorf("%d requests in %d bytes", n, len(said))
		}
		told(t, conn.out.Bytes(), len(said))
	})
}

// told holds that what a client of so many bytes is told are frames, and not many more bytes than it said.
func told(t *testing.T, out []byte, said int) {
	t.Helper()
	if most := 1<<10 + 30*said; len(out) > most {
		t.Errorf("told %d bytes for %d", len(out), said)
	}
	f := http2.NewFramer(nil, bytes.NewReader(out))
	f.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
	for {
		if _, err := f.ReadFrame(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("told what is no HTTP/2: %v in %q", err, out)
		}
	}
}
