package listen

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/palisade-security/palisade/proxy/canon"
	"github.com/palisade-security/palisade/proxy/engine"
)

// stand is what net/http gets in place of a request that is refused: the answer to it is the refusal's. In place
// of a HEAD request it is one too, since the answer to that has no content.
const stand = "GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n"

const (
	holdBytes   = 4 << 10                // first size of what holds an incomplete head
	lingerBytes = 256 << 10              // read at most from a client that was refused, so that it sees why
	lingerTime  = 500 * time.Millisecond // and at most so long
)

// phase is how a guard treats what it reads.
type phase uint8

const (
	guarding phase = iota
	switched       // to another protocol: all passes
	refused        // the stand-in is on its way; nothing else passes
	broken         // within a body; nothing passes
)

// guard is a connection that lets through only HTTP/1.x that cannot be read in two ways. net/http mends
// much of what it reads before anyone can judge it: it drops a Content-Length beside a Transfer-Encoding, takes
// bare line feeds, folded lines and odd chunk sizes. The guard sees the bytes first. A head is let through when
// it is complete; in place of one that is refused net/http reads a stand-in, and whoever serves that request
// asks next for the refusal. Writes pass untouched.
type guard struct {
	net.Conn
	of    *guards
	heard func() // tells that it is silent no more

	mu      sync.Mutex
	phase   phase
	scan    scanner
	refusal *canon.Refusal
	served  int // requests that were taken by the handler
	final   bool

	// Bytes of hold: given out up to from, taken up to to, and the start of a head up to its length.
	hold     *[]byte
	from, to int

	until  time.Time // read deadline as net/http set it
	headBy time.Time // when an incomplete head must be complete
}

// guards is what the guards of one listener share.
type guards struct {
	limit   int            // bytes of a head
	header  time.Duration  // until a head is complete
	holds   sync.Pool      // of *[]byte
	cutting atomic.Bool    // connections are being closed at once
	silent  sync.WaitGroup // guards without a request yet
}

func (s *guards) guard(c net.Conn) *guard {
	s.silent.Add(1)
	return &guard{Conn: c, of: s, heard: sync.OnceFunc(s.silent.Done), scan: scanner{limit: s.limit}}
}

// secureGuard is a guard over TLS. net/http finds the handshake's result through ConnectionState.
type secureGuard struct {
	*guard
	tls *tls.Conn
}

// ConnectionState returns what the handshake settled.
func (g *secureGuard) ConnectionState() tls.ConnectionState { return g.tls.ConnectionState() }

// wire returns g, also of a connection that embeds it.
func (g *guard) wire() *guard { return g }

// Read hands out what was taken. One goroutine at a time may call it.
func (g *guard) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		into, n, err := g.ready(p)
		if n > 0 || err != nil {
			return n, err
		}
		n, err = g.Conn.Read(into)
		if n == 0 && err != nil {
			return 0, err // an error beside bytes comes again without them
		}
		if n = g.take(into, n); n > 0 {
			return n, nil
		}
	}
}

// ready gives out bytes that are held, or says where to read more to.
func (g *guard) ready(p []byte) (into []byte, n int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hold == nil {
		// net/http reads ahead while earlier requests are served; the error is not theirs.
		if g.phase == broken && g.served == g.scan.heads {
			return nil, 0, g.refusal
		}
		return p, 0, nil
	}
	h := *g.hold
	if g.from < g.to {
		n = copy(p, h[g.from:g.to])
		if g.from += n; g.from == len(h) {
			g.release()
		}
		return nil, n, nil
	}
	return g.spare(), 0, nil
}

// spare returns room after the start of a head, which is moved to the front, in a larger buffer if need be.
func (g *guard) spare() []byte {
	h := *g.hold
	if g.to > 0 {
		h = h[:copy(h, h[g.to:])]
		g.from, g.to = 0, 0
	}
	if len(h) == cap(h) {
		h = append(make([]byte, 0, 2*cap(h)), h...)
	}
	*g.hold = h
	return h[len(h):cap(h)]
}

