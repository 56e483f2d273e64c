package proxy

import (
	"errors"
	"io"
	"math"
	"slices"
)

// ErrBodyTooLarge is returned when a body exceeds its bound.
var ErrBodyTooLarge = errors.New("body exceeds its limit")

// Body is a bounded stream. It can be buffered once; from then on the buffered bytes are what every stage
// sees and what is forwarded.
type Body struct {
	src      io.Reader
	length   int64 // declared length, -1 unknown, 0 none
	limit    int64
	read     int64
	buffered []byte
	whole    bool
	given    int // bytes of buffered that Read has given out
	err      error
}

// NewBody bounds src to limit bytes. Length is the declared length, -1 if unknown; 0 means no body.
func NewBody(src io.Reader, length, limit int64) *Body {
	limit = min(limit, math.MaxInt64-1) // one byte more than a limit is a number too
	return &Body{src: src, length: length, limit: limit, whole: length == 0}
}

// Length returns the number of bytes, or -1 while it is unknown.
func (b *Body) Length() int64 {
	if b.whole {
		return int64(len(b.buffered))
	}
	return b.length
}

// Declared returns the length that the client declared: -1 if it declared none, 0 if there is no body.
func (b *Body) Declared() int64 { return b.length }

// Limit returns the bound in bytes.
func (b *Body) Limit() int64 { return b.limit }

// Buffer reads the whole body, at most limit bytes of it, and keeps it. It returns ErrBodyTooLarge (wrapped) if
// there is more, and the source's error if that fails. Bytes may be gone then: if Err returns an error, the
// request must be refused, and nothing can be read any more. The result must not be changed. A later call
// returns the same bytes.
func (b *Body) Buffer(limit int64) ([]byte, error) {
	limit = min(limit, b.limit)
	if b.whole {
		if int64(len(b.buffered)) > limit {
			return nil, ErrBodyTooLarge
		}
		return b.buffered, nil
	}
	if b.err != nil {
		return nil, b.err
	}
	if b.length > limit {
		return nil, ErrBodyTooLarge // nothing was read: whoever streams it may go on
	}
	buf, err := b.readAll(limit)
	if err != nil {
		b.err = err
		return nil, err
	}
	b.buffered, b.whole, b.given = buf, true, 0
	return buf, nil
}

// readAll reads what is left of the source, and no more than one byte beyond limit.
func (b *Body) readAll(limit int64) ([]byte, error) {
	size := min(minBuffer, limit+1)
	if b.length > 0 {
		size = b.length + 1 // room to meet the end
	}
	buf := make([]byte, 0, size)
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, len(buf))
		}
		n, err := b.src.Read(buf[len(buf):min(int64(cap(buf)), limit+1)])
		b.read += int64(n)
		buf = buf[:len(buf)+n]
		switch {
		case err == io.EOF && int64(len(buf)) <= limit:
			return buf, nil
		case err != nil && err != io.EOF:
			return nil, err
		case int64(len(buf)) > limit:
			return nil, ErrBodyTooLarge
		}
	}
}

// minBuffer is room for most bodies whose length is not declared.
const minBuffer = 4 << 10

// Buffered returns the buffered bytes and whether the body is buffered whole.
func (b *Body) Buffered() ([]byte, bool) { return b.buffered, b.whole }

// Rewind makes the next Read begin again. It reports whether that is possible: only a buffered body can.
func (b *Body) Rewind() bool {
	if !b.whole {
		return false
	}
	b.given = 0
	return true
}

// BytesRead returns how many bytes came from the client.
func (b *Body) BytesRead() int64 { return b.read }

// Read streams the body on, from the buffer if it was buffered. An error stays: what comes after lost bytes is
// never taken for what was sent.
func (b *Body) Read(p []byte) (int, error) {
	if b.whole {
		if b.given == len(b.buffered) {
			return 0, io.EOF
		}
		n := copy(p, b.buffered[b.given:])
		b.given += n
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	if left := b.limit - b.read; int64(len(p)) > left+1 {
		p = p[:left+1]
	}
	n, err := b.src.Read(p)
	b.read += int64(n)
	if b.read > b.limit {
		b.err = ErrBodyTooLarge
		return n, ErrBodyTooLarge
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// Err returns what stopped the body short: ErrBodyTooLarge, a timeout, or the client's going away.
func (b *Body) Err() error { return b.err }
