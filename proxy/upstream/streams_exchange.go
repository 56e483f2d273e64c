package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/h2io"
)

// streamsExchange is one request and its answer on a stream. It is the answer's Body too.
type streamsExchange struct {
	owner    *Streams
	conn     *streamsConn
	request  *Request
	response Response
	id       uint32
	source   *streamsSource // nil without a body

	// The exchange ends with this context, which is why it is kept.
	ctx context.Context //nolint:containedctx // see above

	// What follows is guarded by the connection's lock.
	wake     sync.Cond // signalled when anything of it changes that somebody waits for
	interim  []interim // answers before the answer
	interims int
	proceed  bool // the service has asked for the body
	answered bool // the head is there
	ended    bool // nothing more comes
	err      error
	over     bool      // nobody is interested any more
	unwanted bool      // the service takes no more of the request
	sent     bool      // all of the request
	by       time.Time // the service must have sent something then,
	sendBy   time.Time // or taken something; zero: there is no hurry
	window   int64     // bytes that may be sent
	toRead   int64     // bytes that the service may send
	owed     int64     // bytes that were read, and that the service does not know of yet
	content  bytes.Buffer
	came     int64
	length   int64 // of the content; -1: not announced
	trailer  field.List
}

type interim struct {
	status int
	fields field.List
}

// begin finds a connection and sends the request, or begins to. Nothing has been sent after an error.
func (x *streamsExchange) begin() (again, error) {
	c, err := x.owner.conn(x.ctx)
	if err != nil {
		return unreached(x.ctx, err), err
	}
	r := x.request
	var small []byte
	if r.hasBody() {
		x.source = &streamsSource{x: x}
		if small, err = x.source.gather(); small != nil {
			defer x.source.giveBack()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
	case c.failed != nil:
		err = x.fault(c.failed)
	case !x.fields(c):
		err = unsendable("field")
	}
	if err != nil {
		c.reserved--
		c.endIfIdle()
		if c.failed != nil && x.source.restart() {
			return anywhere, err
		}
		return never, err
	}
	x.conn, x.wake.L = c, &c.mu
	x.response.Reused, x.response.Address, x.response.Attempts = c.used, c.address, 1
	x.window, x.toRead, x.id, c.used = c.theirs, streamsWindow, c.next, true
	c.next += 2
	c.streams[x.id] = x
	c.watch()
	switch {
	case !r.hasBody():
		c.out.EndFields(x.id, http2.FlagHeadersEndStream)
		x.asked()
	case small != nil && int64(len(small)) <= min(x.window, c.window) && len(small) <= c.out.Frame:
		x.source.mark = c.out.EndFields(x.id, 0)
		x.source.put(small)
		x.source.finish()
	default:
		x.source.mark = c.out.EndFields(x.id, 0)
		go x.source.send(bytes.Clone(small), small != nil) // until the body ends, or release
	}
	c.out.Flush()
	return never, nil
}

// asked notes that the request is sent whole: from now on the answer is waited for. The lock is held.
func (x *streamsExchange) asked() {
	x.sent = true
	if !x.answered {
		x.by = time.Now().Add(or(x.request.HeaderTimeout, x.owner.options.Header))
	}
}

// fields begins the request's field section, and reports whether all its fields can be sent.
func (x *streamsExchange) fields(c *streamsConn) bool {
	r, o := x.request, &c.out
	for i := range r.Header {
		if f := &r.Header[i]; !isToken(f.Name) || !isFieldValue(f.Value) {
			return false // before anything is remembered that the service will not hear of
		}
	}
	scheme := "http"
	if x.owner.secure {
		scheme = "https"
	}
	o.BeginFields()
	o.Field(":method", r.Method, false)
	o.Field(":scheme", scheme, false)
	o.Field(":authority", r.Host, false)
	o.Field(":path", r.Target, false)
	trailers := false
	for i := range r.Header {
		f := &r.Header[i]
		switch ownership(f.Name) {
		case ownedTE:
			trailers = trailers || hasToken(f.Value, "trailers")
		case ownedTrailer:
			if r.hasBody() && r.Trailer != nil && announces(f.Value) {
				o.Field("trailer", f.Value, false)
			}
		case owned:
			o.Field(h2io.Lower(f.Name), f.Value, f.Name == "X-Request-Id" || f.Name == "Traceparent")
		case ownedAlways:
		}
	}
	if trailers {
		o.Field("te", "trailers", false)
	}
	if r.hasBody() && r.ExpectContinue {
		o.Field("expect", "100-continue", false)
	}
	if r.Length > 0 || !r.hasBody() && (r.Method == "POST" || r.Method == "PUT" || r.Method == "PATCH") {
		o.Field("content-length", strconv.FormatInt(max(r.Length, 0), 10), false)
	}
	return true
}

// await waits for the answer's head.
func (x *streamsExchange) await() error {
	c := x.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for len(x.interim) > 0 {
			i := x.interim[0]
			if x.interim = x.interim[1:]; i.status == 100 {
				x.proceed = true
				x.wake.Broadcast()
			} else if x.request.Informational != nil {
				c.mu.Unlock()
				x.request.Informational(i.status, i.fields)
				c.mu.Lock()
			}
		}
		switch {
		case x.answered:
			x.by = time.Time{}
			r := &x.response
			r.Body, r.Trailer = x, noTrailer
			if x.ended && x.err == nil && x.content.Len() == 0 && x.trailer == nil {
				x.done()
			} else {
				r.Trailer = func() field.List { return x.trailer }
			}
			return nil
		case x.ended:
			return x.err
		}
		x.wake.Wait()
	}
}

