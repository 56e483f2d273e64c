package upstream

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Pool is a Transport over HTTP/1.1 (RFC 9112) that keeps connections alive. The newest idle connection is
// used first, so that the pool shrinks when there is less to do.
type Pool struct {
	options Options
	dialer  *dialer
	slots   chan struct{} // one per connection in use
	tunnels atomic.Int64  // connections that have switched protocols
	wires   sync.Pool
	chunks  sync.Pool // *[]byte of streamSize

	mu     sync.Mutex
	idle   []*conn // oldest first
	reaper *time.Timer
	closed bool
}

// NewPool returns a Pool for one service. It connects when there is something to send.
func NewPool(o Options) *Pool {
	o = o.resolved()
	return &Pool{options: o, dialer: newDialer(o, "http/1.1"), slots: make(chan struct{}, o.MaxConns)}
}

// Close closes idle connections and keeps none from now on. Exchanges in flight go on, and requests that began
// before a new pool took over may still come: their connections close after them.
func (p *Pool) Close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	if p.reaper != nil {
		p.reaper.Stop()
	}
	p.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}

// enter takes a slot, waiting no longer than for a dial.
func (p *Pool) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return classify(ctx, "sending request", err)
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	wait := time.NewTimer(p.options.Dial)
	defer wait.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return classify(ctx, "waiting for a connection", ctx.Err())
	case <-wait.C:
		return fmt.Errorf("waiting for a connection: %w", ErrBusy)
	}
}

func (p *Pool) leave() { <-p.slots }

func (p *Pool) inFlight() int { return len(p.slots) + int(p.tunnels.Load()) }

// get returns a connection for an exchange that ends with ctx or after wait: an idle one unless fresh is asked for.
func (p *Pool) get(ctx context.Context, fresh bool, wait time.Duration) (*conn, error) {
	now := time.Now()
	deadline := now.Add(wait)
	for !fresh {
		c := p.newest()
		if c == nil {
			break
		}
		// The check needs a deadline that has not passed.
		if c.renewal == p.options.Trust.renewal() && c.line.begin(ctx, now, deadline) == nil && c.usable() {
			c.reader.reset()
			return c, nil
		}
		c.close()
	}
	c, err := p.dialer.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.line.begin(ctx, time.Now(), deadline); err != nil {
		c.close()
		return nil, classify(ctx, "connecting to service", err)
	}
	c.reader.reset()
	return c, nil
}

// newest takes the newest idle connection, nil if there is none.
func (p *Pool) newest() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return c
}

// put takes a connection back whose exchange ended well.
func (p *Pool) put(c *conn) {
	c.reader.release()
	c.reused = true
	c.since = time.Now()
	p.mu.Lock()
	if p.closed || len(p.idle) >= p.options.MaxIdle || c.renewal != p.options.Trust.renewal() {
		p.mu.Unlock()
		c.close()
		return
	}
	p.idle = append(p.idle, c)
	if p.reaper == nil {
		p.reaper = time.AfterFunc(p.options.Idle, p.reap)
	}
	p.mu.Unlock()
}

// reap closes connections idle for too long, and comes again when the next one will be.
func (p *Pool) reap() {
	p.mu.Lock()
	now := time.Now()
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].since) >= p.options.Idle {
		n++
	}
	old := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	p.reaper = nil
	if len(p.idle) > 0 {
		p.reaper = time.AfterFunc(p.idle[0].since.Add(p.options.Idle).Sub(now), p.reap)
	}
	p.mu.Unlock()
	for _, c := range old {
		c.close()
	}
}
