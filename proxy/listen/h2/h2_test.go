package h2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/field"
)

// front serves h on a socket and returns a client of it.
func front(t *testing.T, h engine.HandlerFunc) (*http.Client, *Server, string) {
	t.Helper()
	s := New(Options{Handler: h, HeaderBytes: 32 << 10, Header: 5 * time.Second, Idle: time.Minute})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.Take(context.Background(), c, engine.NewConn("test", c.RemoteAddr().String(), nil))
		}
	})
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(func() {
		_ = ln.Close()
		accepting.Wait()
		tr.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.Drain(ctx)
	})
	return &http.Client{Transport: tr}, s, "http://" + ln.Addr().String()
}

// echo answers with the request's content as it comes, or with what the target asks for.
func echo(_ context.Context, c *engine.Call) bool {
	if c.Refused != nil {
		c.Answer.Begin(c.Refused.Kind.Status, nil, 0)
		return true
	}
	h := field.List{{Name: "X-Method", Value: c.Method}, {Name: "X-Host", Value: c.Host}, {Name: "Connection", Value: "close"}, {Name: "Server", Value: "a\nb"}}
	switch c.Target {
	case "/empty":
		c.Answer.Begin(http.StatusNoContent, h, 0)
		return true
	case "/short":
		c.Answer.Begin(http.StatusOK, h, 10)
		_, err := c.Answer.Write([]byte("short"))
		return err == nil
	case "/panic":
		panic("a defect")
	}
	c.Answer.Begin(http.StatusOK, h, -1)
	c.Line.WriteWithin(10 * time.Second)
	buf := make([]byte, 32<<10)
	for c.Body != nil {
		n, err := c.Body.Read(buf)
		if _, werr := c.Answer.Write(buf[:n]); werr != nil {
			return false
		}
		if c.Answer.Flush() != nil {
			return false
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return false
		}
	}
	c.Answer.Trailer(field.List{{Name: "Grpc-Status", Value: "0"}})
	return true
}

// TestExchanges lets many requests of all sizes go through one connection at once.
func TestExchanges(t *testing.T) {
	client, _, url := front(t, echo)
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			content := bytes.Repeat([]byte{'a' + byte(i%26)}, []int{0, 1, 1000, 70_000, 300_000, 2_000_000}[i%6])
			resp, err := client.Post(url+"/echo", "text/plain", bytes.NewReader(content))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d of %d bytes came back: %v", len(got), len(content), err)
			}
			if resp.Trailer.Get("Grpc-Status") != "0" {
				t.Errorf("trailers: %v", resp.Trailer)
			}
		})
	}
	all.Wait()
}

func TestAnswers(t *testing.T) {
	client, _, url := front(t, echo)
	for _, c := range []struct {
		method, path string
		status       int // 0: the answer breaks off
	}{
		{"GET", "/", 200},
		{"HEAD", "/", 200},
		{"GET", "/empty", 204},
		{"GET", "/short", 0},
		{"GET", "/panic", 0},
	} {
		req, err := http.NewRequest(c.method, url+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		if (err == nil) != (c.status > 0) {
			t.Errorf("%s %s: %v", c.method, c.path, err)
		}
		if err != nil {
			continue
		}
		if h := resp.Header; resp.StatusCode != c.status || h.Get("X-Method") != c.method || h.Get("Date") == "" || h.Get("Connection") != "" || h.Get("Server") != "a b" || "http://"+h.Get("X-Host") != url {
			t.Errorf("%s %s: %d %v", c.method, c.path, resp.StatusCode, h)
		}
	}
}

// TestCancel holds that a request ends with its client.
func TestCancel(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan error, 1)
	client, _, url := front(t, func(ctx context.Context, c *engine.Call) bool {
		close(begun)
		<-ctx.Done()
		_, err := c.Body.Read(make([]byte, 1))
		ended <- err
		return false
	})
	ctx, cancel := context.WithCancel(t.Context())
	body, open := io.Pipe()
	defer open.Close()
	req, err := http.NewRequestWithContext(ctx, "POST", url+"/", body)
	if err != nil {
		t.Fatal(err)
	}
	go func() { <-begun; cancel() }()
	if resp, err := client.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Error("there was an answer")
	}
	if err := <-ended; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("reading on: %v", err)
	}
}

// TestDeadlines holds that neither reading nor writing waits longer than it may, and that a bar wakes who reads.
func TestDeadlines(t *testing.T) {
	outcome := make(chan error, 3)
	client, _, url := front(t, func(_ context.Context, c *engine.Call) bool {
		c.Line.ReadBy(time.Now().Add(10 * time.Millisecond))
		_, err := c.Body.Read(make([]byte, 1))
		outcome <- err
		c.Line.ReadBy(time.Now().Add(time.Hour))
		bar := time.AfterFunc(10*time.Millisecond, func() { c.Line.ReadBy(time.Unix(1, 0)) })
		defer bar.Stop()
		_, err = c.Body.Read(make([]byte, 1))
		outcome <- err
		c.Answer.Begin(http.StatusOK, nil, -1)
		c.Line.WriteWithin(50 * time.Millisecond)
		for err = nil; err == nil; {
			_, err = c.Answer.Write(make([]byte, 1<<20))
		}
		outcome <- err
		return false
	})
	body, open := io.Pipe()
	defer open.Close()
	resp, err := client.Post(url+"/", "text/plain", body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() // which nobody reads
	for range 3 {
		if err := <-outcome; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	}
}

// TestDrain holds that what has begun is answered, and that nothing begins after.
func TestDrain(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	client, s, url := front(t, func(ctx context.Context, c *engine.Call) bool {
		close(begun)
		<-release
		return echo(ctx, c)
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-begun
		go func() {
			for !s.open.Draining() {
				time.Sleep(time.Millisecond)
			}
			close(release)
		}()
		s.Drain(t.Context())
	}()
	resp, err := client.Get(url + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	<-done
	if n := s.open.Len(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// TestSilence holds that a client that asks nothing is sent away, and that one that does not answer a ping is cut while it
// waits for an answer.
func TestSilence(t *testing.T) {
	for _, asks := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := New(Options{HeaderBytes: 1 << 10, Header: time.Second, Idle: 45 * time.Second, Handler: engine.HandlerFunc(func(ctx context.Context, _ *engine.Call) bool {
				<-ctx.Done()
				return false
			})})
			near, far := net.Pipe()
			s.Take(t.Context(), far, engine.NewConn("test", "127.0.0.1:1", nil))
			began := time.Now()
			f := http2.NewFramer(near, near)
			begun := make(chan struct{})
			go func() {
				defer close(begun)
				_, _ = io.WriteString(near, http2.ClientPreface) // an error shows below
				_ = f.WriteSettings()
				if asks {
					_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true, BlockFragment: []byte{0x82, 0x84, 0x86}})
				}
			}()
			pings, away := 0, false
			for {
				fr, err := f.ReadFrame()
				if err != nil {
					break
				}
				switch fr := fr.(type) {
				case *http2.PingFrame:
					if pings++; !asks {
						<-begun
						_ = f.WritePing(true, fr.Data)
					}
				case *http2.GoAwayFrame:
					away = true
					_ = near.Close()
				}
			}
			took := time.Since(began).Round(time.Second)
			if want := 2 * pingAfter; !asks && (!away || took != want) {
				t.Errorf("idle: told %v after %v, %d pings", away, took, pings)
			}
			if want := pingAfter + pingWait; asks && (pings != 1 || took != want) {
				t.Errorf("silent: cut after %v, %d pings", took, pings)
			}
			synctest.Wait()
		})
	}
}
