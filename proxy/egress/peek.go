package egress

import (
	"io"
)

// malformed says why what a client says first names no host clearly.
type malformed string

func (m malformed) Error() string { return string(m) }

// peeker reads no more than it is asked for, and keeps all of it.
type peeker struct {
	src io.Reader
	buf []byte
}

// mostPeeked is how much a client may say before it has named its host.
const mostPeeked = 48 << 10

// need reads until there are n bytes.
func (p *peeker) need(n int) error {
	if n > mostPeeked {
		return malformed("the first message is too long")
	}
	for len(p.buf) < n {
		if len(p.buf) == cap(p.buf) {
			grown := make([]byte, len(p.buf), min(max(2*cap(p.buf), 1<<10), mostPeeked))
			copy(grown, p.buf)
			p.buf = grown
		}
		m, err := p.src.Read(p.buf[len(p.buf):cap(p.buf)])
		p.buf = p.buf[:len(p.buf)+m]
		if err != nil && len(p.buf) < n {
			return err
		}
	}
	return nil
}

// byte returns the byte at i.
func (p *peeker) byte(i int) (byte, error) {
	if err := p.need(i + 1); err != nil {
		return 0, err
	}
	return p.buf[i], nil
}
