package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
)

// secured is a TLS connection whose end is one only if the other side has said so. crypto/tls takes the end of the
// socket between two records for it too, which anybody on the way can bring about (RFC 8446, section 6.1).
type secured struct {
	*tls.Conn
	below *below
}

// below is a socket under TLS that remembers its end.
type below struct {
	net.Conn
	ended bool // guarded by tls.Conn, which reads alone
}

func (b *below) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended = true
	}
	return n, err
}

// Read ends with io.EOF after the other side's close_notify, else with io.ErrUnexpectedEOF.
func (s *secured) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if errors.Is(err, io.EOF) && s.below.ended {
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// secure shakes hands over c as end does: tls.Server or tls.Client.
func secure(ctx context.Context, c net.Conn, end func(net.Conn, *tls.Config) *tls.Conn, config *tls.Config) (*secured, error) {
	b := &below{Conn: c}
	s := &secured{Conn: end(b, config), below: b}
	if err := s.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return s, nil
}
