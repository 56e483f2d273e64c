package upstream_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/upstream"
)

func benchServer(b *testing.B) string {
	b.Helper()
	page := bytes.Repeat([]byte("x"), 1024)
	return serve(b, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		h := w.Header()
		h["Content-Type"] = []string{"text/plain"}
		h["Content-Length"] = []string{"1024"}
		_, _ = w.Write(page)
	})
}

var benchHeader = field.List{ //nolint:gochecknoglobals // only read
	{Name: "Accept", Value: "application/json"},
	{Name: "User-Agent", Value: "bench"},
	{Name: "X-Request-Id", Value: "0193e0c5-7b5a-7e2a-9d43-0a4f5f7d1a11"},
	{Name: "Traceparent", Value: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
}

// benchRaw answers every head with the same 1 KiB and allocates nothing for it.
func benchRaw(b *testing.B) string {
	b.Helper()
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Sun, 22 Nov 2026 16:00:00 GMT\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024))
	addr, _ := script(b, func(p *peer) {
		buf := make([]byte, 4096)
		for {
			n, err := p.Conn.Read(buf)
			if err != nil {
				return
			}
			if bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
				_, _ = p.Write(answer)
			}
		}
	})
	return addr
}

// BenchmarkGet reads answers of 1 KiB over loopback from a service that does next to nothing itself.
func BenchmarkGet(b *testing.B) {
	b.Run("pool", func(b *testing.B) {
		p := newPool(b, upstream.Options{Address: benchRaw(b)})
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			buf := make([]byte, 4096)
			for pb.Next() {
				r, err := p.Do(b.Context(), &upstream.Request{Method: "GET", Target: "/", Host: "h", Header: benchHeader})
				drain(b, r, err, buf)
			}
		})
	})
	for name, n := range map[string]int{"balanced-1": 1, "balanced-3": 3} {
		b.Run(name, func(b *testing.B) {
			addresses := make([]string, n)
			for i := range addresses {
				addresses[i] = benchRaw(b)
			}
			p := upstream.NewBalancer(upstream.Options{}, upstream.HTTP1, addresses...)
			defer p.Close()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				buf := make([]byte, 4096)
				for pb.Next() {
					r, err := p.Do(b.Context(), &upstream.Request{Method: "GET", Target: "/", Host: "h", Header: benchHeader})
					drain(b, r, err, buf)
				}
			})
		})
	}
	b.Run("pool-tls", func(b *testing.B) {
		addr, conf := serveTLS(b, false, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1024)) })
		p := newPool(b, upstream.Options{Address: addr, TLS: conf})
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			buf := make([]byte, 4096)
			for pb.Next() {
				r, err := p.Do(b.Context(), &upstream.Request{Method: "GET", Target: "/", Host: "h", Header: benchHeader})
				drain(b, r, err, buf)
			}
		})
	})
	b.Run("pool-mtls", func(b *testing.B) {
		m := newMesh(b)
		s := m.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1024)) }))
		p := newPool(b, upstream.Options{Address: s.Listener.Addr().String(), TLS: m.client(), Trust: &m.trust})
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			buf := make([]byte, 4096)
			for pb.Next() {
				r, err := p.Do(b.Context(), &upstream.Request{Method: "GET", Target: "/", Host: "h", Header: benchHeader})
				drain(b, r, err, buf)
			}
		})
	})
	b.Run("net-http", func(b *testing.B) {
		t := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
		defer t.CloseIdleConnections()
		url := "http://" + benchRaw(b) + "/"
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			buf := make([]byte, 4096)
			for pb.Next() {
				q, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
				if err != nil {
					b.Error(err)
					return
				}
				for _, f := range benchHeader {
					q.Header[f.Name] = []string{f.Value}
				}
				r, err := t.RoundTrip(q)
				if err != nil {
					b.Error(err)
					return
				}
				readOut(b, r.Body, buf)
			}
		})
	})
}

// BenchmarkPost sends 1 KiB: in memory with the head, and streamed beside the answer.
func BenchmarkPost(b *testing.B) {
	body := strings.Repeat("x", 1024)
	for name, rewind := range map[string]func() bool{"memory": func() bool { return true }, "stream": nil} {
		b.Run(name, func(b *testing.B) {
			p := newPool(b, upstream.Options{Address: benchServer(b)})
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				buf := make([]byte, 4096)
				for pb.Next() {
					r, err := p.Do(b.Context(), &upstream.Request{
						Method: "POST", Target: "/", Host: "h", Header: benchHeader,
						Body: strings.NewReader(body), Length: int64(len(body)), Rewind: rewind,
					})
					drain(b, r, err, buf)
				}
			})
		})
	}
}

func drain(b *testing.B, r *upstream.Response, err error, buf []byte) {
	b.Helper()
	if err != nil {
		b.Error(err)
		return
	}
	readOut(b, r.Body, buf)
}

func readOut(b *testing.B, body io.ReadCloser, buf []byte) {
	b.Helper()
	for {
		if _, err := body.Read(buf); err != nil {
			if err != io.EOF {
				b.Error(err)
			}
			_ = body.Close()
			return
		}
	}
}

// BenchmarkHandshake makes a connection over mTLS for each request: in full, and with sessions resumed.
func BenchmarkHandshake(b *testing.B) {
	for name, cache := range map[string]tls.ClientSessionCache{"full": nil, "resumed": tls.NewLRUClientSessionCache(64)} {
		b.Run(name, func(b *testing.B) {
			m := newMesh(b)
			s := m.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }))
			conf := m.client()
			conf.ClientSessionCache = cache
			p := newPool(b, upstream.Options{Address: s.Listener.Addr().String(), TLS: conf, Trust: &m.trust})
			b.ReportAllocs()
			buf := make([]byte, 4096)
			for b.Loop() {
				r, err := p.Do(b.Context(), &upstream.Request{Method: "GET", Target: "/", Host: "h"})
				drain(b, r, err, buf)
			}
		})
	}
}

// BenchmarkRecheck asks again about 100 connections, whose peers are verified in full.
func BenchmarkRecheck(b *testing.B) {
	m := newMesh(b)
	s := m.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() }))
	p := newPool(b, upstream.Options{Address: s.Listener.Addr().String(), TLS: m.client(), Trust: &m.trust})
	for range 100 {
		r, err := p.Do(b.Context(), &upstream.Request{Method: "GET", Target: "/", Host: "h"})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = r.Body.Close() })
	}
	b.ReportAllocs()
	for b.Loop() {
		if m.trust.Recheck() > 0 {
			b.Fatal("a connection was cut")
		}
	}
}
