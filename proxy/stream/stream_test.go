package stream_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/stream"
)

func TestCarries(t *testing.T) {
	p := newPair(t, "tcp", serve(t, echo))
	c := dial(t, p.address)
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "hello" {
		t.Fatalf("got %q, %v", got, err)
	}
	for _, r := range []*records{p.inSeen, p.outSeen} {
		e := r.next(t)
		if !e.Allowed || e.Aborted != "" || e.Problem != "" || e.BytesIn != 5 || e.BytesOut != 5 || e.Workload != id("orders") ||
			e.Service != "db" || e.Snapshot != "s-1" || e.TLSVersion != "1.3" || e.Took == 0 || e.Upstream == "" || e.Attempts != 1 || e.ClientPort == 0 || e.Peer != "127.0.0.1" {
			t.Errorf("got %+v", e)
		}
	}
}

// TestHalfClose sends a request that ends with the end of the stream, and answers only then.
func TestHalfClose(t *testing.T) {
	p := newPair(t, "tcp", serve(t, func(c *net.TCPConn) {
		all, _ := io.ReadAll(c)
		_, _ = c.Write(bytes.ToUpper(all))
	}))
	c := dial(t, p.address)
	_, _ = io.WriteString(c, "what ends is answered")
	_ = c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "WHAT ENDS IS ANSWERED" {
		t.Fatalf("got %q, %v", got, err)
	}
	// The other way: the service has said all, and still hears.
	heard := make(chan string, 1)
	p = newPair(t, "tcp", serve(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "bye")
		_ = c.CloseWrite()
		all, _ := io.ReadAll(c)
		heard <- string(all)
	}))
	c = dial(t, p.address)
	if got, err := io.ReadAll(c); err != nil || string(got) != "bye" {
		t.Fatalf("got %q, %v", got, err)
	}
	_, _ = io.WriteString(c, "late")
	_ = c.CloseWrite()
	if got := <-heard; got != "late" {
		t.Fatalf("the service heard %q", got)
	}
}

// TestLarge moves much both ways at once, and compares all of it.
func TestLarge(t *testing.T) {
	const size = 64 << 20
	p := newPair(t, "tcp", serve(t, echo))
	c := dial(t, p.address)
	sent, got := sha256.New(), sha256.New()
	done := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.MultiWriter(c, sent), rand.Reader, size)
		_ = c.CloseWrite()
		done <- err
	}()
	n, err := io.Copy(got, c)
	if failed := <-done; failed != nil || err != nil || n != size {
		t.Fatalf("%d bytes, %v, %v", n, failed, err)
	}
	if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Fatal("what came back is not what was sent")
	}
	if e := p.inSeen.next(t); e.BytesIn != size || e.BytesOut != size {
		t.Errorf("recorded %d and %d bytes", e.BytesIn, e.BytesOut)
	}
}

func TestUndeclared(t *testing.T) {
	reached := make(chan struct{}, 9)
	address := serve(t, func(*net.TCPConn) { reached <- struct{}{} })
	t.Run("at the callee", func(t *testing.T) {
		p := newPair(t, "tcp", address, func(p *pair, _ *stream.Bounds) { p.inRules.Callers = stream.Callers("palisade.yaml:7:5", id("web")) })
		if _, err := hear(t, p.address); err == nil {
			t.Error("the connection ended as if all were well")
		}
		e := p.inSeen.next(t)
		if e.Allowed || code(&e) != "authorise:call-not-declared" || e.Problem != "forbidden" || e.Workload != id("orders") {
			t.Errorf("got %+v", e)
		}
		if e := p.outSeen.next(t); e.Aborted != stream.CutUpstream {
			t.Errorf("got %+v", e)
		}
	})
	t.Run("at the caller", func(t *testing.T) {
		p := newPair(t, "tcp", address, func(p *pair, _ *stream.Bounds) { p.outRules.Callers = nil })
		if _, err := hear(t, p.address); err == nil {
			t.Error("the connection ended as if all were well")
		}
		if e := p.outSeen.next(t); e.Allowed || code(&e) != "authorise:call-not-declared" || e.Upstream != "" {
			t.Errorf("got %+v", e)
		}
		if p.in.Open() != 0 {
			t.Error("the callee was bothered")
		}
	})
	if len(reached) != 0 {
		t.Error("the service was reached")
	}
}

