package stream

import (
	"errors"

	"github.com/palisade-security/palisade/proxy"
)

// natsConn is a connection whose peer speaks the protocol. What is read from it is what goes on.
type natsConn struct {
	rest
	lines natsLines
	to    natsSpeaker
	kind  proxy.Kind // of the refusal of a peer that speaks otherwise
	says  string     // that refusal
	ready []byte     // goes on, and was not asked for yet
	spare []byte     // the memory of ready
	ended error      // how reading ended, once ready is gone
}

const natsSpare = 16 << 10 // bytes of memory that a connection at rest may keep

// Read returns what goes on of what the peer says.
func (c *natsConn) Read(p []byte) (int, error) {
	for len(c.ready) == 0 {
		if err := c.ended; err != nil {
			c.ended = nil // of a deadline, which is moved
			return 0, err
		}
		if cap(c.spare) > natsSpare {
			c.spare = nil
		}
		n, err := c.rest.Read(p)
		c.ended = err
		var failed error
		c.spare, failed = c.lines.read(p[:n], c.spare[:0], c.to)
		switch {
		case errors.Is(failed, errConsumer):
			return 0, Refusal(proxy.KindForbidden, "inbox-of-another", failed.Error())
		case failed != nil:
			return 0, Refusal(c.kind, "nats-protocol", c.says)
		}
		c.ready = c.spare
	}
	n := copy(p, c.ready)
	c.ready = c.ready[n:]
	return n, nil
}
