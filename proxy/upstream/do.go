package upstream

import (
	"context"
	"errors"
	"time"
)

// again tells whether a request that failed may be sent once more.
type again uint8

const (
	never     again = iota
	elsewhere       // nothing was sent, but connecting took too long: to another address only
	anywhere
)

// Do sends r and returns the answer's head and streaming body.
//
// A request is sent again, on a fresh connection and at most Options.Retries times, if the service can not have
// acted on it: it was not reached, or nothing was written; or if repeating is harmless (RFC 9110, section 9.2.2):
// the method is idempotent, the body can be sent again, and a connection kept from before broke without a byte
// of an answer. A timeout is not retried.
func (p *Pool) Do(ctx context.Context, r *Request) (*Response, error) {
	w, err := newWire(&p.wires, r, "")
	if err != nil {
		return nil, err
	}
	defer w.free(&p.wires)
	fresh := false
	for n := 1; ; n++ {
		x, more, err := p.attempt(ctx, r, w, fresh)
		if err == nil {
			x.response.Attempts = n
			return &x.response, nil
		}
		if more != anywhere || n > p.options.Retries || ctx.Err() != nil {
			return nil, err
		}
		fresh = true
	}
}

// try is Do without sending again: it tells whether its caller may, elsewhere or here on a fresh connection.
func (p *Pool) try(ctx context.Context, r *Request, fresh bool) (*Response, again, error) {
	w, err := newWire(&p.wires, r, "")
	if err != nil {
		return nil, never, err
	}
	defer w.free(&p.wires)
	x, more, err := p.attempt(ctx, r, w, fresh)
	if err != nil {
		return nil, more, err
	}
	return &x.response, never, nil
}

// attempt sends r once, and tells whether it may be sent again after an error.
func (p *Pool) attempt(ctx context.Context, r *Request, w *wire, fresh bool) (*exchange, again, error) {
	x, more, err := p.begin(ctx, r, fresh)
	if err != nil {
		return nil, more, err
	}
	if w.stream {
		err = x.stream(w)
	} else {
		err = x.send(w.bytes)
	}
	if err == nil {
		err = x.await("")
	}
	if err == nil {
		return x, never, nil
	}
	if x.fail() {
		more = anywhere
	}
	return nil, more, x.fault(err)
}

// begin takes a connection for r. Nothing has been sent after an error.
func (p *Pool) begin(ctx context.Context, r *Request, fresh bool) (*exchange, again, error) {
	if err := p.enter(ctx); err != nil {
		return nil, never, err
	}
	wait := or(r.HeaderTimeout, p.options.Header)
	c, err := p.get(ctx, fresh, wait)
	if err != nil {
		p.leave()
		return nil, unreached(ctx, err), err
	}
	x := &exchange{pool: p, conn: c, ctx: ctx, request: r, wait: wait}
	x.response.Reused, x.response.Address = c.reused, c.address
	return x, never, nil
}

// unreached tells whether a request may be sent again for which there was no connection.
func unreached(ctx context.Context, err error) again {
	switch {
	case ctx.Err() != nil:
		return never
	case errors.Is(err, ErrDial):
		return anywhere
	}
	return elsewhere
}

// send writes a request that is whole.
func (x *exchange) send(b []byte) error {
	n, err := x.conn.Write(b)
	if err == nil {
		return nil
	}
	if x.unsent = n == 0; x.unsent || isTimeout(err) {
		return err
	}
	// The service may have answered and closed without reading on.
	x.broken = true
	if x.conn.SetReadDeadline(time.Now().Add(lastWords)) != nil || x.await("") != nil {
		return err
	}
	return nil
}

// fail ends an exchange without an answer, and reports whether the request may be sent again.
func (x *exchange) fail() bool {
	untouched := !x.conn.reader.any && !x.timedOut
	harmless := x.conn.reused && idempotent(x.request.Method)
	x.finish(false)
	s := x.sender
	if s == nil {
		return untouched && (x.unsent || harmless)
	}
	s.release()
	if !s.rewindable {
		return false
	}
	<-s.done // a body in memory keeps nobody waiting
	return untouched && (s.unsent || harmless) && x.request.Rewind()
}

// idempotent reports whether a method may be repeated (RFC 9110, section 9.2.2).
func idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// fault gives err its sort; what the sender met explains more than what the reader saw of it.
func (x *exchange) fault(err error) error {
	if x.sender != nil {
		if sent := x.sender.failure(); sent != nil && x.ctx.Err() == nil && (sorted(sent) || !x.answered) {
			return classify(x.ctx, "sending request", sent)
		}
	}
	return classify(x.ctx, "exchanging with "+x.response.Address, err)
}
