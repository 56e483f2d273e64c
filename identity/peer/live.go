package peer

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/palisade-security/palisade/identity/revocation"
)

// ErrOld tells that a revocation list is older than the one in force.
var ErrOld = errors.New("an older revocation list")

// Live is the connections that are up and the list by which some of them must not be. It is safe for concurrent
// use. The zero value is ready: it holds no connections and denies nothing.
type Live struct {
	denied atomic.Pointer[revocation.List]

	mu    sync.Mutex // a list comes into force, or a connection is added: never both at once
	conns map[*Conn]struct{}
}

// Conn is a connection that is up.
type Conn struct {
	Peer Peer
	live *Live
	io   io.Closer
}

// Denied returns the list in force; nil denies nothing.
func (l *Live) Denied() *revocation.List { return l.denied.Load() }

// Barred returns why no peer with this identity can be there now, a *Refusal, or nil. It saves the way to one that is revoked, and
// knows why nobody answers there.
func (l *Live) Barred(id spiffeid.ID) error {
	if entry, barred := l.Denied().Bars(id, ""); barred {
		return revoked(Peer{ID: id}, entry)
	}
	return nil
}

// Track adds a connection. Between its handshake and now the peer may have been revoked: then the error is a
// *Refusal and the connection is not added, nor closed. Closing conn must not block: hand in the socket below
// TLS (tls.Conn.NetConn), since a TLS close waits for its peer to take the goodbye.
func (l *Live) Track(p Peer, conn io.Closer) (*Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if entry, refused := l.Denied().Refuses(p.subject()); refused {
		return nil, revoked(p, entry)
	}
	c := &Conn{Peer: p, live: l, io: conn}
	if l.conns == nil {
		l.conns = map[*Conn]struct{}{}
	}
	l.conns[c] = struct{}{}
	return c, nil
}

// Release takes a connection off, when it has ended. Releasing twice does nothing.
func (c *Conn) Release() {
	c.live.mu.Lock()
	defer c.live.mu.Unlock()
	delete(c.live.conns, c)
}

// Deny brings a list into force and cuts the connections that it refuses; it returns their peers. A list with a
// lower sequence number than the one in force is refused with ErrOld: pushes may come out of order.
func (l *Live) Deny(list *revocation.List) ([]Peer, error) {
	l.mu.Lock()
	if old := l.Denied(); list.Sequence() < old.Sequence() {
		l.mu.Unlock()
		return nil, fmt.Errorf("taking revocation list %d after %d: %w", list.Sequence(), old.Sequence(), ErrOld)
	}
	l.denied.Store(list)
	cut := l.take(func(p Peer) bool {
		_, refused := list.Refuses(p.subject())
		return refused
	})
	l.mu.Unlock()
	return closeAll(cut), nil
}

// Cut closes the connections of peers that match, and returns them: for what is narrowed elsewhere, such as a
// trust domain that is no longer federated with.
func (l *Live) Cut(match func(Peer) bool) []Peer {
	l.mu.Lock()
	cut := l.take(match)
	l.mu.Unlock()
	return closeAll(cut)
}

// Peers returns the peers of all connections, one for each connection.
func (l *Live) Peers() []Peer {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Peer, 0, len(l.conns))
	for c := range l.conns {
		out = append(out, c.Peer)
	}
	return out
}

// take removes the connections that match. It looks at all: tens of thousands take milliseconds, and a list is
// pushed seldom.
func (l *Live) take(match func(Peer) bool) []*Conn {
	var out []*Conn
	for c := range l.conns {
		if match(c.Peer) {
			out = append(out, c)
			delete(l.conns, c)
		}
	}
	return out
}

// closeAll closes connections; what closing says is of no use, they are gone either way.
func closeAll(conns []*Conn) []Peer {
	out := make([]Peer, 0, len(conns))
	for _, c := range conns {
		_ = c.io.Close()
		out = append(out, c.Peer)
	}
	return out
}
