package listen_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/listen"
)

// who answers with the version of HTTP and the service that asked.
func who(_ context.Context, c *engine.Call) bool {
	text := c.Proto
	if c.Conn.Workload != nil {
		text += " " + c.Conn.Workload.SPIFFEID
	}
	c.Answer.Begin(http.StatusOK, field.List{}, int64(len(text)))
	_, err := c.Answer.Write([]byte(text))
	return err == nil
}

// TestClear asks one socket in both versions of HTTP, over a listener that was handed in.
func TestClear(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open atomic.Int64
	o := options(engine.HandlerFunc(who))
	o.Listener, o.Clear = ln, true
	o.Peer = func(state *tls.ConnectionState, _ io.Closer) (*proxy.Workload, func(), error) {
		if state != nil {
			t.Error("there was no handshake")
		}
		open.Add(1)
		return &proxy.Workload{SPIFFEID: "spiffe://shop.example/service/web"}, func() { open.Add(-1) }, nil
	}
	_, stop := run(t, o)
	for _, h2 := range []bool{false, true} {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(!h2)
		transport.Protocols.SetUnencryptedHTTP2(h2)
		client := http.Client{Transport: transport}
		want := "HTTP/1.1 spiffe://shop.example/service/web"
		if h2 {
			want = "HTTP/2.0 spiffe://shop.example/service/web"
		}
		for range 3 {
			resp, err := client.Get("http://" + ln.Addr().String() + "/")
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || string(b) != want {
				t.Errorf("got %q, %v, want %q", b, err, want)
			}
		}
		transport.CloseIdleConnections()
	}
	silent, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	stop()
	if n := open.Load(); n != 0 {
		t.Errorf("%d connections have no end", n)
	}
}

// TestPeerRefused holds that who is refused after the handshake gets no answer, over either version.
func TestPeerRefused(t *testing.T) {
	o := secure(t, options(engine.HandlerFunc(who)))
	o.Peer = func(*tls.ConnectionState, io.Closer) (*proxy.Workload, func(), error) {
		return nil, nil, errors.New("revoked")
	}
	s, _ := run(t, o)
	for _, protocol := range []string{"h2", "http/1.1"} {
		c, err := tls.Dial("tcp", s.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
		if err != nil {
			continue
		}
		_ = c.SetDeadline(time.Now().Add(hang))
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if n, err := c.Read(make([]byte, 1)); err == nil || n > 0 {
			t.Errorf("%s: an answer came", protocol)
		}
		_ = c.Close()
	}
}

// TestCutIsNoEnd holds that a client in the clear can tell an answer that was cut from a whole one, where its end is that of the
// connection.
func TestCutIsNoEnd(t *testing.T) {
	for name, clear := range map[string]bool{"one version": false, "both versions": true} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			read := make(chan struct{})
			o := options(engine.HandlerFunc(func(_ context.Context, c *engine.Call) bool {
				c.Answer.Begin(http.StatusOK, field.List{}, -1)
				_, _ = c.Answer.Write([]byte("half of it"))
				_ = c.Answer.Flush()
				<-read
				return false // the service broke off
			}))
			o.Listener, o.Clear = ln, clear
			_, stop := run(t, o)
			defer stop()
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = io.WriteString(c, "GET / HTTP/1.0\r\nHost: h\r\n\r\n")
			var got []byte
			for buf := make([]byte, 1024); !bytes.HasSuffix(got, []byte("half of it")); {
				n, err := c.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, buf[:n]...)
			}
			close(read)
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the cut answer ended with %v", err)
			}
		})
	}
}

// TestNoRequest tells of those who mean no HTTP, however little they say, and of nobody else.
func TestNoRequest(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := options(engine.HandlerFunc(who))
	o.Listener, o.Clear, o.Header = ln, true, 50*time.Millisecond
	told := make(chan error, 10)
	o.Refused = func(_ context.Context, _ net.Addr, err error) { told <- err }
	_, stop := run(t, o)
	for _, c := range []struct {
		says       string
		leaves     bool
		told       bool
		understood string // the status of an answer
	}{
		{"", false, true, ""},
		{"", true, false, ""},
		{"PRI * HT", true, true, ""},
		{"AMQP\x00\x00\x09\x01", false, true, ""},
		{"GET / HTTP/1.1\r\nHost: a\r\n", true, true, ""},
		{"\x00\x00\x00\x08\x04\xd2\x16\x2f", false, false, "HTTP/1.1 200"}, // which is a call, refused
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true, false, "HTTP/1.1 200"},
	} {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, c.says); err != nil {
			t.Fatal(err)
		}
		if c.leaves {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
		heard, _ := io.ReadAll(conn)
		_ = conn.Close()
		if !bytes.HasPrefix(heard, []byte(c.understood)) {
			t.Errorf("%q: answered %q", c.says, heard)
		}
		if c.told {
			if err := <-told; !errors.Is(err, listen.ErrNoRequest) {
				t.Errorf("%q: told %v", c.says, err)
			}
		}
	}
	stop()
	if len(told) > 0 {
		t.Errorf("told of another one: %v", <-told)
	}
}
