package listen_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/listen"
)

const hang = time.Minute

// options are those of a listener on a free port.
func options(h engine.Handler) listen.Options {
	return listen.Options{
		Name: "public", Address: "127.0.0.1:0", Handler: h, Header: hang, Idle: hang, Drain: hang,
		HeaderBytes: 16 << 10, Connections: 64, PerAddress: 64,
	}
}

func secure(t *testing.T, o listen.Options) listen.Options {
	t.Helper()
	certs := httptest.NewUnstartedServer(nil)
	certs.StartTLS()
	t.Cleanup(certs.Close)
	cert := certs.TLS.Certificates[0]
	o.TLS = listen.Config(false, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil })
	return o
}

// run serves until the returned function is called, which waits for the end.
func run(t *testing.T, o listen.Options) (*listen.Server, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := listen.Bind(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var ended bool
	stop := func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return s, stop
}

func dial(t *testing.T, s *listen.Server) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(hang)); err != nil {
		t.Fatal(err)
	}
	return c
}

func ask(t *testing.T, c net.Conn, request string) (int, string) {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Location")
}

func TestRedirect(t *testing.T) {
	s, _ := run(t, options(listen.Redirect("8443", func() []string { return []string{"a.example", "*.b.example"} })))
	for _, c := range []struct {
		request  string
		status   int
		location string
	}{
		{"GET /x?y HTTP/1.1\r\nHost: A.example:80\r\n\r\n", 308, "https://a.example:8443/x?y"},
		{"GET /x HTTP/1.1\r\nHost: c.b.example\r\n\r\n", 308, "https://c.b.example:8443/x"},
		{"GET /x HTTP/1.1\r\nHost: evil.example\r\n\r\n", 404, ""},
		{"GET //evil.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", 404, ""},
		{"OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n", 404, ""},
		{"GET /x HTTP/1.1\nHost: a.example\r\n\r\n", 400, ""},
		{"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, ""},
		{"GET /" + strings.Repeat("x", 20<<10) + " HTTP/1.1\r\nHost: a.example\r\n\r\n", 414, ""},
	} {
		if status, location := ask(t, dial(t, s), c.request); status != c.status || location != c.location {
			t.Errorf("%.80q: got %d %q, want %d %q", c.request, status, location, c.status, c.location)
		}
	}
}

// saying answers what f returns.
func saying(f func(c *engine.Call) (int, string)) engine.Handler {
	return engine.HandlerFunc(func(_ context.Context, c *engine.Call) bool {
		status, text := f(c)
		c.Answer.Begin(status, nil, int64(len(text)))
		_, err := c.Answer.Write([]byte(text))
		return err == nil
	})
}

// protocols are what a handler saw.
func protocols() engine.Handler {
	return saying(func(c *engine.Call) (int, string) {
		if c.Conn.TLS.Version != "1.3" || c.Conn.Listener != "public" || !c.Conn.Peer.IsLoopback() {
			return http.StatusInternalServerError, ""
		}
		return http.StatusOK, c.Proto
	})
}

// TestProtocols holds that both versions reach the handler with the handshake's result.
func TestProtocols(t *testing.T) {
	s, _ := run(t, secure(t, options(protocols())))
	for _, h2 := range []bool{false, true} {
		tr := &http.Transport{ForceAttemptHTTP2: h2, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		defer tr.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: tr}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		want := "HTTP/1.1"
		if h2 {
			want = "HTTP/2.0"
		}
		if resp.StatusCode != http.StatusOK || string(body) != want {
			t.Errorf("got %d %q, want %q", resp.StatusCode, body, want)
		}
	}
}

// TestDrain holds that a handshake and a request that have begun end well, while nobody new gets in.
func TestDrain(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s, stop := run(t, secure(t, options(saying(func(c *engine.Call) (int, string) {
		if c.Target == "/slow" {
			close(entered)
			<-leave
		}
		return http.StatusOK, "served"
	}))))
	config := &tls.Config{InsecureSkipVerify: true}
	slow := tls.Client(dial(t, s), config)
	if _, err := io.WriteString(slow, "GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-entered
	shaking := dial(t, s) // TCP alone; the handshake follows during the drain
	address := s.Addr().String()
	ended := make(chan struct{})
	go func() { defer close(ended); stop() }()
	for { // until the socket is closed
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			break
		}
		_ = c.Close()
	}
	if status, _ := ask(t, tls.Client(shaking, config), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); status != http.StatusOK {
		t.Errorf("the connection whose handshake was under way got %d", status)
	}
	close(leave)
	if all, err := io.ReadAll(slow); err != nil || !strings.HasSuffix(string(all), "served") {
		t.Errorf("the request in flight got %q, %v", all, err)
	}
	<-ended
}

// TestInherit holds that a successor takes over the socket before its predecessor gives it up.
func TestInherit(t *testing.T) {
	first := options(saying(func(*engine.Call) (int, string) { return http.StatusNotFound, "" }))
	s, stop := run(t, first)
	second := options(saying(func(*engine.Call) (int, string) { return http.StatusTeapot, "" }))
	// The address must be the declared one, as it is when a listener is changed.
	second.Address, second.Inherit = first.Address, s
	heir, _ := run(t, second)
	if heir.Addr().String() != s.Addr().String() {
		t.Fatalf("the heir has %s, not %s", heir.Addr(), s.Addr())
	}
	stop()
	if status, _ := ask(t, dial(t, heir), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); status != http.StatusTeapot {
		t.Errorf("got %d", status)
	}
}

// TestAdmin holds that net/http serves what is given to it, within the same bounds.
func TestAdmin(t *testing.T) {
	o := options(nil)
	o.HTTP = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	s, stop := run(t, o)
	if status, _ := ask(t, dial(t, s), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); status != http.StatusTeapot {
		t.Errorf("got %d", status)
	}
	stop()
}
