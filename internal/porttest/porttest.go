// Package porttest finds ports for tests whose processes must know theirs before they start. It is for tests only; what can say where it listens
// takes port 0.
package porttest

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"testing"
)

// Between these, no kernel in its default settings chooses a port by itself (ip_local_port_range): a port that nobody has now is not
// taken by somebody's outgoing connection before the process under test comes to listen on it.
const (
	lowest  = 12_000
	highest = 32_000
)

// Free returns n addresses of the loopback interface that nobody listens on, host:port each.
func Free(t testing.TB, n int) []string {
	t.Helper()
	var out []string
	for len(out) < n {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(lowest+rand.IntN(highest-lowest))) //nolint:gosec // G404: no secret
		ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close() // at the end: no address comes twice
		out = append(out, address)
	}
	return out
}

// FreePort returns the port of an address that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	return int(netip.MustParseAddrPort(Free(t, 1)[0]).Port())
}
