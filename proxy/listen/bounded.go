package listen

import (
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/palisade-security/palisade/proxy/engine"
)

// bounded closes connections past a total and past a number per client address at once. A slow client can
// so hold a share of the sockets, never all of them.
type bounded struct {
	net.Listener
	total, each int

	mu    sync.Mutex
	ended chan struct{} // nil until someone waits; closed once no connection is open
	open  int
	per   map[netip.Addr]*source
}

// source is the connections of one client address.
type source struct {
	open   int
	client engine.Client
}

// Bounded closes connections of ln past a total and past a number per client address at once, for servers elsewhere.
func Bounded(ln net.Listener, total, each int) net.Listener { return newBounded(ln, total, each) }

func newBounded(ln net.Listener, total, each int) *bounded {
	return &bounded{Listener: ln, total: total, each: each, per: make(map[netip.Addr]*source)}
}

// Accept returns the next connection within the bounds.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		key := addressOf(c)
		from := b.take(key)
		if from == nil {
			_ = c.Close() // refusing is all there is to say
			continue
		}
		return &boundConn{Conn: c, from: from, free: sync.OnceFunc(func() { b.give(key) })}, nil
	}
}

// take returns where a connection comes from, or nil if there may be no more.
func (b *bounded) take(key netip.Addr) *source {
	b.mu.Lock()
	defer b.mu.Unlock()
	from := b.per[key]
	if b.open >= b.total || from != nil && from.open >= b.each {
		return nil
	}
	if from == nil {
		from = &source{}
		b.per[key] = from
	}
	b.open++
	from.open++
	return from
}

func (b *bounded) give(key netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	if from := b.per[key]; from != nil {
		if from.open--; from.open == 0 {
			delete(b.per, key)
		}
	}
	if b.open == 0 && b.ended != nil {
		close(b.ended)
		b.ended = nil
	}
}

// allEnded returns a channel that is closed once no connection is open. It is for a listener that accepts no more.
func (b *bounded) allEnded() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	ended := make(chan struct{})
	if b.open == 0 {
		close(ended)
	} else {
		b.ended = ended
	}
	return ended
}

// addressOf counts an IPv6 client by its /64, since one client owns all of it.
func addressOf(c net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

type boundConn struct {
	net.Conn
	from *source
	free func()
}

// Close closes the connection and gives its place back.
func (c *boundConn) Close() error {
	err := c.Conn.Close()
	c.free()
	return err
}

// SetLinger is that of the socket: 0 makes Close reset the connection.
func (c *boundConn) SetLinger(sec int) error {
	if t, ok := c.Conn.(interface{ SetLinger(sec int) error }); ok {
		return t.SetLinger(sec)
	}
	return errors.ErrUnsupported
}

// CloseWrite tells the client that no more follows.
func (c *boundConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
