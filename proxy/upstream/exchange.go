package upstream

import (
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/palisade-security/palisade/proxy/field"
)

const (
	mostInformational = 16              // interim answers to one request
	lastWords         = 1 * time.Second // for an answer to come after the service stopped reading
	settling          = 10 * time.Millisecond
)

// exchange is one request and its answer on one connection. It is the answer's Body too.
type exchange struct {
	response Response
	pool     *Pool
	conn     *conn // nil once given back
	request  *Request
	sender   *sender // nil unless the request's body is sent beside

	// The exchange ends with this context, which is why it is kept: Body.Read reports its end.
	ctx  context.Context //nolint:containedctx // see above
	wait time.Duration   // for the head

	mu       sync.Mutex // guards answered against the sender
	answered bool       // the final head is there: the read deadline is the reader's

	frame    frame
	left     int64 // of framedLength
	chunks   chunks
	end      error // what Read returns from now on
	closed   bool
	broken   bool // the request was not sent whole: the connection cannot be used again
	unsent   bool // not a byte was written
	timedOut bool

	room [8]field.Field // for the fields of most answers
}

// await reads heads until the final one. With upgrade, 101 to that protocol is final.
func (x *exchange) await(upgrade string) error {
	b := &x.conn.reader
	for range mostInformational {
		h, err := x.head()
		if err != nil {
			x.timedOut = isTimeout(err)
			return err
		}
		if x.frame, err = framed(x.request.Method, &h); err != nil {
			return err
		}
		if h.status == 101 {
			if upgrade == "" || !strings.EqualFold(x.frame.upgrade, upgrade) {
				return malformed("protocol switched unasked")
			}
			return x.accept(h)
		}
		if h.status >= 200 {
			b.pause = max(x.pool.options.Pause, 0)
			return x.accept(h)
		}
		if h.status == 100 {
			if x.sender != nil {
				x.sender.proceed(true)
			}
		} else if x.request.Informational != nil {
			x.request.Informational(h.status, h.fields)
		}
	}
	return malformed("too many interim answers")
}

func (x *exchange) head() (head, error) {
	text, err := x.conn.reader.block(x.pool.options.MaxHeaderBytes)
	if err != nil {
		return head{}, err
	}
	return parseHead(text, x.room[:])
}

// accept makes h the answer, and frees the connection at once if no body follows.
func (x *exchange) accept(h head) error {
	x.mu.Lock()
	x.answered = true
	x.mu.Unlock()
	if x.sender != nil {
		x.sender.proceed(false) // in case it still waits for 100: nobody wants the body
	}
	r := &x.response
	r.Status, r.Header, r.Length, r.Body = h.status, h.fields, x.frame.length, x
	r.Trailer = noTrailer
	switch x.frame.how {
	case framedNone:
		x.end = io.EOF
		if h.status != 101 {
			x.finish(true)
		}
	case framedLength:
		x.left = x.frame.length
	case framedChunks:
		r.Trailer = x.trailer
	case framedClose:
	}
	if x.frame.how != framedNone && x.pool.options.Pause < 0 {
		return x.conn.SetReadDeadline(time.Time{})
	}
	return nil
}

func noTrailer() field.List { return nil }

func (x *exchange) trailer() field.List { return x.chunks.trailer }

// Read reads the answer's body.
func (x *exchange) Read(p []byte) (int, error) {
	if x.closed {
		return 0, errBodyClosed
	}
	if x.end != nil {
		return 0, x.end
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := x.decode(p)
	if err == nil {
		return n, nil
	}
	if err == io.EOF { //nolint:errorlint // decode gives the bare value at the body's proper end only
		x.end = io.EOF
		x.finish(true)
		return n, io.EOF
	}
	x.end = x.fault(err)
	x.finish(false)
	return n, x.end
}

// decode reads body bytes, and io.EOF where the framing ends the body. An end of the connection anywhere else
// is io.ErrUnexpectedEOF.
func (x *exchange) decode(p []byte) (int, error) {
	b := &x.conn.reader
	switch x.frame.how {
	case framedLength:
		if int64(len(p)) > x.left {
			p = p[:x.left]
		}
		n, err := b.copyOut(p)
		if x.left -= int64(n); x.left == 0 {
			return n, io.EOF
		}
		return n, short(err)
	case framedChunks:
		n, done, err := x.chunks.read(b, p)
		if done {
			return n, io.EOF
		}
		return n, short(err)
	case framedClose:
		return b.copyOut(p)
	case framedNone:
	}
	return 0, io.EOF
}

// Close ends the exchange. A body not read to its end takes the connection with it.
func (x *exchange) Close() error {
	if x.closed {
		return nil
	}
	x.closed = true
	x.finish(false)
	if x.sender != nil {
		x.sender.release()
	}
	return nil
}

// finish gives the connection back; whole tells that the answer was read to its end. The connection is used
// again only if nothing is left on it in either direction.
func (x *exchange) finish(whole bool) {
	c := x.conn
	if c == nil {
		return
	}
	keep := whole && x.frame.keep && !x.broken && c.reader.buffered() == 0
	if x.sender != nil && !x.sender.settled(keep) {
		keep = false
	}
	if !c.line.finish() {
		keep = false
	}
	x.conn = nil
	if keep {
		x.pool.put(c)
	} else {
		c.line.abort()
		c.reader.release()
	}
	x.pool.leave()
}
