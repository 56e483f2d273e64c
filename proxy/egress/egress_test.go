package egress_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/egress"
	"github.com/palisade-security/palisade/proxy/stream"
)

// names is a resolver; each question gets the next answer.
type names struct {
	mu    sync.Mutex
	is    map[string][][]string
	asked int
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	answers := n.is[strings.TrimSuffix(host, ".")]
	if len(answers) == 0 {
		return nil, errors.New("no such host")
	}
	if len(answers) > 1 {
		n.is[strings.TrimSuffix(host, ".")] = answers[1:]
	}
	var out []netip.Addr
	for _, a := range answers[0] {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

// seen keeps events.
type seen chan event.Event

func (seen) Durable(context.Context, *event.Event) error { return nil }
func (s seen) Observe(e *event.Event) {
	c := *e
	if e.Connection != nil {
		link := *e.Connection
		c.Connection = &link
	}
	c.Trail = slices.Clone(e.Trail)
	s <- c
}

func (s seen) next(t testing.TB) event.Event {
	t.Helper()
	select {
	case e := <-s:
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("no event")
	}
	return event.Event{}
}

func code(e *event.Event) string {
	for i := range e.Trail {
		if s := &e.Trail[i]; (s.Outcome == event.OutcomeDeny || s.Outcome == event.OutcomeError) && len(s.Reasons) > 0 {
			return s.Name + ":" + s.Reasons[0].Code
		}
	}
	return ""
}

// way is the way out of "orders".
type way struct {
	address  string
	server   *stream.Server
	egress   *egress.Egress
	seen     seen
	names    *names
	wanted   atomic.Pointer[egress.Wanted]
	dialled  sync.Map
	instead  map[string]string // where an address of the outside is in this test
	lookedUp *egress.Names
}

func newWay(t testing.TB, hosts ...model.Egress) *way {
	t.Helper()
	w := &way{seen: make(seen, 1<<12), names: &names{is: map[string][][]string{}}, instead: map[string]string{}}
	w.lookedUp = egress.NewNames(w.names)
	var d net.Dialer
	d.SetMultipathTCP(false)
	w.egress = egress.New(egress.Options{
		Self:   &proxy.Workload{SPIFFEID: "spiffe://shop.example/service/orders"},
		Wanted: func(net.Conn) (egress.Wanted, error) { return *w.wanted.Load(), nil },
		Names:  w.lookedUp,
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			w.dialled.Store(address, true)
			to, ok := w.instead[address]
			if !ok {
				return nil, errors.New("nobody there")
			}
			return d.DialContext(ctx, "tcp", to)
		},
	})
	w.egress.Declare(hosts)
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = ln.Addr().String()
	bounds := stream.Bounds{Drain: 50 * time.Millisecond, Handshake: 2 * time.Second, Dial: 2 * time.Second}
	w.server = stream.New(stream.Options{Name: "out", Listener: ln, Carrier: w.egress, Recorder: w.seen, Bounds: bounds}, &stream.Rules{Snapshot: "s-1"})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *way) wants(host string, port int) { w.wanted.Store(&egress.Wanted{Host: host, Port: port}) }

func (w *way) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// hear connects, listens until the end, and leaves.
func (w *way) hear(t testing.TB) ([]byte, error) {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", w.address)
	if err != nil {
		return nil, err // closed at once
	}
	defer c.Close()
	return io.ReadAll(c)
}

func certificate(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// outside is an HTTPS server that answers with the name it was asked for.
func outside(t testing.TB) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		name := r.Host
		if r.TLS != nil {
			name = r.TLS.ServerName
		}
		fmt.Fprintf(w, "%s %d", name, len(body))
	}))
	t.Cleanup(s.Close)
	return s
}

func (w *way) get(t testing.TB, url string, c *tls.Config, body string) (string, error) {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: c, DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", w.address)
	}}
	defer tr.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func TestTLS(t *testing.T) {
	s := outside(t)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t, "api.example.com")}}
	s.StartTLS()
	w := newWay(t, model.Egress{Host: "api.example.com", Port: 443, Protocol: "tls"}, model.Egress{Host: "other.example.com", Port: 443, Protocol: "tls"})
	w.names.is["api.example.com"] = [][]string{{"93.184.215.14"}}
	w.instead["93.184.215.14:443"] = s.Listener.Addr().String()
	free := &tls.Config{InsecureSkipVerify: true}

	for _, wanted := range []string{"", "api.example.com", "API.example.com", "1.1.1.1"} {
		w.wants(wanted, 443)
		body := strings.Repeat("x", 300<<10)
		got, err := w.get(t, "https://api.example.com/", free, body)
		if err != nil || got != "api.example.com 307200" {
			t.Fatalf("%q: got %q, %v", wanted, got, err)
		}
		e := w.seen.next(t)
		if !e.Allowed || e.Host != "api.example.com:443" || e.Upstream != "93.184.215.14:443" || e.TLSServer != "api.example.com" || e.Connection.Protocol != "tls" ||
			e.Connection.Side != event.SideEgress || e.BytesIn < 300<<10 || e.BytesOut < 100 || e.Workload == "" {
			t.Errorf("got %+v", e)
		}
	}
	if w.names.asked != 1 {
		t.Errorf("the name was resolved %d times", w.names.asked)
	}
	for _, c := range []struct{ wanted, url, code string }{
		{"", "https://evil.example.com/", "authorise:call-not-declared"},
		{"api.example.com", "https://other.example.com/", "authorise:host-mismatch"},
		{"", "https://[2620:fe::fe]/", "canonicalise:host-unclear"}, // crypto/tls sends no name
	} {
		w.wants(c.wanted, 443)
		if got, err := w.get(t, c.url, free, ""); err == nil {
			t.Errorf("%s: got %q", c.url, got)
		}
		if e := w.seen.next(t); e.Allowed || code(&e) != c.code {
			t.Errorf("%s: got %s, %+v", c.url, code(&e), e)
		}
	}
	w.wants("", 8443) // a port of nobody
	_, _ = w.get(t, "https://api.example.com/", free, "")
	if e := w.seen.next(t); e.Allowed || code(&e) != "authorise:call-not-declared" {
		t.Errorf("got %+v", e)
	}
}

