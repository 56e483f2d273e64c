package control

import (
	"context"
	"net/http"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/wire"
)

// Names keeps names of users out of what is written down of acts, and shows them to who may read it.
type Names interface {
	HideText(ctx context.Context, text string) (string, error)
	HideWho(ctx context.Context, administrator string) (string, error)
	ShowText(ctx context.Context, text string) (string, error)
}

func (c *Control) planErase(ctx context.Context, _ caller, _ *http.Request, body []byte) (any, string, error) {
	out, err := admin.Erasure(ctx, c.o.Persons, body, true)
	return out, out.Pseudonym, err
}

func (c *Control) doErase(ctx context.Context, _ caller, _ *http.Request, body []byte) (any, string, error) {
	out, err := admin.Erasure(ctx, c.o.Persons, body, false)
	if err == nil {
		out.Bus = c.emptyBus(ctx)
	}
	return out, out.Pseudonym, err
}

const (
	emptyTime = 10 * time.Second // for what waits on the bus to be kept
	emptyPoll = 100 * time.Millisecond
)

// emptyBus has the bus forget events that were kept, which name users. It returns why it could not, empty if it did.
func (c *Control) emptyBus(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, emptyTime)
	defer cancel()
	tick := time.NewTicker(emptyPoll)
	defer tick.Stop()
	for {
		done, err := c.bus.Forget(ctx, wire.EventsStream)
		switch {
		case done:
			return ""
		case err != nil && ctx.Err() == nil:
			c.log.WarnContext(ctx, "the bus does not forget the events that are kept", "error", err)
			return "the bus did not answer; what it has left of events that are kept it deletes as others come"
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "events wait on the bus all the time; what it has left of those that are kept it deletes as others come"
		}
	}
}

// nameless takes the names of users out of a row of acts.
func (c *Control) nameless(ctx context.Context, who *string, texts ...*string) error {
	if c.o.Names == nil {
		return nil
	}
	hidden, err := c.o.Names.HideWho(ctx, *who)
	if err != nil {
		return err
	}
	*who = hidden
	for _, text := range texts {
		hidden, err := c.o.Names.HideText(ctx, *text)
		if err != nil {
			return err
		}
		*text = hidden
	}
	return nil
}

// named puts names into a row of acts, for who may read them.
func (c *Control) named(ctx context.Context, texts ...*string) error {
	if c.o.Names == nil {
		return nil
	}
	for _, text := range texts {
		shown, err := c.o.Names.ShowText(ctx, *text)
		if err != nil {
			return err
		}
		*text = shown
	}
	return nil
}