// TestStrict refuses what cannot be recorded, and records what passes before it does.
func TestStrict(t *testing.T) {
	strict := func(p *pair, _ *stream.Bounds) { p.inRules.Strict = true }
	p := newPair(t, "tcp", serve(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "here") }), strict)
	if got, err := hear(t, p.address); string(got) != "here" {
		t.Fatalf("got %q, %v", got, err)
	}
	e := p.inSeen.next(t)
	if len(p.inSeen.open) != 1 || !p.inSeen.open[0].Open || p.inSeen.open[0].ID != e.ID || e.Open {
		t.Errorf("open records: %+v", p.inSeen.open)
	}
	p.inSeen.mu.Lock()
	p.inSeen.full = true
	p.inSeen.mu.Unlock()
	if got, _ := hear(t, p.address); len(got) != 0 {
		t.Errorf("got %q though it cannot be recorded", got)
	}
	if e := p.inSeen.next(t); e.Allowed || e.Problem != "cannot-record" {
		t.Errorf("got %+v", e)
	}
}

// TestBreaks holds that a connection broken on one side breaks on the other, and does not end.
func TestBreaks(t *testing.T) {
	t.Run("service", func(t *testing.T) {
		p := newPair(t, "tcp", serve(t, func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "half of the ans")
			_, _ = io.ReadFull(c, make([]byte, 1))
			_ = c.SetLinger(0)
		}))
		c := dial(t, p.address)
		_, _ = io.ReadFull(c, make([]byte, 15))
		_, _ = io.WriteString(c, "x")
		if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v", err)
		}
		if e := p.inSeen.next(t); e.Aborted != stream.CutUpstream || !e.Allowed || e.BytesOut != 15 {
			t.Errorf("got %+v", e)
		}
	})
	t.Run("client", func(t *testing.T) {
		ended := make(chan error, 1)
		p := newPair(t, "tcp", serve(t, func(c *net.TCPConn) { _, err := io.ReadAll(c); ended <- err }))
		c := dial(t, p.address)
		_, _ = io.WriteString(c, "half of the que")
		waitOpen(t, p.in)
		_ = c.SetLinger(0)
		_ = c.Close()
		if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the service heard %v", err)
		}
		if e := p.outSeen.next(t); e.Aborted != stream.CutClient {
			t.Errorf("got %+v", e)
		}
	})
	t.Run("truncated TLS", func(t *testing.T) {
		ended := make(chan error, 1)
		p := newPair(t, "tcp", serve(t, func(c *net.TCPConn) { _, err := io.ReadAll(c); ended <- err }))
		raw := dial(t, p.inAddress)
		c := tls.Client(raw, p.mesh.client("orders", "db"))
		_, _ = io.WriteString(c, "half")
		_ = raw.CloseWrite() // an orderly end of TCP, without TLS's: what anybody on the way could do
		if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the service heard %v", err)
		}
	})
}

// hear connects, listens until the end, and leaves.
func hear(t testing.TB, address string) ([]byte, error) {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return io.ReadAll(c)
}

func waitOpen(t testing.TB, s *stream.Server) {
	t.Helper()
	for range 20000 {
		if s.Open() > 0 {
			return
		}
		pause(t)
	}
	t.Fatal("no connection")
}

func pause(t testing.TB) {
	select {
	case <-time.After(time.Millisecond):
	case <-t.Context().Done():
	}
}

// TestRulesChange cuts who may not connect any more, and nobody else.
func TestRulesChange(t *testing.T) {
	p := newPair(t, "tcp", serve(t, echo))
	c := dial(t, p.address)
	ask(t, c)
	p.in.Swap(&stream.Rules{Snapshot: "s-2", Callers: stream.Callers("", id("orders"), id("web"))})
	ask(t, c)
	p.in.Swap(&stream.Rules{Snapshot: "s-3", Callers: stream.Callers("", id("web"))})
	if _, err := io.ReadAll(c); err == nil {
		t.Error("the connection ended as if all were well")
	}
	if e := p.inSeen.next(t); e.Aborted != stream.CutRules || !e.Allowed {
		t.Errorf("got %+v", e)
	}
}

