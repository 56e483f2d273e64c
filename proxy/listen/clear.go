package listen

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/palisade-security/palisade/proxy/listen/h1"
)

// preface is how HTTP/2 with prior knowledge begins (RFC 9113, section 3.4), as far as it takes to tell it from a
// request of HTTP/1.x.
const preface = "PRI * HTTP/2.0\r\n"

// sortClear finds out by its first bytes which version of HTTP a connection without TLS speaks. Ctx ends when no more
// connections are taken.
func (s *Server) sortClear(ctx context.Context, c net.Conn) {
	facts, err := s.introduce(ctx, c, nil)
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // who is silent does not hold a drain up
	begun := &begunConn{Conn: c}
	h2, err := begun.peek(time.Now().Add(s.o.Header))
	ours := !stop()
	if err != nil && !ours && h1.NoRequest(err, len(begun.begin) > 0) {
		s.unspoken(ctx, c.RemoteAddr())
	}
	if ours || err != nil {
		_ = c.Close() // it said nothing in time
		return
	}
	if h2 {
		s.take2(context.WithoutCancel(ctx), begun, facts)
		return
	}
	s.h1.Take(context.WithoutCancel(ctx), begun, facts)
}

// ErrNoRequest tells that a connection without TLS ended before it brought a request.
var ErrNoRequest = errors.New("it did not send a request of HTTP in time")

func (s *Server) unspoken(ctx context.Context, remote net.Addr) {
	if s.o.Refused != nil {
		s.o.Refused(ctx, remote, ErrNoRequest)
	}
}

// begunConn gives out again what was read to find out about a connection.
type begunConn struct {
	net.Conn
	begin []byte
}

// peek reads until the protocol is clear.
func (c *begunConn) peek(by time.Time) (h2 bool, err error) {
	if err := c.SetReadDeadline(by); err != nil {
		return false, err
	}
	buf := make([]byte, 0, len(preface))
	for {
		n, err := c.Conn.Read(buf[len(buf):cap(buf)])
		if n == 0 && err != nil {
			return false, err
		}
		buf = buf[:len(buf)+n]
		c.begin = buf
		if string(buf) != preface[:len(buf)] || len(buf) == len(preface) {
			return string(buf) == preface, c.SetReadDeadline(time.Time{})
		}
	}
}

// Read reads on from the beginning.
func (c *begunConn) Read(p []byte) (int, error) {
	if len(c.begin) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.begin)
	c.begin = c.begin[n:]
	return n, nil
}

// SetLinger is that of the socket: 0 makes Close reset the connection.
func (c *begunConn) SetLinger(sec int) error {
	if t, ok := c.Conn.(interface{ SetLinger(sec int) error }); ok {
		return t.SetLinger(sec)
	}
	return errors.ErrUnsupported
}

// CloseWrite tells the client that no more follows.
func (c *begunConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
