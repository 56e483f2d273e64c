package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/event"
)

const (
	takers    = "control" // the consumer that all controls are: each batch goes to one of them
	takeBatch = 1024      // messages that are kept at once: a thousand proxies send twenty thousand small ones a second
	takeBytes = 8 << 20   // of them
	makeAgain = 2 * time.Second
	mostAhead = 24 * time.Hour        // that the clock of an honest proxy may be
	largest   = wire.MaxEvent + 4<<10 // bytes of a message of proxies, with its headers
	oneIn     = 8                     // the part of what may wait that is one identity's: who floods the bus keeps nobody else's events off it
)

// takeEvents keeps what proxies deliver, until ctx ends. A message is confirmed to the bus when its events are kept.
func (c *Control) takeEvents(ctx context.Context) error {
	for {
		err := c.bus.MakeStream(ctx, bus.StreamOptions{
			Name: wire.EventsStream, Subjects: []string{wire.EventsSubject + "*"}, Replicas: c.o.Bus.Replicas, MaxBytes: c.o.Bus.Events,
			Message: largest, Share: max(c.o.Bus.Events/oneIn/largest, 1),
		})
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was told to end
		}
		if err == nil {
			break
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
	err := c.bus.Consume(ctx, bus.ConsumeOptions{Stream: wire.EventsStream, Name: takers, Once: true, Batch: takeBatch, Bytes: takeBytes}, c.take)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it was told to end
	}
	return err
}

// take keeps the events of messages. Those that their sender cannot have made are counted and told once the others are kept, for a
// message that cannot be kept comes again.
func (c *Control) take(ctx context.Context, messages []bus.Message) error {
	var honest []*event.Event
	var lies []lie
	for i := range messages {
		events, wrong := sift(c.o.Domain, &messages[i], time.Now())
		honest = append(honest, events...)
		if wrong.events > 0 {
			lies = append(lies, wrong)
		}
	}
	if err := c.o.Keep(ctx, honest); err != nil {
		return fmt.Errorf("keeping %d events of proxies: %w", len(honest), err)
	}
	c.counts.kept.Add(uint64(len(honest)))
	for _, l := range lies {
		c.counts.forged.Add(l.events)
		if c.desk.may(l.sender, time.Now()) {
			c.record(ctx, Event{Kind: "events-refused", Who: l.sender, Object: fmt.Sprintf("%d events", l.events), Outcome: outcomeDenied, Text: l.why.Error()})
		}
	}
	return nil
}

// lie is events of one message that its sender cannot have made.
type lie struct {
	sender string
	events uint64
	why    error // of the first
}

// sift returns the events of a message that its sender can have made.
func sift(domain string, m *bus.Message, now time.Time) (honest []*event.Event, wrong lie) {
	sender, err := bus.ParseSubjectToken(strings.TrimPrefix(m.Subject, wire.EventsSubject))
	if err != nil { // the server lets nobody send to such a subject
		sender = m.Subject
	}
	wrong.sender = sender
	for line := range bytes.Lines(m.Data) {
		e, err := event.Parse(line)
		if err == nil {
			err = credible(domain, sender, e, now)
		}
		if err == nil {
			honest = append(honest, e)
			continue
		}
		if wrong.events++; wrong.why == nil {
			wrong.why = err
		}
	}
	return honest, wrong
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
	case e.Log != nil: // an edge takes in those of sources that have shown who they are
		if isService && e.Service != service {
			return fmt.Errorf("a log record of %q", e.Service)
		}
	case e.Act != nil:
		return credibleAct(path.Base(name), e.Act)
	case !isService:
		if e.SeenAt() != event.SideUnknown {
			return errors.New("an edge sees nothing within the mesh")
		}
	default:
		return credibleCall(service, e)
	}
	return nil
}

// credibleAct is for acts: a proxy tells what it saw itself, and nothing of administrators.
func credibleAct(name string, a *event.Act) error {
	if a.Proxy != name {
		return fmt.Errorf("an act that %q saw", a.Proxy)
	}
	ofControl := []event.Kind{
		event.KindApplied, event.KindRolledBack, event.KindRevoked, event.KindRestored, event.KindJoinToken, event.KindAdminister, event.KindForged,
		event.KindDeleted, event.KindLedger, event.KindHeld, event.KindReleased, event.KindErased,
	}
	if slices.Contains(ofControl, a.Kind) {
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
	side := e.SeenAt()
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
