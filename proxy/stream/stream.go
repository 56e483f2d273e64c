// Package stream carries connections that are not HTTP through the mesh: those of PostgreSQL, Redis, AMQP, NATS and
// whatever else speaks over TCP. It decides once, by the identity of the caller, and then hands bytes on; it knows
// what they mean only for a NATS broker, who must be told who connects. Requests over HTTP go through package engine,
// which decides about each of them. Package egress uses the Server for what leaves the fleet.
package stream

import (
	"context"
	"crypto/tls"
	"io"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
)

// Recorder keeps events, as the engine's does: Durable returns after the event is safe on disk, Observe never
// blocks. Neither keeps e after it returns.
type Recorder interface {
	Durable(ctx context.Context, e *event.Event) error
	Observe(e *event.Event)
}

// Decider says whether a service may connect, and why. It is asked once for each connection, and again about all
// open ones when the rules change. The reasons must not be changed afterwards. It is safe for concurrent use.
type Decider interface {
	Decide(caller *proxy.Workload) (allowed bool, reasons []event.Reason)
}

// Peer says which service is at the other end once the handshake is over. An error refuses the connection. Closing
// conn cuts it; ended is called when it has ended, if it is not nil. It is that of listen.Options.
type Peer func(state *tls.ConnectionState, conn io.Closer) (w *proxy.Workload, ended func(), err error)

// Rules are what a snapshot says about the connections of a Server. They are immutable.
type Rules struct {
	Fleet    string
	Snapshot string
	Callers  Decider           // nil: nobody
	Terms    map[string]string // by SPIFFE ID: what a caller may do on a connection that it may have; whoever's change is cut
	Redactor *event.Redactor   // nil: what is always redacted
	Strict   bool              // refuse what cannot be recorded before it has an effect
	Idle     time.Duration     // in place of Bounds.Idle for connections that begin under these rules; 0: that one
}

func (r *Rules) terms(caller *proxy.Workload) string {
	if caller == nil {
		return ""
	}
	return r.Terms[caller.SPIFFEID]
}

// Bounds are those of a Server. Zero values take the default named at each.
type Bounds struct {
	Handshake   time.Duration // of the side that connects, and for the first bytes of protocols that are looked into; 10s
	Dial        time.Duration // to reach an address, handshake included; 5s
	Idle        time.Duration // without a byte in either direction; 1h, negative: no bound. It is kept to within half of it more
	Total       time.Duration // of a connection; 0: no bound
	Drain       time.Duration // for connections to end when the Server does; 30s
	Connections int           // at once; 1024
	PerCaller   int           // at once of one service; 256
}

const (
	defaultHandshake   = 10 * time.Second
	defaultDial        = 5 * time.Second
	defaultIdle        = time.Hour
	defaultDrain       = 30 * time.Second
	defaultConnections = 1024
	defaultPerCaller   = 256

	// strangersPart is the part of all connections that may be in their handshakes, so that who proves nothing
	// cannot keep out who could.
	strangersPart = 4
)

func (b Bounds) resolved() Bounds {
	or(&b.Handshake, defaultHandshake)
	or(&b.Dial, defaultDial)
	or(&b.Drain, defaultDrain)
	or(&b.Connections, defaultConnections)
	or(&b.PerCaller, defaultPerCaller)
	if b.Idle == 0 {
		b.Idle = defaultIdle
	}
	return b
}

func or[T int | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}
