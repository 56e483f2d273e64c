package app

import (
	"net/netip"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app/capture"
	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/event"
)

func TestActOfAttempt(t *testing.T) {
	const self = "spiffe://shop.example/service/orders"
	at := time.Unix(1000, 0)
	inside, outside := netip.MustParseAddrPort("10.0.0.1:1234"), netip.MustParseAddrPort("203.0.113.7:53")
	for _, c := range []struct {
		attempt                        capture.Attempt
		who, object, reason, text, was string
		omitted                        int64
	}{
		{capture.Attempt{Protocol: "udp", From: inside, To: outside, UID: 7, Count: 1}, self, "udp 203.0.113.7:53", "past-sidecar", "sent by user 7", "", 0},
		{capture.Attempt{Protocol: "icmp", From: inside, To: netip.AddrPortFrom(outside.Addr(), 0), UID: -1, Count: 9}, self, "icmp 203.0.113.7", "past-sidecar", "", "", 8},
		{capture.Attempt{Protocol: "tcp", Inbound: true, From: outside, To: inside, UID: -1, Count: 1}, "", "tcp 10.0.0.1:1234", "toward-service", "", "203.0.113.7", 0},
		{capture.Attempt{Protocol: "tcp", Inbound: true, From: inside, To: inside, UID: 0, Count: 1}, "user 0", "tcp 10.0.0.1:1234", "toward-service", "", "10.0.0.1", 0},
		{capture.Attempt{UID: -1, Count: 1000}, self, "packets of several kinds", "past-sidecar", "", "", 999},
	} {
		c.attempt.Service, c.attempt.Time = "orders", at
		e := actOfAttempt(self, c.attempt)
		a := e.Act
		if a.Who != c.who || a.Object != c.object || a.Reason != c.reason || a.Text != c.text || e.Client != c.was || a.Omitted != c.omitted ||
			a.Kind != event.KindBypass || a.Outcome != event.Denied || a.Proxy != "orders" || e.Time != at {
			t.Errorf("%+v: got %s of %+v", c.attempt, observe.Line(e, observe.Style{}), a)
		}
	}
}
