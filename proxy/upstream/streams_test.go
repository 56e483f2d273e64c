package upstream_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/upstream"
)

// h2peer is a service's end of a connection of HTTP/2, which says what it is told to.
type h2peer struct {
	*http2.Framer
	conn  net.Conn
	block bytes.Buffer
	enc   *hpack.Encoder
}

func newH2peer(c net.Conn) *h2peer {
	p := &h2peer{Framer: http2.NewFramer(c, c), conn: c}
	p.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(&p.block)
	_, _ = io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
	return p
}

// head sends a field section; fields come in pairs.
func (p *h2peer) head(id uint32, end bool, fields ...string) {
	p.block.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		_ = p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // a buffer does not fail
	}
	_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block.Bytes(), EndHeaders: true, EndStream: end})
}

// request reads until a request has begun, and returns its stream; 0: the connection has ended.
func (p *h2peer) request() uint32 {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return 0
		}
		if f, ok := f.(*http2.HeadersFrame); ok {
			return f.StreamID
		}
	}
}

// TestStreamsAnswers holds what is made of answers, of odd ones above all.
func TestStreamsAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		say    func(p *h2peer, id uint32)
		body   string
		err    error
	}{
		"whole": {"GET", func(p *h2peer, id uint32) {
			p.head(id, false, ":status", "200", "content-length", "2")
			_ = p.WriteData(id, true, []byte("ok"))
		}, "ok", nil},
		"padding": {"GET", func(p *h2peer, id uint32) {
			p.head(id, false, ":status", "200")
			_ = p.WriteDataPadded(id, true, []byte("ok"), make([]byte, 9))
		}, "ok", nil},
		"interim": {"GET", func(p *h2peer, id uint32) {
			p.head(id, false, ":status", "103", "link", "</a>")
			p.head(id, true, ":status", "200")
		}, "", nil},
		"too many interims": {"GET", func(p *h2peer, id uint32) {
			for range 20 {
				p.head(id, false, ":status", "103")
			}
		}, "", upstream.ErrMalformed},
		"content after HEAD": {"HEAD", func(p *h2peer, id uint32) {
			p.head(id, false, ":status", "200", "content-length", "2")
			_ = p.WriteData(id, true, []byte("ok"))
		}, "", upstream.ErrMalformed},
		"HEAD": {"HEAD", func(p *h2peer, id uint32) { p.head(id, true, ":status", "200", "content-length", "2") }, "", nil},
		"more than announced": {"GET", func(p *h2peer, id uint32) {
			p.head(id, false, ":status", "200", "content-length", "1")
			_ = p.WriteData(id, true, []byte("ok"))
		}, "", upstream.ErrMalformed},
		"less than announced": {"GET", func(p *h2peer, id uint32) {
			p.head(id, false, ":status", "200", "content-length", "3")
			_ = p.WriteData(id, true, []byte("ok"))
		}, "ok", upstream.ErrDisconnected},
		"two lengths": {"GET", func(p *h2peer, id uint32) {
			p.head(id, true, ":status", "200", "content-length", "1", "content-length", "2")
		}, "", upstream.ErrMalformed},
		"no status":            {"GET", func(p *h2peer, id uint32) { p.head(id, true, "server", "x") }, "", upstream.ErrMalformed},
		"status of two digits": {"GET", func(p *h2peer, id uint32) { p.head(id, true, ":status", "99") }, "", upstream.ErrMalformed},
		"protocol switched":    {"GET", func(p *h2peer, id uint32) { p.head(id, false, ":status", "101") }, "", upstream.ErrMalformed},
		"content before head":  {"GET", func(p *h2peer, id uint32) { _ = p.WriteData(id, true, []byte("ok")) }, "", upstream.ErrMalformed},
		"trailers that go on":  {"GET", func(p *h2peer, id uint32) { p.head(id, false, ":status", "200"); p.head(id, false, "x", "y") }, "", upstream.ErrMalformed},
		"large head":           {"GET", func(p *h2peer, id uint32) { p.head(id, true, ":status", "200", "x", strings.Repeat("y", 9000)) }, "", upstream.ErrMalformed},
		"reset":                {"GET", func(p *h2peer, id uint32) { _ = p.WriteRSTStream(id, http2.ErrCodeInternal) }, "", upstream.ErrDisconnected},
		"reset in content": {"GET", func(p *h2peer, id uint32) {
			p.head(id, false, ":status", "200")
			_ = p.WriteData(id, false, []byte("ok"))
			_ = p.WriteRSTStream(id, http2.ErrCodeInternal)
		}, "ok", upstream.ErrDisconnected},
		"push": {"GET", func(p *h2peer, id uint32) {
			_ = p.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, EndHeaders: true})
		}, "", upstream.ErrMalformed},
		"window overflow": {"GET", func(p *h2peer, _ uint32) { _ = p.WriteWindowUpdate(0, 1<<31-1) }, "", upstream.ErrMalformed},
		"fields of a connection": {"GET", func(p *h2peer, id uint32) {
			p.head(id, true, ":status", "200", "connection", "close", "keep-alive", "1")
		}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := streamsTo(t, upstream.Options{MaxHeaderBytes: 8 << 10}, func(p *h2peer) {
				if id := p.request(); id != 0 {
					c.say(p, id)
				}
			})
			q := get("/")
			q.Method = c.method
			interims := ""
			q.Informational = func(_ int, h field.List) { interims += h.Get("Link") }
			body := ""
			r, err := s.Do(t.Context(), q)
			if err == nil {
				var b []byte
				b, err = io.ReadAll(r.Body)
				_ = r.Body.Close()
				if body = string(b); r.Header.Has("Connection") || r.Header.Has("Keep-Alive") {
					t.Errorf("fields of the connection: %v", r.Header)
				}
			}
			if body != c.body || !errors.Is(err, c.err) || name == "interim" && interims != "</a>" {
				t.Errorf("got %q, %v, interims %q", body, err, interims)
			}
		})
	}
}

