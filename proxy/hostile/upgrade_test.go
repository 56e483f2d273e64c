package hostile_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/proxy/engine"
)

const handshake = "GET /socket HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// switching answers a handshake and leaves the connection to whatever is read as requests.
func switching(r *http.Request, b []byte) string {
	if r.Header.Get("Upgrade") == "websocket" && r.URL.Path == "/socket" {
		return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	}
	return say(r, b)
}

// TestUpgrade holds that after a switch every byte passes, and that a client that does not wait for it cannot
// send what the service would read as another protocol than the gateway does.
func TestUpgrade(t *testing.T) {
	sockets := bounds{answer: switching, route: func(r *engine.Route) { r.WebSocket = true }}
	t.Run("passes", func(t *testing.T) {
		f := newFront(t, sockets)
		c := f.dial(t, "http/1.1")
		b := bufio.NewReader(c)
		for range 2 { // an ordinary request first
			if _, err := io.WriteString(c, hidden); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(b, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		if _, err := io.WriteString(c, handshake); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(b, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v %v", resp, err)
		}
		_ = resp.Body.Close()
		// No head, bare line feeds: the guard would refuse it; the echo behind reads it as a request.
		frame := "GET /frame HTTP/1.1\nHost: x\n\n"
		if _, err := io.WriteString(c, frame); err != nil {
			t.Fatal(err)
		}
		if resp, err = http.ReadResponse(b, nil); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%v %v", resp, err)
		}
		_ = resp.Body.Close()
		if got := f.echo.all(); !strings.HasSuffix(got, "\r\n\r\n"+frame) {
			t.Errorf("the service got %q", got)
		}
	})
	for name, early := range map[string]string{"a request behind": hidden, "a frame behind": "\x81\x05hello", "half a request behind": "GET /hid"} {
		t.Run(name, func(t *testing.T) {
			f := newFront(t, sockets)
			answers := f.raw(t, handshake+early)
			if len(answers) == 0 || answers[0].status != 400 || !answers[0].close {
				t.Errorf("answers %+v", answers)
			}
			if got := f.echo.all(); strings.Contains(got, "hid") || strings.Contains(got, "hello") {
				t.Errorf("the service got %q", got)
			}
		})
	}
	t.Run("refused switch", func(t *testing.T) {
		f := newFront(t, bounds{answer: switching})
		answers := f.raw(t, last(handshake+hidden))
		if got := fmt.Sprint(statuses(answers)); got != "[400 200 200]" && got != "[400]" {
			t.Errorf("answers %+v", answers)
		}
	})
}

// TestHalfClosed holds that a client that closes its half early never gets a false success.
func TestHalfClosed(t *testing.T) {
	f := newFront(t, bounds{})
	for range 20 {
		c := f.dial(t, "http/1.1")
		if _, err := io.WriteString(c, hidden); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		for _, a := range readAll(t, net.Conn(c)) {
			if a.status == 200 && a.body != "saw GET /hidden" {
				t.Errorf("answer %+v", a)
			}
		}
	}
}
