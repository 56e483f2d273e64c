package stream

import (
	"context"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
)

// Asked is a request that a Carrier has read on a connection whose bytes it hands on.
type Asked struct {
	Method, Host, Path, Query, Proto, UserAgent string
}

// Ask is the stage that decides about a request on the connection, and writes the request's own record: before it goes on, and
// without its answer, which nobody reads. It is called only while Join runs.
func (l *Link) Ask(a *Asked, decide func() ([]event.Reason, error)) error {
	e := l.Event
	e.Connection, e.Side = nil, l.conn.Side
	e.Time = time.Now()
	e.ID = event.NewID(e.Time)
	e.Method, e.Scheme, e.Host, e.Path, e.Query, e.Proto, e.UserAgent = a.Method, "http", a.Host, a.Path, a.Query, a.Proto, a.UserAgent
	why, err := decide()
	st := event.Stage{Name: event.StageAuthorise, Outcome: event.OutcomePass, Reasons: why, Took: time.Since(e.Time)}
	var d *proxy.Denial
	if err != nil {
		d = denial(err)
		st.Refuse(event.OutcomeDeny, d.Reasons)
		e.Problem = d.Kind.Slug
	}
	e.Allowed, e.Trail = d == nil, []event.Stage{st}
	if l.rules.Strict && e.Allowed {
		if err := l.durable(e); err != nil {
			return err
		}
	}
	l.fill(&e)
	l.server.o.Recorder.Observe(&e)
	if d != nil {
		return d
	}
	return nil
}

// durable writes that something is let pass before it is.
func (l *Link) durable(open event.Event) error {
	ctx, cancel := context.WithTimeout(l.ctx, durableTimeout)
	defer cancel()
	l.fill(&open)
	open.Open, open.Allowed = true, true
	if err := l.server.o.Recorder.Durable(ctx, &open); err != nil {
		return Refusal(proxy.KindUnrecorded, "record-failed", "the record could not be written")
	}
	return nil
}
