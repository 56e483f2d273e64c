package engine

import (
	"net/netip"
	"testing"
)

// TestShare holds that one address may hold much only as long as nobody else needs it.
func TestShare(t *testing.T) {
	peer := netip.MustParseAddr("203.0.113.7")
	for _, c := range []struct {
		name        string
		side        Side
		trusted     string
		held, used  int
		uncounted   bool
		want        bool
		wantRefusal string
	}{
		{name: "little is used", held: 50, used: 50},
		{name: "much is used, by others", held: 25, used: 100},
		{name: "much is used, by this one", held: 26, used: 51, want: true, wantRefusal: "client-in-flight"},
		{name: "a trusted proxy speaks for many", held: 90, used: 100, trusted: "203.0.113.0/24"},
		{name: "a sidecar speaks for the edge", side: Inbound, held: 90, used: 100},
		{name: "nobody counts", held: 90, used: 100, uncounted: true},
		{name: "all is used", held: 1, used: 101, wantRefusal: "requests-in-flight"},
	} {
		client := &Client{}
		for range c.held {
			client.hold()
		}
		x := &exchange{table: &Table{Side: c.side, Requests: 100}, call: &Call{Conn: &Conn{Peer: peer, Client: client}}}
		if c.uncounted {
			x.call.Conn.Client = nil
		}
		if c.trusted != "" {
			x.table.Trusted = []netip.Prefix{netip.MustParsePrefix(c.trusted)}
		}
		if got := x.hoards(c.used, 100); got != c.want {
			t.Errorf("%s: hoards %t", c.name, got)
		}
		refusal := ""
		if d := x.overload(c.used); d != nil {
			refusal = d.Reasons[0].Code
		}
		if refusal != c.wantRefusal {
			t.Errorf("%s: refused with %q, want %q", c.name, refusal, c.wantRefusal)
		}
		client.let()
		if n := client.inFlight.Load(); n != int64(c.held-1) {
			t.Errorf("%s: %d are counted", c.name, n)
		}
	}
}
