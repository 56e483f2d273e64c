package upstream_test

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/palisade-security/palisade/proxy/upstream"
)

// TestBalancedUpgrade switches protocols at the address that can be reached, and counts the tunnel until it is closed.
func TestBalancedUpgrade(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_, _ = io.Copy(c, c)
	})
	q := get("/")
	q.Header.Set("Upgrade", "x")
	o := upstream.Options{}
	b := upstream.NewBalancer(o, upstream.HTTP1, addr, "127.0.0.1:1", "127.0.0.1:2")
	defer b.Close()
	inFlight := func() int { return b.State().Addresses[0].InFlight }
	var open []io.Closer
	for range 20 {
		_, c, err := b.Upgrade(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "hi"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if n := inFlight(); n != len(open) {
		t.Errorf("%d in flight with %d tunnels", n, len(open))
	}
	for _, c := range slices.Concat(open, open) { // closing twice does no harm
		_ = c.Close()
	}
	if n := inFlight(); n != 0 {
		t.Errorf("%d in flight with no tunnel", n)
	}
	b.Replace([]string{"127.0.0.1:1", "127.0.0.1:2"})
	if _, _, err := b.Upgrade(t.Context(), q); !errors.Is(err, upstream.ErrDial) {
		t.Errorf("out of reach everywhere: %v", err)
	}
	h2 := upstream.NewBalancer(o, upstream.HTTP2, addr)
	defer h2.Close()
	if _, _, err := h2.Upgrade(t.Context(), q); !errors.Is(err, upstream.ErrRequest) {
		t.Errorf("over HTTP/2: %v", err)
	}
}
