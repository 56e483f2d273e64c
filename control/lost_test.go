package control_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/control/wire"
)

// lossy is a way to control on which answers to enrolments are lost.
type lossy struct {
	net.Listener
	to   string
	lose atomic.Int32 // answers that are to be lost
	lost atomic.Int32
}

func newLossy(t *testing.T, to string) *lossy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	l := &lossy{Listener: ln, to: to}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go l.carry(conn)
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return l
}

// carry hands bytes on in both directions. Once the asker has sent its request, which is the longest thing that it says,
// what comes back is swallowed until control is done.
func (l *lossy) carry(conn net.Conn) {
	defer conn.Close()
	up, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer up.Close()
	var sent atomic.Int64
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := conn.Read(buf)
			if _, werr := up.Write(buf[:n]); err != nil || werr != nil {
				_ = up.(*net.TCPConn).CloseWrite()
				return
			}
			sent.Add(int64(n))
		}
	}()
	const handshake = 2 << 10 // bytes of a client that shows no certificate, and less than with a request for an SVID
	down := bufio.NewReader(up)
	buf := make([]byte, 64<<10)
	for {
		n, err := down.Read(buf)
		if err != nil {
			return
		}
		if sent.Load() > handshake && l.lose.Load() > 0 {
			l.lose.Add(-1)
			_, _ = io.Copy(io.Discard, down)
			l.lost.Add(1)
			return
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
	}
}

// TestAnswerLost holds that a join token whose answer was lost works again for the process that used it, and for no other.
func TestAnswerLost(t *testing.T) {
	s := newSite(t, compile(t, shop), nil)
	s.start()
	way := newLossy(t, s.listen)
	way.lose.Store(2)
	token := s.token("service/orders")
	p := newProxy(t, s, "service/orders", t.TempDir(), func(o *client.Options) {
		o.JoinToken, o.Control = token, []string{way.Addr().String()}
	}).run()
	p.ready()
	if way.lost.Load() != 2 || len(s.saw("enrolled")) != 3 {
		t.Errorf("%d answers lost, enrolled %+v", way.lost.Load(), s.saw("enrolled"))
	}
	other := newProxy(t, s, "service/orders", t.TempDir(), func(o *client.Options) { o.JoinToken = token }).run()
	eventually(t, "another process is refused", func() bool {
		return slices.ContainsFunc(other.noted("not-enrolled"), func(text string) bool { return strings.Contains(text, "Forbidden") })
	})
}

func newCSR(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	csr, err := wire.NewCSR(key)
	must(t, err)
	return csr
}

// TestTokenAgain holds what control itself takes: the same process, for its name, until something is revoked.
func TestTokenAgain(t *testing.T) {
	s := newSite(t, compile(t, shop), nil)
	s.start()
	token, _, _ := strings.Cut(s.token("service/orders"), ".")
	ask := func(name, process string) int {
		t.Helper()
		body := encode(t, wire.EnrolRequest{Name: name, CSR: newCSR(t), Proof: wire.Proof{Kind: wire.ByJoinToken, Token: token, Process: process}})
		web := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		defer web.CloseIdleConnections()
		r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, "https://"+s.listen+wire.EnrolPath, strings.NewReader(string(body)))
		must(t, err)
		answer, err := web.Do(r)
		must(t, err)
		defer answer.Body.Close()
		_, _ = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode
	}
	for i, c := range []struct {
		name, process string
		revoke        bool
		want          int
	}{
		{"service/orders", "mine", false, 200},
		{"service/orders", "mine", false, 200},
		{"service/orders", "", false, 403},
		{"service/orders", "yours", false, 403},
		{"service/web", "mine", false, 403},
		{"service/orders", "mine", false, 200},
		{"service/orders", "mine", true, 403},
	} {
		if c.revoke {
			_, err := s.admin().Revoke(soon(t), admin.RevokeRequest{Kind: "serial", Value: "1f"})
			must(t, err)
		}
		if got := ask(c.name, c.process); got != c.want {
			t.Errorf("%d: %+v: %d", i, c, got)
		}
	}
}
