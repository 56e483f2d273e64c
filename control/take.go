package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/event"
)

const (
	takers     = "control" // the consumer that all controls are: each batch goes to one of them
	takeBatch  = 16        // messages that are held at once
	makeAgain  = 2 * time.Second
	mostAhead  = 24 * time.Hour // that the clock of an honest proxy may be
	firstClaim = 1              // refused event of a message whose reason is told
)

// takeEvents keeps what proxies deliver, until ctx ends. A message is confirmed to the bus when its events are kept.
func (c *Control) takeEvents(ctx context.Context) error {
	for {
		err := c.bus.MakeStream(ctx, bus.StreamOptions{
			Name: wire.EventsStream, Subjects: []string{wire.EventsSubject + "*"}, Replicas: c.o.Bus.Replicas, MaxBytes: c.o.Bus.Events, Once: true,
		})
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		c.log.ErrorContext(ctx, "events of proxies are not taken", "error", err, "again_in", makeAgain) // the bus has no quorum
		timer := time.NewTimer(makeAgain)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
	err := c.bus.Consume(ctx, bus.ConsumeOptions{Stream: wire.EventsStream, Name: takers, Batch: takeBatch}, c.take)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// take keeps the events of messages.
func (c *Control) take(ctx context.Context, messages []bus.Message) error {
	var honest []*event.Event
	for i := range messages {
		honest = append(honest, c.sift(ctx, &messages[i])...)
	}
	if err := c.o.Keep(ctx, honest); err != nil {
		return fmt.Errorf("keeping %d events of proxies: %w", len(honest), err)
	}
	c.counts.kept.Add(uint64(len(honest)))
	return nil
}

// sift returns the events of a message that its sender can have made. Others are counted and told.
func (c *Control) sift(ctx context.Context, m *bus.Message) (honest []*event.Event) {
	refused, why := 0, error(nil)
	id, err := bus.ParseSubjectToken(strings.TrimPrefix(m.Subject, wire.EventsSubject))
	if err != nil { // the server lets nobody send to such a subject
		id = m.Subject
	}
	now := time.Now()
	for line := range bytes.Lines(m.Data) {
		e, err := event.Parse(line)
		if err == nil {
			err = credible(c.o.Domain, id, e, now)
		}
		if err == nil {
			honest = append(honest, e)
			continue
		}
		if refused++; refused == firstClaim {
			why = err
		}
	}
	if refused == 0 {
		return honest
	}
	c.counts.forged.Add(uint64(refused))
	if c.desk.may(id, now) {
		c.record(ctx, Event{Kind: "events-refused", Who: id, Object: fmt.Sprintf("%d events", refused), Outcome: outcomeDenied, Text: why.Error()})
	}
	return honest
}

// credible tells why a proxy cannot have made an event: what it was, where it was seen, or who did it is another's to say.
func credible(domain, id string, e *event.Event, now time.Time) error {
	name, ours := strings.CutPrefix(id, "spiffe://"+domain+"/")
	service, isService := strings.CutPrefix(name, "service/")
	switch {
	case !ours || !isService && name != "edge/edge":
		return fmt.Errorf("%s is no proxy", id)
	case e.Time.After(now.Add(mostAhead)):
		return fmt.Errorf("it is of the future: %s", e.Time.Format(time.RFC3339))
	case e.Log != nil:
		if !isService || e.Service != service {
			return fmt.Errorf("a log record of %q", e.Service)
		}
	case e.Act != nil:
		return credibleAct(path.Base(name), e.Act)
	case !isService:
		if sideOf(e) != event.SideUnknown {
			return errors.New("an edge sees nothing within the mesh")
		}
	default:
		return credibleCall(service, e)
	}
	return nil
}

func sideOf(e *event.Event) event.Side {
	if e.Connection != nil {
		return e.Connection.Side
	}
	return e.Side
}

// credibleAct is for acts: a proxy tells what it saw itself, and nothing of administrators.
func credibleAct(name string, a *event.Act) error {
	if a.Proxy != name {
		return fmt.Errorf("an act that %q saw", a.Proxy)
	}
	switch a.Kind {
	case event.KindApplied, event.KindRolledBack, event.KindRevoked, event.KindRestored, event.KindJoinToken, event.KindAdminister, event.KindForged:
		return fmt.Errorf("an act of control: %s", a.Kind)
	}
	if a.Role != "" {
		return fmt.Errorf("an act of an administrator: %s", a.Kind)
	}
	return nil
}

// credibleCall is for what the sidecar of a service sees: what the service is asked, and what it asks.
func credibleCall(service string, e *event.Event) error {
	at, _, _ := strings.Cut(e.Listener, "/")
	side := sideOf(e)
	switch {
	case side == event.SideUnknown:
		return errors.New("a sidecar is no edge")
	case at != service:
		return fmt.Errorf("seen by the sidecar of %q", at)
	case side == event.SideInbound && e.Service != service && e.Service != "":
		return fmt.Errorf("asked of %q", e.Service)
	case side != event.SideInbound && e.Workload != "" && path.Base(e.Workload) != service:
		return fmt.Errorf("asked by %q", e.Workload)
	}
	return nil
}
