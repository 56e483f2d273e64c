package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// Protocol is what is spoken to a service.
type Protocol uint8

// The protocols of a Balancer.
const (
	HTTP1 Protocol = iota // HTTP/1.1, with a Pool to each address
	HTTP2                 // HTTP/2 over TLS, or with prior knowledge, with a Streams to each address
	Both                  // over TLS, HTTP/2 for what can share a connection if the address speaks it, and HTTP/1.1 for the rest
)

// Balancer is a Transport to a service at several addresses. Of two addresses chosen by lot, the one with fewer
// requests in flight is asked. An address that fails again and again is passed over for a while, and a service
// that fails is left alone for a while (ErrOpen). It is safe for concurrent use.
type Balancer struct {
	options  Options
	protocol Protocol
	view     atomic.Pointer[view]
	circuit  circuit
	budget   budget
	repeats  atomic.Uint64
	givenUp  atomic.Uint64

	mu       sync.Mutex // guards what follows, and where it says so in address
	all      []*address // replaced as a whole
	draining []*address
}

// NewBalancer returns a Balancer of addresses as in Options.Address, which is not used itself. The bounds in Options
// hold for each address.
func NewBalancer(o Options, p Protocol, addresses ...string) *Balancer {
	b := &Balancer{options: o.resolved(), protocol: p}
	b.budget.tokens.Store(firstRepeats * tokensPerRepeat)
	b.Replace(addresses)
	return b
}

// Close closes idle connections and keeps none from now on; exchanges in flight go on.
func (b *Balancer) Close() {
	for _, a := range b.view.Load().all {
		a.member.Close()
	}
}

// Do sends r and returns the answer's head and streaming body.
//
// A request is sent again under the rules of Pool.Do, and if connecting took too long, to another address as long as
// there is one. An address that cannot be reached is no load on the service, so that the next one is tried at
// once. Otherwise there are at most Options.Retries per request, and one for five requests over all.
func (b *Balancer) Do(ctx context.Context, r *Request) (*Response, error) {
	probe, err := b.circuit.enter()
	if err != nil {
		return nil, err
	}
	resp, err := b.send(ctx, r)
	b.circuit.leave(probe, judge(ctx, resp, err), causeOf(resp, err))
	return resp, err
}

func (b *Balancer) send(ctx context.Context, r *Request) (*Response, error) {
	b.budget.earn()
	var tried trail
	repeats := 0
	a := b.current().choose()
	for n := 1; a != nil; n++ {
		a.requests.Add(1)
		resp, more, err := a.member.try(ctx, r, n > 1)
		b.note(a, judge(ctx, resp, err))
		if err == nil {
			resp.Attempts = n
			return resp, nil
		}
		tried.add(a)
		next := b.current().other(&tried)
		if more == never || ctx.Err() != nil || next == nil && more == elsewhere {
			return nil, err
		}
		if next == nil || !errors.Is(err, ErrDial) {
			if repeats++; repeats > b.options.Retries || !b.budget.spend() {
				b.givenUp.Add(1)
				return nil, err
			}
			b.repeats.Add(1)
		}
		if next != nil {
			a = next
		}
	}
	return nil, errNoAddress()
}

func errNoAddress() error { return fmt.Errorf("choosing an address: %w", ErrDial) }

// upgrader is a member that can switch protocols.
type upgrader interface {
	Upgrade(ctx context.Context, r *Request) (*Response, io.ReadWriteCloser, error)
}

// Upgrade is that of Pool, at one of the addresses that can be reached. HTTP/2 cannot.
func (b *Balancer) Upgrade(ctx context.Context, r *Request) (*Response, io.ReadWriteCloser, error) {
	if b.protocol == HTTP2 {
		return nil, nil, unsendable("upgrade over HTTP/2")
	}
	probe, err := b.circuit.enter()
	if err != nil {
		return nil, nil, err
	}
	resp, c, err := b.upgrade(ctx, r)
	b.circuit.leave(probe, judge(ctx, resp, err), causeOf(resp, err))
	return resp, c, err
}

func (b *Balancer) upgrade(ctx context.Context, r *Request) (*Response, io.ReadWriteCloser, error) {
	var tried trail
	for a := b.current().choose(); a != nil; {
		a.requests.Add(1)
		p, ok := a.member.(upgrader)
		if !ok {
			return nil, nil, unsendable("upgrade")
		}
		resp, c, err := p.Upgrade(ctx, r)
		b.note(a, judge(ctx, resp, err))
		if err == nil {
			return resp, c, nil
		}
		tried.add(a)
		if a = b.current().other(&tried); a == nil || !errors.Is(err, ErrDial) || ctx.Err() != nil {
			return nil, nil, err
		}
	}
	return nil, nil, errNoAddress()
}

// verdict is what the outcome of a request says about who was asked.
type verdict uint8

const (
	void verdict = iota // nothing
	good
	bad
)

// judge tells what an outcome says about the service: it failed if it was not reached, broke off, kept us waiting,
// or a gateway there speaks of such failures. What the client or our own bounds ended says nothing.
func judge(ctx context.Context, resp *Response, err error) verdict {
	switch {
	case err == nil && failed(resp):
		return bad
	case err == nil:
		return good
	case ctx.Err() != nil, errors.Is(err, context.Canceled), errors.Is(err, ErrBody), errors.Is(err, ErrRequest), errors.Is(err, ErrBusy):
		return void
	}
	return bad
}

// causeOf is why an exchange counts as bad, if it does.
func causeOf(resp *Response, err error) error {
	if err == nil && failed(resp) {
		return ErrFailed
	}
	return err
}

// failed reports whether an answer is a gateway's word of failure (RFC 9110, sections 15.6.3 to 15.6.5), or that of
// gRPC, UNAVAILABLE, in an answer of trailers alone.
func failed(r *Response) bool {
	switch r.Status {
	case 502, 503, 504:
		return true
	case 200:
		return r.Header.Get("Grpc-Status") == "14"
	}
	return false
}
