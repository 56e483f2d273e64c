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

	probeEvery = 10 * time.Second // of who only listens
)

// attend lets the client of a role leave a server that was cut off from its cluster, also if it only answers: to the others of
// the cluster it is not there, and they let nobody in while the callouts are all with the one.
func (c *Client) attend(ctx context.Context, role Role) {
	defer close(c.attended)
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.closed:
			return
		}
		if c.heardSince(probeEvery) || c.alone() || !c.nc.IsConnected() {
			continue
		}
		if err := within(ctx, attemptTime, func(ctx context.Context) error { return c.probe(ctx, role) }); !errors.Is(err, nats.ErrNoResponders) {
			c.judge(err) // a server without streams, such as a broker's, has nobody who would know
		}
	}
}

// probe asks for something that only a server of the majority answers.
func (c *Client) probe(ctx context.Context, role Role) error {
	if role != System {
		return c.askOnce(ctx, nats.NewMsg("$JS.API.INFO"), &struct{}{})
	}
	health, err := askServer[struct {
		Status string `json:"status"`
	}](ctx, &Operator{c}, c.nc.ConnectedServerId(), "HEALTHZ", map[string]any{"js-meta-only": true})
	if err == nil && health.Status != "ok" {
		err = &apiError{Code: codeNoMajority, Text: "the server is " + health.Status}
	}
	return err
}

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
