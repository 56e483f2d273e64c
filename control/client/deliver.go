package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/wire"
)

const (
	deliverTime = 20 * time.Second // for one try
	linkTime    = 10 * time.Second // that a connection is waited for
	linkPoll    = 100 * time.Millisecond
)

// ErrTooLarge refuses a message that the bus does not take.
var ErrTooLarge = bus.ErrTooLarge

var errNoBus = errors.New("there is no connection to the bus of control")

// Deliver hands events over to control, as lines of JSON, and returns when the bus has them on disk. If it fails they may be
// there: deliver them again, under the same id, by which the bus knows them for a while. It is nobody else's: processes of one identity share a subject.
func (c *Client) Deliver(ctx context.Context, id string, lines []byte) error {
	link, err := c.linked(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, deliverTime)
	defer cancel()
	_, err = link.Publish(ctx, bus.Message{Subject: wire.EventsSubject + bus.SubjectToken(c.id.String()), ID: id, Data: lines})
	if err != nil {
		return fmt.Errorf("delivering events: %w", err)
	}
	return nil
}

// linked waits a while for a connection.
func (c *Client) linked(ctx context.Context) (*bus.Client, error) {
	give := time.NewTimer(linkTime)
	defer give.Stop()
	tick := time.NewTicker(linkPoll)
	defer tick.Stop()
	for {
		if link := c.link.Load(); link != nil && link.Connected() {
			return link, nil
		}
		select {
		case <-tick.C:
		case <-give.C:
			return nil, errNoBus
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
