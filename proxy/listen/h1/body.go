package h1

import (
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// drainBytes is how much of a body that nobody wanted is read so that the connection can be kept.
const drainBytes = 256 << 10

// What is left of a body, besides a number of bytes.
const (
	unknown = -1
	broken  = -2
)

// body is the content of the request that is being served. One goroutine at a time may read it, not always the
// connection's own: a request may still be on its way when its answer begins.
type body struct {
	c     *conn
	frame framing
	err   error        // what Read returns from now on; io.EOF at the proper end
	rest  atomic.Int64 // bytes to come, 0 at the end; unknown or broken. It may be loaded at any time
}

func (b *body) begin(h *head) {
	b.frame, b.err = framingOf(h), nil
	switch {
	case h.chunked:
		b.rest.Store(unknown)
	default:
		b.rest.Store(h.length)
	}
	b.c.answer.awaiting = h.expects && !h.old && b.rest.Load() != 0
}

// Read reads content as it comes. A refusal of the framing is a *canon.Refusal; a body cut short ends with
// io.ErrUnexpectedEOF.
func (b *body) Read(p []byte) (int, error) {
	if b.err == nil {
		b.err = b.c.answer.proceed()
	}
	n := 0
	for n < len(p) && b.err == nil {
		k, ok := b.step(p[n:], n == 0)
		if n += k; !ok {
			break
		}
	}
	if n > 0 && b.err != io.EOF { //nolint:errorlint // only the bare value is the end
		return n, nil // what went wrong comes again without bytes
	}
	return n, b.err
}

// AtHand is that of upstream.Request: small bodies come together with their head.
func (b *body) AtHand() int {
	rest := b.rest.Load()
	if b.err != nil || b.frame.part != inLength || int64(b.c.w-b.c.r) < rest {
		return -1
	}
	return int(rest)
}

// step reads some content, or what stands around it. It returns false if it would have to wait and must not.
func (b *body) step(p []byte, wait bool) (n int, ok bool) {
	c := b.c
	content := b.frame.data()
	p = p[:min(int64(len(p)), max(content, 0))]
	switch {
	case c.r < c.w && content > 0:
		n = copy(p, c.buf[c.r:c.w])
		c.r += n
		b.gave(n)
	case c.r < c.w:
		k, why := b.frame.take(c.buf[c.r:c.w])
		c.r += k
		if why != nil {
			b.fail(why)
		} else if b.frame.part == ended {
			b.finish()
		}
	case !wait:
		return 0, false
	case content > 0:
		var err error
		if n, err = c.nc.Read(p); n == 0 && err != nil {
			b.fail(err)
			return 0, false
		}
		b.gave(n)
	default:
		if err := c.fill(); err != nil {
			b.fail(err)
		}
	}
	return n, true
}

func (b *body) gave(n int) {
	if b.frame.part == inLength {
		b.rest.Add(-int64(n))
	}
	if b.frame.gave(n); b.frame.part == ended {
		b.finish()
	}
}

func (b *body) finish() {
	b.err = io.EOF
	b.rest.Store(0)
	b.c.watch.begin()
}

func (b *body) fail(err error) {
	if err == io.EOF { //nolint:errorlint // only the bare value is an ordinary end
		err = io.ErrUnexpectedEOF
	}
	b.err = err
	b.rest.Store(broken)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		b.c.cancel() // the client is gone
	}
}

// drain reads what is left of a body, if that is not much, and reports whether nothing is.
func (b *body) drain() bool {
	if rest := b.rest.Load(); rest == 0 {
		return true
	} else if rest == broken || rest > drainBytes {
		return false
	}
	b.c.line.readBy(time.Now().Add(b.c.server.o.Header), 0)
	_, _ = io.CopyN(io.Discard, b, drainBytes+1) // how it ends is asked below
	b.c.watch.stop()
	return b.rest.Load() == 0
}
