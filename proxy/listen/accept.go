package listen

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	"github.com/palisade-security/palisade/internal/accept"
	"github.com/palisade-security/palisade/proxy/engine"
)

// accept takes connections until ctx ends, and lets each become a connection of HTTP/1.x or HTTP/2 on its
// own, so that a slow handshake holds up nobody. The connection bounds bound the handshakes too.
func (s *Server) accept(ctx, hands context.Context, shaking *sync.WaitGroup) error {
	return accept.Loop(ctx, s.ln, func(c net.Conn) { shaking.Go(func() { s.sort(ctx, hands, c) }) })
}

// sort hands a connection to the server of its protocol.
func (s *Server) sort(accepting, ctx context.Context, c net.Conn) {
	switch {
	case s.o.HTTP != nil:
		s.side.push(c)
		return
	case s.o.TLS == nil && s.o.Clear:
		s.sortClear(accepting, c)
		return
	case s.o.TLS == nil:
		if facts, err := s.introduce(ctx, c, nil); err == nil {
			s.h1.Take(ctx, c, facts)
		}
		return
	}
	conn := tls.Server(c, s.o.TLS)
	shaking, cancel := context.WithTimeout(ctx, s.o.Header)
	defer cancel()
	if err := conn.HandshakeContext(shaking); err != nil {
		_ = c.Close() // who fails the handshake has been told by an alert, if it speaks TLS at all
		s.refused(ctx, c, err)
		return
	}
	state := conn.ConnectionState()
	facts, err := s.introduce(ctx, c, &state)
	switch {
	case err != nil:
	case state.NegotiatedProtocol == "h2":
		s.take2(ctx, conn, facts)
	default:
		s.h1.Take(ctx, conn, facts)
	}
}

// take2 hands a connection over to who speaks HTTP/2.
func (s *Server) take2(ctx context.Context, c net.Conn, facts *engine.Conn) {
	if s.h2 != nil {
		s.h2.Take(ctx, c, facts)
		return
	}
	s.known.Store(c, facts)
	s.side.push(c)
}

// introduce finds out who has connected, or closes the connection.
func (s *Server) introduce(ctx context.Context, c net.Conn, state *tls.ConnectionState) (*engine.Conn, error) {
	facts := s.facts(c, state)
	if s.o.Peer == nil {
		return facts, nil
	}
	w, ended, err := s.o.Peer(state, c)
	if err != nil {
		_ = c.Close() // it has been refused, which the handshake did not know yet
		s.refused(ctx, c, err)
		return nil, err
	}
	if bound, ok := c.(*boundConn); ok && ended != nil {
		free := bound.free
		bound.free = sync.OnceFunc(func() { ended(); free() })
	}
	facts.Workload = w
	return facts, nil
}

func (s *Server) refused(ctx context.Context, c net.Conn, err error) {
	if s.o.Refused != nil {
		s.o.Refused(ctx, c.RemoteAddr(), err)
	}
}

// facts are what is known about a connection once it may send requests; state is what the handshake settled, if any.
func (s *Server) facts(c net.Conn, state *tls.ConnectionState) *engine.Conn {
	facts := engine.NewConn(s.o.Name, c.RemoteAddr().String(), state)
	if bound, ok := c.(*boundConn); ok {
		facts.Client = &bound.from.client
	}
	return facts
}

// factsOf is what introduce found out about a connection.
func (s *Server) factsOf(c net.Conn) *engine.Conn {
	if known, ok := s.known.LoadAndDelete(c); ok {
		if facts, ok := known.(*engine.Conn); ok {
			return facts
		}
	}
	return s.facts(c, nil)
}