func TestHTTP(t *testing.T) {
	s := outside(t)
	s.Start()
	w := newWay(t, model.Egress{Host: "api.example.com", Port: 80, Protocol: "http"}, model.Egress{Host: "tls.example.com", Port: 80, Protocol: "tls"})
	w.names.is["api.example.com"] = [][]string{{"93.184.215.14"}}
	w.instead["93.184.215.14:80"] = s.Listener.Addr().String()
	w.wants("", 80)
	if got, err := w.get(t, "http://api.example.com/", nil, "abc"); got != "api.example.com 3" {
		t.Fatalf("got %q, %v", got, err)
	}
	if e := w.seen.next(t); e.Connection != nil || e.Method != "POST" || e.Path != "/" || e.Host != "api.example.com:80" || e.Side != event.SideEgress || !e.Allowed || e.Workload == "" {
		t.Errorf("got %+v", e)
	}
	if e := w.seen.next(t); e.Connection.Protocol != "http" || e.Host != "api.example.com:80" || !e.Allowed {
		t.Errorf("got %+v", e)
	}
	if got, err := w.get(t, "http://tls.example.com/", nil, "abc"); err == nil {
		t.Errorf("got %q", got)
	}
	if e := w.seen.next(t); code(&e) != "authorise:call-not-declared" {
		t.Errorf("got %+v", e)
	}
}

// TestTCP carries a host known by its address, with nothing looked into, and moves much.
func TestTCP(t *testing.T) {
	const size = 64 << 20
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	w := newWay(t, model.Egress{Host: "db.example.com", Port: 5432, Protocol: "tcp"}, model.Egress{Host: "93.184.215.99", Port: 25, Protocol: "tcp"})
	w.names.is["db.example.com"] = [][]string{{"93.184.215.14", "93.184.215.15"}}
	w.instead["93.184.215.15:5432"], w.instead["93.184.215.99:25"] = ln.Addr().String(), ln.Addr().String()
	for _, wanted := range []egress.Wanted{{Host: "db.example.com", Port: 5432}, {Host: "93.184.215.15", Port: 5432}, {Host: "93.184.215.99", Port: 25}} {
		w.wants(wanted.Host, wanted.Port)
		c := w.dial(t)
		sent, got := sha256.New(), sha256.New()
		done := make(chan error, 1)
		go func() {
			_, err := io.CopyN(io.MultiWriter(c, sent), rand.Reader, size)
			_ = c.(*net.TCPConn).CloseWrite()
			done <- err
		}()
		n, err := io.Copy(got, c)
		if failed := <-done; failed != nil || err != nil || n != size || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
			t.Fatalf("%v: %d bytes, %v, %v", wanted, n, failed, err)
		}
		if e := w.seen.next(t); e.BytesIn != size || e.BytesOut != size || !e.Allowed || e.Aborted != "" {
			t.Errorf("got %+v", e)
		}
	}
	w.wants("93.184.215.77", 5432) // not one of its addresses
	_, _ = w.hear(t)
	if e := w.seen.next(t); e.Allowed || code(&e) != "authorise:call-not-declared" {
		t.Errorf("got %s %+v", code(&e), e)
	}
}

// TestInside holds that no name leads inside, whatever it resolves to.
func TestInside(t *testing.T) {
	w := newWay(t, model.Egress{Host: "evil.example.com", Port: 80, Protocol: "tcp"})
	for _, a := range []string{
		"127.0.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "224.0.0.1", "255.255.255.255", "168.63.129.16", "192.0.0.192",
		"::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::a00:1",
		"2002:7f00:1::", "2002:a00:1::1", "2001::1", "::ffff:0:127.0.0.1", "::ffff:168.63.129.16", "fec0::1", "2001:db8::1", "198.18.0.1", "fe80::1%eth0",
	} {
		w.names.is["evil.example.com"] = [][]string{{a}}
		w.lookedUp.Forget()
		w.wants("evil.example.com", 80)
		_, _ = w.hear(t)
		if e := w.seen.next(t); e.Allowed || code(&e) != "resolve:address-not-public" {
			t.Errorf("%s: got %s, %+v", a, code(&e), e)
		}
	}
	w.dialled.Range(func(k, _ any) bool { t.Errorf("%v was dialled", k); return true })
}

