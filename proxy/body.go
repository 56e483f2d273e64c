package proxy

import (
	"bytes"
	"errors"
	"io"
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
	rest     *bytes.Reader
	err      error
}

// NewBody bounds src to limit bytes. Length is the declared length, -1 if unknown; 0 means no body.
func NewBody(src io.Reader, length, limit int64) *Body {
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
	var buf bytes.Buffer
	if b.length > 0 {
		buf.Grow(int(b.length) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(b.src, limit+1))
	b.read += n
	if err != nil {
		b.err = err
		return nil, err
	}
	if n > limit {
		b.err = ErrBodyTooLarge
		return nil, b.err
	}
	b.buffered, b.whole = buf.Bytes(), true
	b.rest = bytes.NewReader(b.buffered)
	return b.buffered, nil
}

// Buffered returns the buffered bytes and whether the body is buffered whole.
func (b *Body) Buffered() ([]byte, bool) { return b.buffered, b.whole }

// Rewind makes the next Read begin again. It reports whether that is possible: only a buffered body can.
func (b *Body) Rewind() bool {
	if !b.whole {
		return false
	}
	b.rest = bytes.NewReader(b.buffered)
	return true
}

// BytesRead returns how many bytes came from the client.
func (b *Body) BytesRead() int64 { return b.read }

// Read streams the body on, from the buffer if it was buffered. An error stays: what comes after lost bytes is
// never taken for what was sent.
func (b *Body) Read(p []byte) (int, error) {
	if b.whole {
		if b.rest == nil {
			return 0, io.EOF
		}
		return b.rest.Read(p)
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