// failed ends an exchange without an answer, and tells whether the request may be sent again, by the rules of Pool.Do.
func (x *streamsExchange) failed(err error) (again, error) {
	c := x.conn
	c.mu.Lock()
	unbegun := errors.Is(err, errUnbegun)
	harmless := x.response.Reused && idempotent(x.request.Method) && x.interims == 0 && c.failed != nil && !isTimeout(err) && !errors.Is(err, ErrTimeout)
	x.leave()
	c.mu.Unlock()
	if x.source != nil {
		x.source.release()
	}
	fault := x.fault(err)
	switch {
	case x.ctx.Err() != nil, !unbegun && !harmless, errors.Is(err, ErrBody), !x.source.restart():
		return never, fault
	}
	return anywhere, fault
}

func (x *streamsExchange) fault(err error) error {
	return classify(x.ctx, "exchanging with "+x.owner.options.Address, err)
}

// finish notes that the answer is whole. The lock is held.
func (x *streamsExchange) finish(trailer field.List) {
	x.ended, x.trailer = true, trailer
	if x.came < x.length {
		x.err = io.ErrUnexpectedEOF
	}
}

// end notes why nothing more comes. The lock is held.
func (x *streamsExchange) end(err error) {
	if !x.ended {
		x.ended, x.err = true, err
	}
	x.wake.Broadcast()
}

// Read reads the answer's body, no longer than the pause allows.
func (x *streamsExchange) Read(p []byte) (int, error) {
	c := x.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case x.content.Len() > 0 && !x.over:
			n, _ := x.content.Read(p) // there is something
			x.credit(int64(n))
			if x.content.Len() == 0 && x.ended && x.err == nil {
				x.done()
				return n, io.EOF
			}
			return n, nil
		case x.ended && x.err != nil:
			err := x.err
			x.done()
			return 0, x.fault(err)
		case x.ended:
			x.done()
			return 0, io.EOF
		case x.over:
			return 0, errBodyClosed
		}
		if pause := x.owner.options.Pause; pause > 0 {
			x.by = time.Now().Add(pause)
		}
		x.wake.Wait()
		x.by = time.Time{}
	}
}

// credit lets the service send n bytes more, which it learns when that is worth a frame. The lock is held.
func (x *streamsExchange) credit(n int64) {
	if x.owed += n; x.owed >= streamsWindow/4 && !x.ended {
		x.conn.out.Widen(x.id, x.owed)
		x.toRead += x.owed
		x.owed = 0
		x.conn.out.FlushBeside()
	}
}

// Close ends the exchange; a body not read to its end resets the stream.
func (x *streamsExchange) Close() error {
	x.conn.mu.Lock()
	x.done()
	x.conn.mu.Unlock()
	if x.source != nil {
		x.source.release()
	}
	return nil
}

// done ends an exchange that had an answer. The lock is held.
func (x *streamsExchange) done() {
	if !x.over {
		x.leave()
		<-x.owner.slots
	}
}

// leave lets go of the stream. The lock is held.
func (x *streamsExchange) leave() {
	c := x.conn
	x.over = true
	if (!x.ended || !x.sent) && c.failed == nil {
		c.out.Reset(x.id, http2.ErrCodeCancel)
		c.out.FlushBeside()
	}
	x.end(errBodyClosed)
	delete(c.streams, x.id)
	if c.reserved--; c.reserved == 0 {
		c.since = time.Now()
	}
	c.endIfIdle()
}
