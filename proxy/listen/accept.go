package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/palisade-security/palisade/proxy/engine"
)

// accept takes connections until ctx ends, and lets each become a connection of HTTP/1.x or HTTP/2 on its
// own, so that a slow handshake holds up nobody. The connection bounds bound the handshakes too.
func (s *Server) accept(ctx, hands context.Context, shaking *sync.WaitGroup) error {
	const first, most = 5 * time.Millisecond, time.Second
	pause := first
	for {
		c, err := s.ln.Accept()
		switch {
		case err == nil:
			pause = first
			shaking.Go(func() { s.sort(hands, c) })
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the socket was closed to end this
		case !isTemporary(err):
			return err
		default: // too many open files: some will be closed
			wait := time.NewTimer(pause)
			select {
			case <-wait.C:
			case <-ctx.Done():
				wait.Stop()
				return nil
			}
			pause = min(2*pause, most)
		}
	}
}

// isTemporary reports whether the next accept may succeed, as net/http's server asks it.
func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// sort hands a connection to the server of its protocol.
func (s *Server) sort(ctx context.Context, c net.Conn) {
	switch {
	case s.o.HTTP != nil:
		s.side.push(c)
		return
	case s.o.TLS == nil:
		s.h1.Take(ctx, c, s.facts(c, nil))
		return
	}
	conn := tls.Server(c, s.o.TLS)
	shaking, cancel := context.WithTimeout(ctx, s.o.Header)
	defer cancel()
	if conn.HandshakeContext(shaking) != nil {
		_ = c.Close() // who fails the handshake has been told by an alert, if it speaks TLS at all
		return
	}
	state := conn.ConnectionState()
	if state.NegotiatedProtocol == "h2" {
		s.side.push(conn)
		return
	}
	s.h1.Take(ctx, conn, s.facts(c, &state))
}

// facts are what is known about a connection once it may send requests; state is what the handshake settled, if any.
func (s *Server) facts(c net.Conn, state *tls.ConnectionState) *engine.Conn {
	return engine.NewConn(s.o.Name, c.RemoteAddr().String(), state)
}

// factsOfTLS is facts of a connection whose handshake is over.
func (s *Server) factsOfTLS(c net.Conn) *engine.Conn {
	secure, ok := c.(*tls.Conn)
	if !ok {
		return s.facts(c, nil)
	}
	state := secure.ConnectionState()
	return s.facts(c, &state)
}
