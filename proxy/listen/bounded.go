package listen

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// bounded closes connections past a total and past a number per client address at once. A slow client can
// so hold a share of the sockets, never all of them.
type bounded struct {
	net.Listener
	total, each int

	mu    sync.Mutex
	ended chan struct{} // nil until someone waits; closed once no connection is open
	open  int
	per   map[netip.Addr]int
}

func newBounded(ln net.Listener, total, each int) *bounded {
	return &bounded{Listener: ln, total: total, each: each, per: make(map[netip.Addr]int)}
}

// Accept returns the next connection within the bounds.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		key := addressOf(c)
		if !b.take(key) {
			_ = c.Close() // refusing is all there is to say
			continue
		}
		return &boundConn{Conn: c, free: sync.OnceFunc(func() { b.give(key) })}, nil
	}
}

func (b *bounded) take(key netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open >= b.total || b.per[key] >= b.each {
		return false
	}
	b.open++
	b.per[key]++
	return true
}

func (b *bounded) give(key netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	if b.per[key]--; b.per[key] == 0 {
		delete(b.per, key)
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
	free func()
}

// Close closes the connection and gives its place back.
func (c *boundConn) Close() error {
	err := c.Conn.Close()
	c.free()
	return err
}

// CloseWrite tells the client that no more follows.
func (c *boundConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