// take scans n bytes that were read into b and returns how many of them, from the front, the caller gets. What
// it does not get is held.
func (g *guard) take(b []byte, n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.phase == refused || g.phase == broken:
		return 0
	case g.phase == switched && g.hold == nil:
		return n
	case g.hold == nil:
		to, rest, err := g.scan.advance(b[:n])
		switch {
		case err != nil:
			g.refuse(err)
		case to < len(rest):
			g.keep(rest[to:])
		}
		return to
	}
	h := (*g.hold)[:len(*g.hold)+n]
	to, h, err := g.scan.advance(h)
	*g.hold, g.to = h, to
	switch {
	case err != nil:
		*g.hold = h[:to]
		g.refuse(err)
	case to == len(h):
		g.complete()
	case to > 0: // what is held now is the start of another head
		g.headBy = time.Now().Add(g.of.header)
		_ = g.deadline() // fails only on a closed connection, which the next read finds out
	}
	if len(*g.hold) == 0 {
		g.release()
	}
	return 0
}

// keep holds the start of a head until the rest of it is there.
func (g *guard) keep(b []byte) {
	g.hold, _ = g.of.holds.Get().(*[]byte)
	if g.hold == nil {
		h := make([]byte, 0, holdBytes)
		g.hold = &h
	}
	*g.hold = append((*g.hold)[:0], b...)
	g.from, g.to = 0, 0
	if g.headBy.IsZero() {
		g.headBy = time.Now().Add(g.of.header)
		_ = g.deadline()
	}
}

// complete ends the wait for a head.
func (g *guard) complete() {
	if !g.headBy.IsZero() {
		g.headBy = time.Time{}
		_ = g.deadline()
	}
}

func (g *guard) release() {
	if cap(*g.hold) <= 2*holdBytes {
		g.of.holds.Put(g.hold)
	}
	g.hold, g.from, g.to = nil, 0, 0
}

// refuse ends what can be read: with the stand-in after all that came before, or, within a body, with the
// refusal as an error.
func (g *guard) refuse(why *canon.Refusal) {
	g.complete()
	g.refusal = why
	if g.scan.part != inHead {
		g.phase = broken
		return
	}
	g.phase = refused
	if g.hold == nil {
		h := make([]byte, 0, len(stand))
		g.hold = &h
	}
	if g.scan.head.bare {
		*g.hold = append(append(*g.hold, "HEAD"...), stand[len("GET"):]...)
	} else {
		*g.hold = append(*g.hold, stand...)
	}
	g.to = len(*g.hold)
}

// next counts a request that is about to be served and returns the refusal if it is the stand-in. net/http
// reads ahead, so the count alone tells which request is meant.
func (g *guard) next() *canon.Refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.served++; g.served == 1 {
		g.heard()
	}
	if g.phase == refused && g.served > g.scan.heads {
		return g.refusal
	}
	return nil
}

// Switch lets everything pass from now on, since the connection changes its protocol. It returns false if the
// client did not wait for that: then bytes it sent would be read as one protocol here and as another behind.
func (g *guard) Switch() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase != guarding || g.hold != nil || g.served != g.scan.heads || !g.scan.fresh() {
		return false
	}
	g.phase = switched
	return true
}

// SetReadDeadline sets the deadline of reads. An incomplete head may have an earlier one.
func (g *guard) SetReadDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until = t
	return g.deadline()
}

// SetDeadline sets the deadline of reads and writes.
func (g *guard) SetDeadline(t time.Time) error {
	if err := g.SetWriteDeadline(t); err != nil {
		return err
	}
	return g.SetReadDeadline(t)
}

func (g *guard) deadline() error {
	t := g.until
	if !g.headBy.IsZero() && (t.IsZero() || g.headBy.Before(t)) {
		t = g.headBy
	}
	return g.Conn.SetReadDeadline(t)
}

// CloseWrite tells the client that no more follows.
func (g *guard) CloseWrite() error {
	if half, ok := g.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close closes the connection. A client that was refused may still be sending; a reset would take the answer
// away from it, so what it sends is read for a moment.
func (g *guard) Close() error {
	g.heard()
	g.mu.Lock()
	linger := (g.phase == refused || g.phase == broken) && !g.final && !g.of.cutting.Load()
	g.final = true
	g.mu.Unlock()
	if linger && g.CloseWrite() == nil && g.Conn.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, g.Conn, lingerBytes) // how it ends does not matter
	}
	return g.Conn.Close()
}

// guardKey is the key of the guard in a connection's context.
type guardKey struct{}

// withGuard lets requests find their connection's guard, and the engine its switch.
func withGuard(ctx context.Context, g *guard) context.Context {
	return engine.WithSwitch(context.WithValue(ctx, guardKey{}, g), g.Switch)
}

func guardOf(ctx context.Context) *guard {
	g, _ := ctx.Value(guardKey{}).(*guard)
	return g
}
