package engine

import (
	"sync/atomic"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
)

// Client counts the requests in flight of one client address, over all its connections.
type Client struct{ inFlight atomic.Int64 }

// hold counts a request that begins, let one that has ended. A nil Client counts nothing.
func (c *Client) hold() {
	if c != nil {
		c.inFlight.Add(1)
	}
}

func (c *Client) let() {
	if c != nil {
		c.inFlight.Add(-1)
	}
}

// hoards reports whether the client has more than a quarter of a bound of which more than half is used: so much may be
// held as long as nobody else needs it, and no single address can keep all others out. An address that speaks for
// others, a trusted proxy or a sidecar, is not one client.
func (x *exchange) hoards(used, bound int) bool {
	c := x.call.Conn.Client
	if c == nil || 2*used <= bound || 4*int(c.inFlight.Load()) <= bound || x.table.Side != Edge {
		return false
	}
	for _, p := range x.table.Trusted {
		if p.Contains(x.call.Conn.Peer) {
			return false
		}
	}
	return true
}

func hoarding() *proxy.Denial {
	return &proxy.Denial{Kind: proxy.KindOverloaded, Reasons: []event.Reason{{Code: "client-in-flight", Text: "the client's address has more than its share of the requests in flight"}}}
}

// overload returns why a request is not served at all while n are in flight, or nil.
func (x *exchange) overload(n int) *proxy.Denial {
	if n > x.table.Requests {
		return &proxy.Denial{Kind: proxy.KindOverloaded, Reasons: []event.Reason{{Code: "requests-in-flight", Text: "the gateway is serving as many requests as it may"}}}
	}
	if x.hoards(n, x.table.Requests) {
		return hoarding()
	}
	return nil
}