func ask(t testing.TB, c net.Conn) {
	t.Helper()
	if _, err := io.WriteString(c, "?"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestPeerCuts(t *testing.T) {
	closers := make(chan io.Closer, 1)
	ended := make(chan struct{})
	p := newPair(t, "tcp", serve(t, echo), func(p *pair, _ *stream.Bounds) {
		p.inbound.Peer = func(s *tls.ConnectionState, c io.Closer) (*proxy.Workload, func(), error) {
			w, _, err := peer(s, c)
			closers <- c
			return w, func() { close(ended) }, err
		}
	})
	c := dial(t, p.address)
	ask(t, c)
	_ = (<-closers).Close()
	<-ended
	if e := p.inSeen.next(t); e.Aborted != stream.CutIdentity {
		t.Errorf("got %+v", e)
	}
}

func TestPeerRefused(t *testing.T) {
	p := newPair(t, "tcp", serve(t, echo), func(p *pair, _ *stream.Bounds) {
		p.inbound.Peer = func(*tls.ConnectionState, io.Closer) (*proxy.Workload, func(), error) {
			return nil, nil, errors.New("revoked")
		}
	})
	_, _ = hear(t, p.address)
	if e := p.inSeen.next(t); e.Allowed || code(&e) != "authenticate:peer-refused" {
		t.Errorf("got %+v", e)
	}
}

// TestWrongService holds that a sidecar speaks to the service it means alone, and to nobody in the clear.
func TestWrongService(t *testing.T) {
	p := newPair(t, "tcp", serve(t, echo), func(p *pair, _ *stream.Bounds) { p.inbound.TLS = p.mesh.server("web") })
	if got, err := hear(t, p.address); err == nil {
		t.Errorf("got %q", got)
	}
	if e := p.outSeen.next(t); !e.Allowed || code(&e) != "forward:handshake-failed" || e.Problem != "upstream-failed" {
		t.Errorf("got %+v", e)
	}
	other := newMesh(t)
	c := tls.Client(dial(t, p.inAddress), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{other.svid("orders")}})
	_, _ = c.Write([]byte("x"))
	if _, err := io.ReadAll(c); err == nil {
		t.Error("another authority's SVID was taken")
	}
	if plain := dial(t, p.inAddress); true {
		_, _ = io.WriteString(plain, "PING\r\n")
		if got, _ := io.ReadAll(plain); bytes.Contains(got, []byte("PING")) {
			t.Error("plain text was carried")
		}
	}
}

func TestPerCaller(t *testing.T) {
	p := newPair(t, "tcp", serve(t, echo), func(_ *pair, b *stream.Bounds) { b.PerCaller = 2 })
	a, b := dial(t, p.address), dial(t, p.address)
	ask(t, a)
	ask(t, b)
	if got, _ := hear(t, p.address); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	if e := p.outSeen.next(t); e.Allowed || code(&e) != "limit-principal:too-many-connections" || e.Problem != "rate-limited" {
		t.Errorf("got %+v", e)
	}
	_ = a.Close()
	p.outSeen.next(t)
	p.inSeen.next(t)
	ask(t, dial(t, p.address))
}

// TestStrangers holds that those who prove nothing leave room for those who do.
func TestStrangers(t *testing.T) {
	p := newPair(t, "tcp", serve(t, echo), func(_ *pair, b *stream.Bounds) { b.Connections = 16 })
	idle := make([]net.Conn, 16)
	for i := range idle {
		var err error
		if idle[i], err = new(net.Dialer).DialContext(t.Context(), "tcp", p.inAddress); err == nil {
			defer idle[i].Close()
		}
	}
	for range 20000 {
		if p.in.Open() > 0 && p.in.Open() <= 5 {
			break
		}
		pause(t)
	}
	if n := p.in.Open(); n > 5 {
		t.Errorf("%d strangers", n)
	}
}

func TestDrain(t *testing.T) {
	p := newPair(t, "tcp", serve(t, echo), func(_ *pair, b *stream.Bounds) { b.Drain = 1500 * time.Millisecond })
	quick, slow := dial(t, p.address), dial(t, p.address)
	ask(t, quick)
	ask(t, slow)
	stopped := make(chan struct{})
	go func() { p.inStop(); close(stopped) }()
	for range 20000 { // no new ones
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.inAddress)
		if err != nil {
			break
		}
		_ = c.Close()
		pause(t)
	}
	ask(t, quick)
	_ = quick.CloseWrite()
	if _, err := io.ReadAll(quick); err != nil {
		t.Errorf("the one that ends in time: %v", err)
	}
	if _, err := io.ReadAll(slow); err == nil {
		t.Error("the one that does not end was not cut")
	}
	<-stopped
	if a, b := p.inSeen.next(t), p.inSeen.next(t); a.Aborted != "" || b.Aborted != stream.CutDrain {
		t.Errorf("got %q and %q", a.Aborted, b.Aborted)
	}
}

