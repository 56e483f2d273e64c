package bus

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	moveAfter = 5 * time.Second // without an answer from streams
	moveMost  = 5 * time.Minute

	probeEvery = 10 * time.Second // of who only watches
)

// judge takes note whether streams answer. A server that was cut off from its cluster still talks to its clients; if
// streams are silent through it, the client goes to another, and waits twice as long before the next, since perhaps all
// are without a majority.
func (c *Client) judge(err error) {
	api, _ := errors.AsType[*apiError](err)
	silent := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		api != nil && api.Code == codeNoMajority
	if err != nil && !silent {
		return
	}
	if c.move(err == nil) {
		c.log.Warn("bus streams are silent, going to another server", "server", c.nc.ConnectedServerName())
		if err := c.nc.ForceReconnect(); err != nil {
			c.log.Warn("going to another bus server", "error", err)
		}
	}
}

// alone tells whether the server is the only one that is known.
func (c *Client) alone() bool { return len(c.nc.Servers()) < 2 }

// heardSince reports whether streams have answered within d.
func (c *Client) heardSince(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.heard) < d
}

func (c *Client) move(answered bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	patience := min(moveAfter<<min(c.moves, 10), moveMost)
	patience += rand.N(patience / 2) //nolint:gosec // G404: jitter needs no secret
	switch {
	case answered:
		c.deaf, c.moves, c.heard = time.Time{}, 0, now
		return false
	case c.deaf.IsZero():
		c.deaf = now
		return false
	case now.Sub(c.deaf) < patience || c.alone() || !c.nc.IsConnected():
		return false
	}
	c.deaf = now
	c.moves++
	return true
}
