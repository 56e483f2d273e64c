package stream_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/stream"
)

// tokens stand for JWT-SVIDs.
const secret = "token-of:"

func asNATS(p *pair, _ *stream.Bounds) {
	p.inbound.NATS = &stream.NATS{Token: func(_ context.Context, w *proxy.Workload) (string, error) { return secret + w.SPIFFEID, nil }}
}

// broker is a real nats-server that takes one token.
func broker(t testing.TB, change func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, Authorization: secret + id("orders")}
	change(o)
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the broker does not start")
	}
	return s
}

func TestNATS(t *testing.T) {
	s := broker(t, func(*server.Options) {})
	p := newPair(t, "tcp", s.Addr().String(), asNATS)
	a, b := connect(t, p, nil), connect(t, p, nil)
	heard := make(chan *nats.Msg, 2000)
	sub, err := a.ChanSubscribe("orders.>", heard)
	if err != nil || a.Flush() != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("CONNECT {}\r\nPUB x 1\r\n"), 10_000)
	m := nats.NewMsg("orders.2")
	m.Header.Set("A", "b")
	m.Data = []byte("with a header")
	if errors.Join(b.Publish("orders.1", big), b.PublishMsg(m), b.PublishRequest("orders.3", "back", nil)) != nil || b.Flush() != nil {
		t.Fatal("publishing failed")
	}
	first, second, third := <-heard, <-heard, <-heard
	if !bytes.Equal(first.Data, big) || second.Header.Get("A") != "b" || string(second.Data) != "with a header" || third.Reply != "back" {
		t.Errorf("got %q, %q, %v", first.Subject, second.Data, second.Header)
	}
	for range 1000 {
		if err := b.Publish("orders.4", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for range 1000 {
		<-heard
	}
	if err := sub.Unsubscribe(); err != nil {
		t.Error(err)
	}
	if urls := a.DiscoveredServers(); len(urls) != 0 || a.TLSRequired() {
		t.Errorf("the client heard of %v", urls)
	}
	a.Close()
	e := p.inSeen.next(t)
	if !e.Allowed || e.Aborted != "" || e.Connection.Protocol != "nats" || e.Workload != id("orders") || e.BytesOut < int64(len(big)) {
		t.Errorf("got %+v", e)
	}
}

func connect(t testing.TB, p *pair, wrong error, options ...nats.Option) *nats.Conn {
	t.Helper()
	c, err := nats.Connect("nats://"+p.address, append(options, nats.NoReconnect(), nats.Timeout(5*time.Second))...)
	if wrong != nil {
		if err == nil {
			c.Close()
			t.Fatal("connected")
		}
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestNATSOwnCredentials refuses who brings credentials, even those of another who is let in.
func TestNATSOwnCredentials(t *testing.T) {
	s := broker(t, func(*server.Options) {})
	p := newPair(t, "tcp", s.Addr().String(), asNATS)
	for name, o := range map[string]nats.Option{
		"token": nats.Token(secret + id("orders")), "user": nats.UserInfo("admin", "x"),
	} {
		connect(t, p, errors.New("refused"), o)
		if e := p.inSeen.next(t); e.Allowed || code(&e) != "authenticate:own-credentials" {
			t.Errorf("%s: got %s %+v", name, code(&e), e)
		}
	}
	for connectLine, want := range map[string]string{
		`CONNECT {"user":"","pass":null,"verbose":false}`: "",
		`CONNECT {"USER":"admin","pass":"x"}`:             "authenticate:malformed-connect",
		`CONNECT {"u\u017fer":"admin"}`:                   "authenticate:malformed-connect",
		`CONNECT {"user":"","user":"admin"}`:              "authenticate:malformed-connect",
		`CONNECT {"jwt":"eyJ"}`:                           "authenticate:own-credentials",
		`CONNECT {"nkey":"U"}`:                            "authenticate:own-credentials",
		`CONNECT {"sig":"U"}`:                             "authenticate:own-credentials",
		`CONNECT {"proxy_sig":"U"}`:                       "authenticate:own-credentials",
		`CONNECT {"account":"SYS"}`:                       "authenticate:own-credentials",
		`CONNECT {"auth_token":{}}`:                       "authenticate:own-credentials",
		`CONNECT {"verbose":"yes"}`:                       "authenticate:malformed-connect",
		`CONNECT {} {}`:                                   "authenticate:malformed-connect",
		`CONNECT []`:                                      "authenticate:malformed-connect",
		`connect {}`:                                      "authenticate:no-nats-client",
		`PING`:                                            "authenticate:no-nats-client",
		"CONNECT {}\x00":                                  "authenticate:malformed-connect",
		`CONNECT {"name":"` + strings.Repeat("x", 17<<10) + `"}`: "authenticate:no-nats-client",
	} {
		c := dial(t, p.address)
		_, _ = io.WriteString(c, connectLine+"\r\nPING\r\n")
		got, _ := readUntil(c, "PONG\r\n")
		if (want == "") != got {
			t.Errorf("%s: PONG %t", connectLine, got)
		}
		_ = c.Close()
		if e := p.inSeen.next(t); code(&e) != want {
			t.Errorf("%s: got %q", connectLine, code(&e))
		}
	}
}

// readUntil reports whether a text comes before the end.
func readUntil(c net.Conn, text string) (bool, error) {
	var all []byte
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if all = append(all, buf[:n]...); bytes.Contains(all, []byte(text)) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// TestNATSSecondConnect cuts who says again who it is, wherever it hides that.
func TestNATSSecondConnect(t *testing.T) {
	s := broker(t, func(*server.Options) {})
	p := newPair(t, "tcp", s.Addr().String(), asNATS)
	for _, more := range []string{
		`CONNECT {"user":"admin"}` + "\r\n", `connect {"user":"admin"}` + "\r\n", "PUB a 1\r\nx\r\nCONNECT {}\r\n", "PUB a\rb 55\r\n", "PUB a 3\nabc\nCONNECT {}\r\n",
		"PUB a 1\r\nxx\r\n", "PUB a +1\r\nx\r\n", "PUB 1\r\n", "PUB a b c 1\r\n", "HPUB a 1\r\n", "PUB a 9999999999\r\n", "\r\n", "PUB\r\n", "INFO {}\r\n", "-ERR\r\n", "PINGCONNECT\r\n", "SUB a\x00b 1\r\n",
	} {
		c := dial(t, p.address)
		_, _ = io.WriteString(c, "CONNECT {\"verbose\":false}\r\nPING\r\n")
		if ok, err := readUntil(c, "PONG\r\n"); !ok {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, more+"PING\r\n")
		if ok, _ := readUntil(c, "PONG\r\n"); ok {
			t.Errorf("%q was taken", more)
		}
		_ = c.Close()
		if e := p.inSeen.next(t); e.Allowed || code(&e) != "forward:nats-protocol" {
			t.Errorf("%q: got %q %+v", more, code(&e), e)
		}
	}
}

func TestNATSBrokerOdd(t *testing.T) {
	for name, says := range map[string]string{
		"no broker": "HTTP/1.1 400 Bad Request\r\n\r\n", "wants TLS": `INFO {"tls_required":true}` + "\r\n", "no JSON": "INFO x\r\n", "bare LF": "INFO {}\n",
		"endless": strings.Repeat("x", 65<<10),
	} {
		p := newPair(t, "tcp", serve(t, func(c *net.TCPConn) {
			_, _ = io.WriteString(c, says)
			_, _ = io.ReadFull(c, make([]byte, 1))
		}), asNATS)
		_, _ = hear(t, p.address)
		if e := p.inSeen.next(t); code(&e) != "authenticate:no-nats-broker" || !e.Allowed || e.Problem != "upstream-failed" {
			t.Errorf("%s: got %s %+v", name, code(&e), e)
		}
	}
}

// TestNATSCallout publishes and subscribes as the model permits, at a broker that asks the callout who connects.
func TestNATSCallout(t *testing.T) {
	keys, err := bus.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s := brokerWithCallout(t, keys, log)
	p := newPair(t, "tcp", s, asNATS)
	var mu sync.Mutex
	var denied []string
	c := connect(t, p, nil, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		mu.Lock()
		defer mu.Unlock()
		denied = append(denied, err.Error())
	}))
	sub, err := c.SubscribeSync("orders.>")
	if err != nil {
		t.Fatal(err)
	}
	if errors.Join(c.Publish("orders.1", []byte("allowed")), c.Publish("payments.1", []byte("not"))) != nil || c.Flush() != nil {
		t.Fatal("publishing failed")
	}
	if m, err := sub.NextMsg(5 * time.Second); err != nil || string(m.Data) != "allowed" {
		t.Fatalf("got %v, %v", m, err)
	}
	if _, err := c.SubscribeSync("payments.>"); err != nil {
		t.Fatal(err)
	}
	_ = c.Flush()
	all := ""
	for range 5000 { // they are told behind the back
		mu.Lock()
		all = strings.Join(denied, "; ")
		n := len(denied)
		mu.Unlock()
		if n == 2 {
			break
		}
		pause(t)
	}
	if !strings.Contains(strings.ToLower(all), `permissions violation for publish to "payments.1"`) || !strings.Contains(strings.ToLower(all), `permissions violation for subscription to "payments.>"`) {
		t.Errorf("denied: %s", all)
	}
}

// brokerWithCallout is a broker of a fleet, configured by the keys of the callout that answers it. It returns its address.
func brokerWithCallout(t testing.TB, keys *bus.Keys, log *slog.Logger) string {
	t.Helper()
	text, err := keys.ServerConfig()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte("listen: \"127.0.0.1:-1\"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := broker(t, func(to *server.Options) { *to = *o; to.NoLog, to.NoSigs = true, true })
	a, err := bus.NewAuthorizer(bus.CalloutOptions{
		Keys: keys, Log: log,
		Token: func(_ context.Context, token string) (bus.Identity, error) {
			who, ok := strings.CutPrefix(token, secret)
			if !ok {
				return bus.Identity{}, errors.New("no token")
			}
			return bus.Identity{ID: who, Expires: time.Now().Add(time.Hour)}, nil
		},
		Permit: func(who string) (bus.Permissions, bool) {
			return bus.Permissions{Publish: []string{"orders.>"}, Subscribe: []string{"orders.>"}}, who == id("orders")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := bus.Connect(t.Context(), bus.Options{Name: "callout", URLs: []string{"nats://" + s.Addr().String()}, Keys: keys, Role: bus.Callout, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { _ = a.Run(ctx, client); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended; client.Close(context.WithoutCancel(t.Context())) })
	return s.Addr().String()
}
