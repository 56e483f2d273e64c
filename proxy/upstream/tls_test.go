package upstream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/upstream"
)

func serveTLS(t testing.TB, h2 bool, h http.HandlerFunc) (string, *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = h2
	s.StartTLS()
	t.Cleanup(s.Close)
	transport, ok := s.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatal("no transport")
	}
	return s.Listener.Addr().String(), transport.TLSClientConfig
}

func TestPoolTLS(t *testing.T) {
	addr, conf := serveTLS(t, true, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	p := newPool(t, upstream.Options{Address: addr, TLS: conf})
	for i := range 3 {
		r, err := p.Do(t.Context(), get("/"))
		if got := read(t, r, err); got != "HTTP/1.1" || r.Reused != (i > 0) {
			t.Fatalf("got %q, reused %v", got, r.Reused)
		}
	}
	untrusted := newPool(t, upstream.Options{Address: addr, TLS: &tls.Config{}})
	if _, err := untrusted.Do(t.Context(), get("/")); !errors.Is(err, upstream.ErrDial) {
		t.Fatalf("got %v", err)
	}
}

// TestPoisonedTLS sends an unasked answer in a record of its own, in the same segment as the wanted one: the TLS
// layer has read it already when the connection is taken again.
func TestPoisonedTLS(t *testing.T) {
	_, conf := serveTLS(t, false, func(http.ResponseWriter, *http.Request) {})
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	certs := server.TLS.Certificates
	server.Close()
	addr, _ := script(t, func(p *peer) {
		held := &holder{Conn: p.Conn}
		c := tls.Server(held, &tls.Config{Certificates: certs})
		for {
			buf := make([]byte, 4096)
			if _, err := c.Read(buf); err != nil {
				return
			}
			held.hold = true
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
			held.release()
		}
	})
	p := newPool(t, upstream.Options{Address: addr, TLS: conf})
	for range 3 {
		r, err := p.Do(t.Context(), get("/"))
		if got := read(t, r, err); got != "good" || r.Reused {
			t.Fatalf("got %q, reused %v", got, r.Reused)
		}
	}
}

func bothStreams(t *testing.T, h http.HandlerFunc, o upstream.Options) map[string]*upstream.Streams {
	t.Helper()
	addr, conf := serveTLS(t, true, h)
	plain := httptest.NewUnstartedServer(h)
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Start()
	t.Cleanup(plain.Close)
	o.Address, o.TLS = addr, conf
	m := map[string]*upstream.Streams{"tls": upstream.NewStreams(o, false)}
	o.Address, o.TLS = plain.Listener.Addr().String(), nil
	m["h2c"] = upstream.NewStreams(o, true)
	for _, s := range m {
		t.Cleanup(s.Close)
	}
	return m
}

func TestStreamsEcho(t *testing.T) {
	for name, s := range bothStreams(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status")
		w.Header().Set("X-Seen", strings.Join([]string{r.Proto, r.Method, r.RequestURI, r.Host, r.Header.Get("X-A"), r.Header.Get("Te"), r.UserAgent()}, "|"))
		rc := http.NewResponseController(w)
		_ = rc.Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			_ = rc.Flush()
			if err != nil {
				break
			}
		}
		w.Header().Set("Grpc-Status", "7"+r.Trailer.Get("X-Sum"))
	}, upstream.Options{}) {
		t.Run(name, func(t *testing.T) {
			src, feed := io.Pipe()
			r, err := s.Do(t.Context(), &upstream.Request{
				Method: "POST", Target: "/a%2Fb//c?d=%zz", Host: "svc.example", Body: src, Length: -1,
				Header:  field.List{{Name: "X-A", Value: "b"}, {Name: "Te", Value: "trailers"}, {Name: "Trailer", Value: "X-Sum"}, {Name: "Connection", Value: "x"}},
				Trailer: func() field.List { return field.List{{Name: "X-Sum", Value: "5"}} },
			})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := r.Header.Get("X-Seen"), "HTTP/2.0|POST|/a%2Fb//c?d=%zz|svc.example|b|trailers|"; got != want {
				t.Errorf("saw %q, want %q", got, want)
			}
			buf := make([]byte, 3)
			for _, word := range []string{"one", "two"} {
				_, _ = io.WriteString(feed, word)
				if _, err := io.ReadFull(r.Body, buf); err != nil || string(buf) != word {
					t.Fatalf("got %q, %v", buf, err)
				}
			}
			_ = feed.Close()
			if read(t, r, nil); r.Trailer().Get("Grpc-Status") != "75" || r.Address == "" || r.Attempts != 1 {
				t.Errorf("trailer %q, %q, %d", r.Trailer(), r.Address, r.Attempts)
			}
		})
	}
}

func TestStreamsFails(t *testing.T) {
	hang := make(chan struct{})
	all := bothStreams(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_, _ = io.WriteString(w, "he")
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}, upstream.Options{Pause: 50_000_000, MaxConns: 1})
	t.Cleanup(func() { close(hang) })
	for name, s := range all {
		t.Run(name, func(t *testing.T) {
			q := get("/")
			q.HeaderTimeout = 50_000_000
			if _, err := s.Do(t.Context(), q); !errors.Is(err, upstream.ErrTimeout) {
				t.Errorf("head: %v", err)
			}
			q.Method, q.Body, q.Length = "POST", strings.NewReader("hello"), 5
			if _, err := s.Do(t.Context(), q); !errors.Is(err, upstream.ErrTimeout) {
				t.Errorf("head after body: %v", err)
			}
			q.Body, q.Length, q.HeaderTimeout = failing{strings.NewReader("abc")}, -1, 0
			if _, err := s.Do(t.Context(), q); !errors.Is(err, upstream.ErrBody) || !errors.Is(err, errSource) {
				t.Errorf("source: %v", err)
			}
			r, err := s.Do(t.Context(), get("/body"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Do(t.Context(), get("/")); !errors.Is(err, upstream.ErrBusy) {
				t.Errorf("busy: %v", err)
			}
			if b, err := io.ReadAll(r.Body); string(b) != "he" || !errors.Is(err, upstream.ErrTimeout) {
				t.Errorf("pause: %q, %v", b, err)
			}
			_ = r.Body.Close()
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := s.Do(ctx, get("/")); !errors.Is(err, context.Canceled) {
				t.Errorf("cancel: %v", err)
			}
		})
	}
}

// TestStreamsRefusesHTTP1 must not fall back: what is declared as HTTP/2 speaks HTTP/2.
func TestStreamsRefusesHTTP1(t *testing.T) {
	addr, conf := serveTLS(t, false, func(http.ResponseWriter, *http.Request) {})
	s := upstream.NewStreams(upstream.Options{Address: addr, TLS: conf}, false)
	defer s.Close()
	if r, err := s.Do(t.Context(), get("/")); err == nil {
		t.Fatalf("got %d", r.Status)
	}
}