// TestStreamsWindow holds that a service that sends more than it may has its stream reset.
func TestStreamsWindow(t *testing.T) {
	reset := make(chan bool, 1)
	s := streamsTo(t, upstream.Options{}, func(p *h2peer) {
		id := p.request()
		p.head(id, false, ":status", "200")
		for range 17 {
			_ = p.WriteData(id, false, make([]byte, 16<<10))
		}
		for {
			f, err := p.ReadFrame()
			if _, ok := f.(*http2.RSTStreamFrame); ok || err != nil {
				reset <- ok
				return
			}
		}
	})
	r, err := s.Do(t.Context(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if !<-reset {
		t.Error("the stream was not reset")
	}
	if n, err := io.Copy(io.Discard, r.Body); n > 256<<10 || !errors.Is(err, upstream.ErrMalformed) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// streamsTo returns a transport to a service that plays, on each connection once the settings are exchanged.
func streamsTo(t *testing.T, o upstream.Options, play func(p *h2peer)) *upstream.Streams {
	t.Helper()
	o.Address, _ = script(t, func(c *peer) {
		p := newH2peer(c.Conn)
		_ = p.WriteSettings()
		play(p)
		_, _ = io.Copy(io.Discard, c.Conn) // until the transport has had enough
	})
	s := upstream.NewStreams(o, true)
	t.Cleanup(s.Close)
	return s
}

// TestStreamsAgain holds that a request is sent again if the service says that it has not begun with it, and only then.
func TestStreamsAgain(t *testing.T) {
	for name, c := range map[string]struct {
		refuse func(p *h2peer, id uint32)
		again  bool
	}{
		"refused":          {func(p *h2peer, id uint32) { _ = p.WriteRSTStream(id, http2.ErrCodeRefusedStream) }, true},
		"going away":       {func(p *h2peer, _ uint32) { _ = p.WriteGoAway(0, http2.ErrCodeNo, nil) }, true},
		"going away after": {func(p *h2peer, id uint32) { _ = p.WriteGoAway(id, http2.ErrCodeNo, nil); _ = p.conn.Close() }, false},
		"reset":            {func(p *h2peer, id uint32) { _ = p.WriteRSTStream(id, http2.ErrCodeCancel) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			asked := 0
			s := streamsTo(t, upstream.Options{}, func(p *h2peer) {
				for id := p.request(); id != 0; id = p.request() {
					mu.Lock()
					asked++
					first := asked == 1
					mu.Unlock()
					if first {
						c.refuse(p, id)
					} else {
						p.head(id, true, ":status", "204")
					}
				}
			})
			q := get("/")
			body := strings.NewReader("body")
			q.Method, q.Body, q.Length = "POST", body, 4
			q.Rewind = func() bool { _, err := body.Seek(0, io.SeekStart); return err == nil }
			r, err := s.Do(t.Context(), q)
			mu.Lock()
			defer mu.Unlock()
			if c.again && (err != nil || r.Status != 204 || r.Attempts != 2 || asked != 2) || !c.again && (!errors.Is(err, upstream.ErrDisconnected) || asked != 1) {
				t.Errorf("asked %d times: %v", asked, err)
			}
			if err == nil {
				_ = r.Body.Close()
			}
		})
	}
}

// TestStreamsBulk moves much both ways over few connections, with and without goroutines for bodies, while some answers
// are left unread.
func TestStreamsBulk(t *testing.T) {
	for name, s := range bothStreams(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/unread" {
			_, _ = io.Copy(w, io.LimitReader(endless{}, 4<<20))
			return
		}
		_, _ = io.Copy(w, r.Body)
	}, upstream.Options{}) {
		t.Run(name, func(t *testing.T) {
			for range 8 {
				r, err := s.Do(t.Context(), get("/unread"))
				if err != nil {
					t.Fatal(err)
				}
				defer r.Body.Close()
			}
			var all sync.WaitGroup
			for i := range 40 {
				all.Go(func() {
					content := bytes.Repeat([]byte{'a' + byte(i%26)}, []int{1, 1000, 70_000, 1_500_000}[i%4])
					q := get("/")
					q.Method, q.Body, q.Length = "POST", bytes.NewReader(content), int64(len(content))
					if i%3 == 0 {
						q.Length = -1
					}
					if i%8 < 4 {
						q.AtHand = func() int { return len(content) }
					}
					r, err := s.Do(t.Context(), q)
					if err != nil {
						t.Error(err)
						return
					}
					got, err := io.ReadAll(r.Body)
					if _ = r.Body.Close(); err != nil || !bytes.Equal(got, content) {
						t.Errorf("%d of %d bytes came back: %v", len(got), len(content), err)
					}
				})
			}
			all.Wait()
		})
	}
}

// TestStreamsExpect holds that a body waits until the service asks for it.
func TestStreamsExpect(t *testing.T) {
	s := streamsTo(t, upstream.Options{}, func(p *h2peer) {
		id := p.request()
		p.head(id, false, ":status", "100")
		for {
			f, err := p.ReadFrame()
			if err != nil {
				return
			}
			if d, ok := f.(*http2.DataFrame); ok && d.StreamEnded() {
				p.head(id, true, ":status", "204")
				return
			}
		}
	})
	q := get("/")
	q.Method, q.Body, q.Length, q.ExpectContinue = "POST", strings.NewReader("body"), 4, true
	r, err := s.Do(t.Context(), q)
	if err != nil || r.Status != 204 {
		t.Fatal(err)
	}
	_ = r.Body.Close()
}

// TestStreamsCancel ends an exchange with its context, wherever it waits, and lets go of the body.
func TestStreamsCancel(t *testing.T) {
	asked := make(chan uint32, 3)
	s := streamsTo(t, upstream.Options{}, func(p *h2peer) {
		for id := p.request(); id != 0; id = p.request() {
			asked <- id
		}
	})
	src, feed := io.Pipe()
	defer feed.Close()
	stuck := get("/")
	stuck.Method, stuck.Body, stuck.Length, stuck.Interrupt = "POST", src, -1, func() { _ = src.Close() }
	full := get("/")
	full.Method, full.Body, full.Length = "POST", endless{}, -1
	for _, q := range []*upstream.Request{get("/"), stuck, full} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-asked; cancel() }()
		if _, err := s.Do(ctx, q); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := feed.Write([]byte("late")); err == nil {
		t.Error("the body is still read")
	}
}