// TestNoRebinding answers with a public address first and a private one afterwards: only what was checked is reached.
func TestNoRebinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &names{is: map[string][][]string{"a.example.com": {{"93.184.215.14", "10.0.0.1"}, {"10.0.0.1"}, {"93.184.215.15"}}}}
		n := egress.NewNames(r)
		got, err := n.Lookup(t.Context(), "a.example.com")
		if err != nil || len(got) != 1 || got[0].String() != "93.184.215.14" {
			t.Fatalf("got %v, %v", got, err)
		}
		if again, _ := n.Lookup(t.Context(), "a.example.com"); !slices.Equal(got, again) || r.asked != 1 {
			t.Errorf("got %v after %d questions", again, r.asked)
		}
		time.Sleep(31 * time.Second) // in the bubble
		if got, err := n.Lookup(t.Context(), "a.example.com"); err == nil {
			t.Errorf("got %v", got)
		}
		time.Sleep(2 * time.Second)
		if got, err := n.Lookup(t.Context(), "a.example.com"); err != nil || got[0].String() != "93.184.215.15" {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

// TestWithdrawn cuts connections to a host that is not declared any more.
func TestWithdrawn(t *testing.T) {
	s := outside(t)
	s.Start()
	w := newWay(t, model.Egress{Host: "a.example.com", Port: 1, Protocol: "tcp"})
	w.names.is["a.example.com"] = [][]string{{"93.184.215.14"}}
	w.instead["93.184.215.14:1"] = s.Listener.Addr().String()
	w.wants("a.example.com", 1)
	c := w.dial(t)
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(c, make([]byte, 15))
	if n := w.server.Recheck(); n != 0 {
		t.Errorf("%d were cut", n)
	}
	w.egress.Declare(nil)
	if n := w.server.Recheck(); n != 1 {
		t.Errorf("%d were cut", n)
	}
	if e := w.seen.next(t); e.Aborted != stream.CutRules {
		t.Errorf("got %+v", e)
	}
}

// TestSaysNothing bounds the wait for a name.
func TestSaysNothing(t *testing.T) {
	w := newWay(t, model.Egress{Host: "a.example.com", Port: 443, Protocol: "tls"})
	w.wants("", 443)
	_, _ = w.hear(t)
	if e := w.seen.next(t); e.Allowed || code(&e) != "canonicalise:host-unsaid" {
		t.Errorf("got %+v", e)
	}
}

func TestRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
		all := []netip.AddrPort{at("1.1.1.1:1"), at("1.1.1.2:1"), at("[2620::1]:1"), at("[2620::2]:1")}
		if got, want := egress.InTurn(all), []netip.AddrPort{all[2], all[0], all[3], all[1]}; !slices.Equal(got, want) {
			t.Errorf("got %v", got)
		}
		var closed atomic.Int32
		answer := func(after map[string]time.Duration) func(context.Context, string) (net.Conn, error) {
			return func(ctx context.Context, a string) (net.Conn, error) {
				d, ok := after[a]
				if !ok {
					return nil, errors.New("refused")
				}
				select {
				case <-time.After(d):
					c, _ := net.Pipe()
					return counted{c, &closed}, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
		}
		for _, c := range []struct {
			after    map[string]time.Duration
			want     string
			attempts int
		}{
			{map[string]time.Duration{"[2620::1]:1": 0}, "[2620::1]:1", 1},
			{map[string]time.Duration{"[2620::1]:1": time.Minute, "1.1.1.1:1": time.Millisecond}, "1.1.1.1:1", 2},
			{map[string]time.Duration{"1.1.1.2:1": 0}, "1.1.1.2:1", 4},
			{map[string]time.Duration{"[2620::1]:1": 400 * time.Millisecond, "1.1.1.1:1": 300 * time.Millisecond}, "[2620::1]:1", 2},
			{nil, "", 4},
			{map[string]time.Duration{"[2620::1]:1": time.Hour, "1.1.1.1:1": time.Hour, "[2620::2]:1": time.Hour, "1.1.1.2:1": time.Hour}, "", 4},
		} {
			got := ""
			won, attempts := egress.Race(t.Context(), 5*time.Second, all, answer(c.after))
			if won != nil {
				got = egress.At(won)
			}
			if got != c.want || attempts != c.attempts {
				t.Errorf("%v: got %q after %d attempts", c.after, got, attempts)
			}
		}
	})
}

type counted struct {
	net.Conn
	closed *atomic.Int32
}

func (c counted) Close() error { c.closed.Add(1); return c.Conn.Close() }
