package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Streams is a Transport over HTTP/2 (RFC 9113), for gRPC above all: many exchanges share a connection. It does not fall
// back to HTTP/1.1 and cannot switch protocols.
type Streams struct {
	options Options
	secure  bool
	dialer  *dialer
	slots   chan struct{} // one per exchange

	mu    sync.Mutex
	conns []*streamsConn // that take exchanges
	dial  *streamsDial   // under way; nil: none
}

// streamsDial is a connection to be, for which several may wait.
type streamsDial struct {
	done chan struct{}
	err  error
}

// NewStreams returns a Streams for one service: over TLS, or with h2c over plain TCP with prior knowledge.
// Options.MaxConns bounds the requests in flight; MaxIdle is not used.
func NewStreams(o Options, h2c bool) *Streams {
	o = o.resolved()
	switch {
	case h2c:
		o.TLS = nil
	case o.TLS == nil:
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return &Streams{options: o, secure: !h2c, slots: make(chan struct{}, o.MaxConns), dialer: newDialer(o, "h2")}
}

// Close closes idle connections. Exchanges in flight go on, and requests that began before a new transport took
// over may still come: theirs are kept for Options.Idle at most.
func (s *Streams) Close() {
	s.mu.Lock()
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	for _, c := range conns {
		c.leave()
	}
}

// Do sends r and returns the answer's head and streaming body. It sends r again under the rules of Pool.Do, and if the
// service says that it has not begun with it.
func (s *Streams) Do(ctx context.Context, r *Request) (*Response, error) {
	for n := 1; ; n++ {
		resp, more, err := s.try(ctx, r, n > 1)
		if err == nil {
			resp.Attempts = n
			return resp, nil
		}
		if more != anywhere || n > s.options.Retries || ctx.Err() != nil {
			return nil, err
		}
	}
}

// try is Do without sending again: it tells whether its caller may.
func (s *Streams) try(ctx context.Context, r *Request, _ bool) (*Response, again, error) {
	if err := checkRequest(r); err != nil {
		return nil, never, err
	}
	if err := ctx.Err(); err != nil {
		return nil, never, classify(ctx, "sending request", err)
	}
	select {
	case s.slots <- struct{}{}:
	default:
		return nil, never, fmt.Errorf("waiting for a stream: %w", ErrBusy)
	}
	x := &streamsExchange{owner: s, request: r, ctx: ctx, id: 0, length: -1}
	more, err := x.begin()
	if err == nil {
		if err = x.await(); err == nil {
			return &x.response, never, nil
		}
		more, err = x.failed(err)
	}
	<-s.slots
	return nil, more, err
}

func (s *Streams) inFlight() int { return len(s.slots) }

// conn returns a connection that takes one more exchange, which is counted there already.
func (s *Streams) conn(ctx context.Context) (*streamsConn, error) {
	for {
		s.mu.Lock()
		if c := s.ready(); c != nil {
			s.mu.Unlock()
			return c, nil
		}
		d := s.dial
		if d == nil {
			d = &streamsDial{done: make(chan struct{})}
			s.dial = d
			go s.connect(context.WithoutCancel(ctx), d) // it ends by itself, within Options.Dial
		}
		s.mu.Unlock()
		select {
		case <-d.done:
			if d.err != nil {
				return nil, d.err
			}
		case <-ctx.Done():
			return nil, classify(ctx, "connecting to service", ctx.Err())
		}
	}
}

// ready takes a connection that has room. Those of an older certificate end with what runs on them. The lock is held.
func (s *Streams) ready() *streamsConn {
	renewal := s.dialer.trust.renewal()
	for i := 0; i < len(s.conns); {
		c := s.conns[i]
		switch {
		case c.renewal != renewal:
			s.conns = slices.Delete(s.conns, i, i+1)
			c.leave()
			continue
		case c.reserve():
			return c
		}
		i++
	}
	return nil
}

// connect makes a connection.
func (s *Streams) connect(ctx context.Context, d *streamsDial) {
	c, err := s.open(ctx)
	s.mu.Lock()
	if err == nil {
		s.conns = append(s.conns, c)
	}
	s.dial, d.err = nil, err
	s.mu.Unlock()
	close(d.done)
}

func (s *Streams) open(ctx context.Context) (*streamsConn, error) {
	bounded, cancel := context.WithTimeout(ctx, s.options.Dial)
	defer cancel()
	raw, err := s.dialer.plain(ctx, bounded)
	if err != nil {
		return nil, err
	}
	renewal := s.dialer.trust.renewal()
	address := raw.RemoteAddr().String()
	if !s.secure {
		return newStreamsConn(s, raw, address, renewal), nil
	}
	guarded := s.dialer.trust.guard(raw)
	t, err := s.dialer.secure(ctx, bounded, guarded, guarded, renewal)
	if err != nil {
		return nil, err
	}
	if p := t.ConnectionState().NegotiatedProtocol; p != "h2" {
		_ = guarded.Close()
		return nil, errOneEach
	}
	return newStreamsConn(s, t, address, renewal), nil
}

// forget leaves c to itself.
func (s *Streams) forget(c *streamsConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = slices.DeleteFunc(s.conns, func(o *streamsConn) bool { return o == c })
}

// glance is how often the exchanges of a connection are looked at for contexts that have ended and times that have
// passed. Most are over before, and cost neither a timer nor a watch.
const glance = patience

// overdue reports whether a time has passed; the zero time never does.
func overdue(by, now time.Time) bool { return !by.IsZero() && !now.Before(by) }
