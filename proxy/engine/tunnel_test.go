package engine_test

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/palisade-security/palisade/proxy/engine"
)

// floods is a service that switches protocols, then reads nothing and writes for as long as it is read.
func floods(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, err = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
	for err == nil {
		_, err = conn.Write(make([]byte, 64<<10))
	}
}

// shake dials the front and opens a WebSocket.
func (h *house) shake(t *testing.T, path string) net.Conn {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: "shop.localhost"}}
	conn, err := d.DialContext(t.Context(), "tcp", h.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, err = conn.Write([]byte("GET " + path + " HTTP/1.1\r\nHost: shop.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v", resp, err)
	}
	return conn
}

// TestTunnelEnds holds that a tunnel whose two ends only write ends with the client: by leaving, or by taking
// nothing for too long.
func TestTunnelEnds(t *testing.T) {
	for name, leave := range map[string]bool{"client leaves": true, "client takes nothing": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := plain("/live")
			r.WebSocket = true
			h := newHouse(t, http.HandlerFunc(floods), []*engine.Route{r}, func(t *engine.Table) { t.Write = time.Second })
			conn := h.shake(t, "/live")
			_ = conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
			for _, err := conn.Write(make([]byte, 64<<10)); err == nil; {
				_, err = conn.Write(make([]byte, 64<<10))
			}
			if leave {
				_ = conn.(*tls.Conn).NetConn().Close() // a goodbye could not be sent
			}
			for begun := time.Now(); h.engine.InFlight() > 0; time.Sleep(10 * time.Millisecond) {
				if time.Since(begun) > 10*time.Second { // TLS takes five to say goodbye to who takes nothing
					t.Fatal("the tunnel is still open")
				}
			}
		})
	}
}

// TestTunnelRests holds that a WebSocket in which nothing is said gives its place back, and is recorded as timed out.
func TestTunnelRests(t *testing.T) {
	r := plain("/live")
	r.WebSocket = true
	h := newHouse(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
		_, _ = conn.Read(make([]byte, 1)) // and says nothing
	}), []*engine.Route{r}, func(t *engine.Table) { t.Tunnel = 200 * time.Millisecond })
	conn := h.shake(t, "/live")
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes", n)
	}
	for h.engine.InFlight() > 0 && t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if e := h.events.last(t); e.Aborted != "timeout" {
		t.Errorf("recorded as aborted by %q", e.Aborted)
	}
}