// TestFailover finds the one sidecar of three that is there, and leaves the others alone afterwards.
func TestFailover(t *testing.T) {
	gone, wrong := listen(t), serve(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "this is no TLS, nor ever was") })
	_ = gone.Close()
	p := newPair(t, "tcp", serve(t, echo), func(p *pair, _ *stream.Bounds) {
		p.outbound.Balance.Replace([]string{gone.Addr().String(), wrong, p.inAddress})
	})
	most := 0
	for range 10 {
		c := dial(t, p.address)
		ask(t, c)
		_ = c.CloseWrite()
		_, _ = io.ReadAll(c)
		e := p.outSeen.next(t)
		most = max(most, e.Attempts)
		if e.Upstream != p.inAddress || !e.Allowed || e.Problem != "" {
			t.Errorf("got %+v", e)
		}
	}
	if most < 1 || most > 3 {
		t.Errorf("%d attempts", most)
	}
	p.outbound.Balance.Replace(nil)
	_, _ = hear(t, p.address)
	if e := p.outSeen.next(t); code(&e) != "forward:no-address" || !e.Allowed {
		t.Errorf("got %+v", e)
	}
}

func TestLeastConnections(t *testing.T) {
	p := newPair(t, "tcp", serve(t, echo))
	second := listen(t)
	in := stream.New(stream.Options{Name: "db-in-2", Listener: second, Carrier: p.inbound, Recorder: p.inSeen}, &p.inRules)
	run(t, in)
	p.outbound.Balance.Replace([]string{p.inAddress, second.Addr().String()})
	for range 20 {
		ask(t, dial(t, p.address))
	}
	if p.in.Open() != 10 || in.Open() != 10 {
		t.Errorf("%d and %d connections", p.in.Open(), in.Open())
	}
}

func TestServiceAway(t *testing.T) {
	gone := listen(t)
	_ = gone.Close()
	p := newPair(t, "tcp", gone.Addr().String())
	if _, err := hear(t, p.address); err == nil {
		t.Error("the connection ended as if all were well")
	}
	if e := p.inSeen.next(t); !e.Allowed || e.Problem != "upstream-failed" || code(&e) != "forward:unreachable" {
		t.Errorf("got %+v", e)
	}
}

// TestDefect holds that a defect ends one connection and is recorded as undecided.
func TestDefect(t *testing.T) {
	p := newPair(t, "tcp", serve(t, echo), func(p *pair, _ *stream.Bounds) {
		p.outbound.Dial = func(context.Context, string) (net.Conn, error) { panic("defect") }
	})
	_, _ = hear(t, p.address)
	if e := p.outSeen.next(t); e.Allowed || e.Problem != "cannot-decide" {
		t.Errorf("got %+v", e)
	}
	line := string(event.AppendJSON(nil, &event.Event{Connection: &event.Connection{}}))
	if !strings.Contains(line, "4001") {
		t.Error(line)
	}
}
