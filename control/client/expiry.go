package client

import (
	"context"
	"time"

	"github.com/palisade-security/palisade/identity/peer"
)

// What the model may say about control being away for longer than an SVID lives.
const (
	staleStop  = "stop"
	staleServe = "serve"
)

const (
	lookEvery  = time.Second
	remindEach = time.Minute
)

// mode is what the slice in force says.
func (c *Client) mode() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.mode
}

// beLenient makes peers pass whose SVIDs ended after control was last heard of, if the model says to serve on: they could
// no more renew theirs than we ours. While control is there nothing is forgiven, but for some minutes after it was away.
func (c *Client) beLenient(mode string) {
	if mode == staleServe {
		c.verifier.Lenient(c.forgiven)
	} else {
		c.verifier.Lenient(nil)
	}
	c.poke(c.reconsider)
}

// watchExpiry looks at the wall clock, since certificates end by it, and does what the model says once our SVID has
// ended; loudly, and again every minute.
func (c *Client) watchExpiry(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var reminded time.Time
	for {
		now := time.Now()
		stale := c.staleNow(now)
		c.mu.Lock()
		before := c.stale
		c.stale = stale
		c.mu.Unlock()
		if stale != before {
			c.turn(ctx, before, stale)
			reminded = now
		} else if stale != "" && now.Sub(reminded) >= remindEach {
			c.noteStale(ctx, stale)
			reminded = now
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-c.reconsider:
		}
	}
}

// staleNow returns stop or serve if our SVID has ended, else nothing.
func (c *Client) staleNow(now time.Time) string {
	svid := c.own.Load()
	if svid == nil || now.Before(svid.Chain[0].NotAfter) {
		return ""
	}
	return c.mode()
}

func (c *Client) noteStale(ctx context.Context, stale string) {
	away := "control was last heard of at " + c.lastContact().UTC().Format(time.RFC3339)
	if c.foreign != nil {
		away = "the Workload API of this host should have renewed it at " + c.lastContact().UTC().Format(time.RFC3339)
	}
	if stale == staleServe {
		c.note(ctx, "stale-serve", "our SVID has ended, calls are served on with the last good state; "+away)
	} else {
		c.note(ctx, "stale-stop", "our SVID has ended, no calls are served; "+away)
	}
}

// turn does what a change of staleness means.
func (c *Client) turn(ctx context.Context, before, stale string) {
	stop := func(stopped bool) {
		if c.o.Stop != nil {
			c.o.Stop(stopped)
		}
	}
	if stale == "" {
		c.note(ctx, "fresh", "our SVID is valid again")
	} else {
		c.noteStale(ctx, stale)
	}
	switch {
	case stale == staleStop:
		stop(true)
		n := len(c.live.Cut(func(peer.Peer) bool { return true }))
		c.mu.Lock()
		c.cut += uint64(n)
		c.mu.Unlock()
	case before == staleStop:
		stop(false)
	}
	c.Report()
}
