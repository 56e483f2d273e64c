package upstream

import (
	"context"
	"errors"
	"time"
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
		x, again, err := p.attempt(ctx, r, w, fresh)
		if err == nil {
			x.response.Attempts = n
			return &x.response, nil
		}
		if !again || n > p.options.Retries || ctx.Err() != nil {
			return nil, err
		}
		fresh = true
	}
}

// attempt sends r once. Again tells whether it may be sent once more after an error.
func (p *Pool) attempt(ctx context.Context, r *Request, w *wire, fresh bool) (x *exchange, again bool, err error) {
	x, again, err = p.begin(ctx, r, fresh)
	if err != nil {
		return nil, again, err
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
		return x, false, nil
	}
	return nil, x.fail(), x.fault(err)
}

// begin takes a connection for r.
func (p *Pool) begin(ctx context.Context, r *Request, fresh bool) (*exchange, bool, error) {
	if err := p.enter(ctx); err != nil {
		return nil, false, err
	}
	wait := or(r.HeaderTimeout, p.options.Header)
	c, err := p.get(ctx, fresh, wait)
	if err != nil {
		p.leave()
		return nil, errors.Is(err, ErrDial), err
	}
	x := &exchange{pool: p, conn: c, ctx: ctx, request: r, wait: wait}
	x.response.Reused, x.response.Address = c.reused, c.address
	return x, false, nil
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
