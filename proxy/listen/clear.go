package listen

import (
	"context"
	"errors"
	"net"
	"time"
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
	if !stop() || err != nil {
		_ = c.Close() // it said nothing in time
		return
	}
	if h2 {
		s.take2(context.WithoutCancel(ctx), begun, facts)
		return
	}
	s.h1.Take(context.WithoutCancel(ctx), begun, facts)
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