// TestStreamsSilence holds that a service that does not answer a ping is given up, and that an idle connection is closed.
func TestStreamsSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var far net.Conn
		closed := make(chan time.Time, 1)
		s := upstream.NewStreams(upstream.Options{
			Address: "service:1", Header: time.Hour, Idle: time.Minute,
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				near, other := net.Pipe()
				far = other
				go func() {
					p := newH2peer(other)
					said := make(chan struct{})
					go func() { defer close(said); _ = p.WriteSettings() }() // a pipe holds nothing
					for {
						f, err := p.ReadFrame()
						if err != nil {
							closed <- time.Now()
							return
						}
						if f, ok := f.(*http2.HeadersFrame); ok && f.StreamID == 1 {
							go func() { <-said; p.head(1, true, ":status", "204") }()
						}
					}
				}()
				return near, nil
			},
		}, true)
		began := time.Now()
		r, err := s.Do(t.Context(), get("/"))
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		r, err = s.Do(t.Context(), get("/")) // which is not answered, and so repeated
		if err != nil || r.Attempts != 2 {
			t.Fatalf("a silent service: %v", err)
		}
		_ = r.Body.Close()
		if took := (<-closed).Sub(began); took > 31*time.Second {
			t.Errorf("given up after %v", took)
		}
		began = time.Now()
		if took := (<-closed).Sub(began); took < time.Minute || took > 76*time.Second {
			t.Errorf("closed after %v of idleness", took)
		}
		_ = far.Close()
		synctest.Wait()
	})
}
