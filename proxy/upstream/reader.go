package upstream

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"
)

const readBufferSize = 8 << 10

// emptyReads is how often a source may give nothing, not even an error, before it counts as broken.
const emptyReads = 16

// reader buffers what a connection gives. It reads once per need and never waits to fill its buffer.
type reader struct {
	src    net.Conn
	buf    []byte  // nil while the connection is idle
	own    *[]byte // the pooled buffer that buf is, or has outgrown
	r, w   int     // unread bytes are buf[r:w]
	any    bool    // a byte has come since reset
	pause  time.Duration
	armed  time.Time // when the read deadline was last set
	shared *sync.Pool
}

// reset prepares for an answer.
func (b *reader) reset() {
	if b.buf == nil {
		own, ok := b.shared.Get().(*[]byte)
		if !ok {
			fresh := make([]byte, readBufferSize)
			own = &fresh
		}
		b.own, b.buf = own, *own
	}
	b.any, b.pause, b.armed = b.r != b.w, 0, time.Time{}
}

// release gives the buffer back; unread bytes are lost.
func (b *reader) release() {
	if b.own != nil {
		b.shared.Put(b.own)
	}
	b.own, b.buf, b.r, b.w = nil, nil, 0, 0
}

func (b *reader) buffered() int { return b.w - b.r }

// read reads from the connection, under the pause deadline once there is one.
func (b *reader) read(p []byte) (int, error) {
	if b.pause > 0 {
		// Moving the deadline at every read would cost more than many reads; an eighth of slack is plenty.
		if now := time.Now(); now.Sub(b.armed) > b.pause/8 {
			if err := b.src.SetReadDeadline(now.Add(b.pause)); err != nil {
				return 0, err
			}
			b.armed = now
		}
	}
	for range emptyReads {
		n, err := b.src.Read(p)
		if n > 0 {
			b.any = true
			return n, nil // an error with it comes again
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// fill appends to the buffer what one read gives. There must be room, or nothing unread.
func (b *reader) fill() error {
	if b.r == b.w {
		b.r, b.w = 0, 0
	}
	if b.w == len(b.buf) {
		b.w = copy(b.buf, b.buf[b.r:b.w])
		b.r = 0
	}
	n, err := b.read(b.buf[b.w:])
	b.w += n
	return err
}

// copyOut reads into p, at most one read of the connection, and past the buffer if p is large.
func (b *reader) copyOut(p []byte) (int, error) {
	if b.r == b.w {
		if len(p) >= len(b.buf) {
			return b.read(p)
		}
		if err := b.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.buf[b.r:b.w])
	b.r += n
	return n, nil
}

// line returns the next line without its CRLF, valid until the next call. Longer than most bytes is malformed.
func (b *reader) line(most int) ([]byte, error) {
	scanned := 0
	for {
		if i := bytes.IndexByte(b.buf[b.r+scanned:b.w], '\n'); i >= 0 {
			end := b.r + scanned + i
			if end == b.r || b.buf[end-1] != '\r' {
				return nil, malformed("line ends without CR")
			}
			line := b.buf[b.r : end-1]
			b.r = end + 1
			if len(line) > most {
				return nil, malformed("line too long")
			}
			return line, nil
		}
		scanned = b.buffered()
		if scanned > most+2 {
			return nil, malformed("line too long")
		}
		if err := b.fill(); err != nil {
			return nil, err
		}
	}
}

// block returns all lines up to the first empty one, each with its CRLF, without the empty one. More than most
// bytes are malformed. Bare LF is refused as soon as it is seen.
func (b *reader) block(most int) (string, error) {
	line, scanned := 0, 0 // relative to b.r: where the current line begins, what holds no further LF
	for {
		for {
			i := bytes.IndexByte(b.buf[b.r+scanned:b.w], '\n')
			if i < 0 {
				scanned = b.buffered()
				break
			}
			end := scanned + i
			if end == line || b.buf[b.r+end-1] != '\r' {
				return "", malformed("line ends without CR")
			}
			if end+1 > most {
				return "", malformed("head too large")
			}
			if end == line+1 {
				text := string(b.buf[b.r : b.r+line])
				b.r += end + 1
				return text, nil
			}
			line, scanned = end+1, end+1
		}
		if scanned >= most {
			return "", malformed("head too large")
		}
		if b.r == 0 && b.w == len(b.buf) {
			grown := make([]byte, min(2*len(b.buf), most+readBufferSize))
			copy(grown, b.buf)
			b.buf = grown
		}
		if err := b.fill(); err != nil {
			return "", err
		}
	}
}
