package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/canon"
	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/route"
)

// exchange is one request and its answer. Exchanges are reused: nothing may keep a reference into one after
// reset.
type exchange struct {
	engine *Engine
	table  *Table
	call   *Call
	ctx    context.Context //nolint:containedctx // an exchange is the request's own scope and dies with it

	req   proxy.Request
	in    canon.Input
	out   canon.Output
	trace trace
	route *Route
	body  bodyReader
	bound proxy.Body // body within its bound; what req.Body points to

	denial   *proxy.Denial
	head     field.List // of the answer
	answered bool       // the head of an answer is out
	broken   bool       // the connection must not be used again
	tunnelIn int64

	understood bool // canonicalised
	tunnelled  bool // the connection switched protocols
	ev         event.Event
	user       event.User // what ev.User points to
	attributes event.Attributes

	clock time.Time // when the stage before ended, which is when the next begins
}

func (x *exchange) start(ctx context.Context, e *Engine, t *Table, c *Call) {
	x.engine, x.table, x.call, x.ctx = e, t, c, ctx
	r := &x.req
	r.Received = time.Now()
	x.clock = r.Received
	x.identify()
	r.Proto = c.Proto
	r.Peer, r.Client, r.TLS, r.Workload = c.Conn.Peer, c.Conn.Peer, c.Conn.TLS, c.Conn.Workload
	x.body.begin(x)
	x.bound = *proxy.NewBody(&x.body, c.Length, 0)
	r.Body = &x.bound
}

// only returns the value of the one field line of that name, "" if there is none or more than one.
func only(h field.List, name string) string {
	if h.Count(name) != 1 {
		return ""
	}
	return h.Get(name)
}

func (x *exchange) reset() {
	trail, params, query, segments, answer := x.req.Trail[:0], x.req.Params[:0], x.out.Query[:0], x.out.Segments[:0], x.req.Answer[:0]
	head, out, hop := x.head[:0], x.out.Header[:0], x.out.Hop[:0]
	if cap(x.req.Header) > cap(out) {
		out = x.req.Header[:0] // what was added outgrew it
	}
	clear(trail[:cap(trail)])
	clear(head[:cap(head)])
	clear(out[:cap(out)])
	clear(hop[:cap(hop)])
	*x = exchange{}
	x.req.Trail, x.req.Params, x.req.Answer = trail, params, answer
	x.out.Query, x.out.Segments, x.out.Header, x.out.Hop, x.head = query, segments, out, hop, head
}

// run serves the request and records it, whatever happens.
func (x *exchange) run(overload *proxy.Denial) {
	defer func() {
		if p := recover(); p != nil {
			x.panicked(p)
		}
		x.finish()
	}()
	defer x.ended()
	if overload != nil {
		x.refuse(overload)
		return
	}
	x.serve()
}

// serve decides, records if it must, and forwards.
func (x *exchange) serve() {
	err := x.decide()
	if err == nil && x.table.Strict {
		err = x.recordOpen()
	}
	if err != nil {
		x.refuse(denialFor(err, &x.req))
		return
	}
	if x.req.Route == nil {
		return // answered by the gateway itself
	}
	x.forward()
}

// decide runs every stage before forwarding. A nil error with no route means that the gateway has answered.
func (x *exchange) decide() error {
	if err := x.stage(event.StageCanonicalise, x.canonicalise); err != nil {
		return err
	}
	if err := x.stage(event.StageRoute, x.match); err != nil {
		return err
	}
	if x.route == nil {
		return nil
	}
	for i := range x.route.Steps {
		s := &x.route.Steps[i]
		err := x.step(s)
		if err == nil {
			continue
		}
		if !s.DryRun {
			return err
		}
		if x.req.Body.Err() != nil { // what was lost cannot be forwarded
			x.enforced()
			return err
		}
		x.ev.DryRun = true
	}
	return nil
}

func (x *exchange) stage(name string, f func() error) error {
	x.req.Trail = append(x.req.Trail, event.Stage{Name: name})
	began := x.clock
	err := f()
	x.settle(err, began)
	return err
}

func (x *exchange) step(s *Step) error {
	x.req.Trail = append(x.req.Trail, event.Stage{Name: s.Stage, DryRun: s.DryRun})
	began := x.clock
	x.req.Began = began
	known := len(x.req.Later.Answers)
	err := s.Filter.Filter(x.ctx, &x.req)
	for i := range x.req.Later.Answers[known:] {
		x.req.Later.Answers[known+i].DryRun = s.DryRun
	}
	x.settle(err, began)
	return err
}

// settle writes what the running stage decided into the trail.
func (x *exchange) settle(err error, began time.Time) {
	x.clock = time.Now()
	x.settled(err, began)
}

// settled is settle of a stage that ended when the clock was read.
func (x *exchange) settled(err error, began time.Time) {
	st := &x.req.Trail[len(x.req.Trail)-1]
	st.Took = x.clock.Sub(began)
	if err == nil {
		st.Outcome = event.OutcomePass
		return
	}
	d := denialFor(err, &x.req)
	outcome := event.OutcomeDeny
	if d.Kind.Slug == proxy.KindUndecided.Slug {
		outcome = event.OutcomeError
	}
	st.Refuse(outcome, d.Reasons)
}

// canonicalise is the one parse of what the client sent.
func (x *exchange) canonicalise() error {
	r, c, t := &x.req, x.call, x.table
	if c.Refused != nil {
		return c.Refused
	}
	in := &x.in
	in.Method, in.Target, in.Host, in.Proto, in.Header = c.Method, c.Target, c.Host, c.Proto, c.Header
	in.TLS, in.SNI = c.Conn.Secure(), r.TLS.Server
	in.ContentLength = c.Length
	in.Limits, in.Inside = t.Limits, t.Side != Edge
	if client, err := canon.Client(r.Peer, t.trusted(r.Workload), in.Header); err == nil {
		r.Client = client
	} else {
		return err
	}
	r.Scheme = "http"
	if in.TLS {
		r.Scheme = "https"
	}
	if err := canon.Canonicalise(in, &x.out); err != nil {
		return x.withAllow(err)
	}
	x.understood = true
	r.Method, r.Host, r.Path, r.Segments = x.out.Method, x.out.Host, x.out.Path, x.out.Segments
	r.RawQuery, r.Query, r.Header, r.Hop = x.out.RawQuery, x.out.Query, x.out.Header, x.out.Hop
	return nil
}

// withAllow adds the methods that any client may know to a refusal of a method that nobody knows.
func (x *exchange) withAllow(err error) error {
	var refusal *canon.Refusal
	if !errors.As(err, &refusal) || refusal.Kind.Slug != proxy.KindMethod.Slug {
		return err
	}
	d := denialFor(err, &x.req)
	d.Header.Add("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	return d
}

// match finds the route and bounds the body by it.
func (x *exchange) match() error {
	r := &x.req
	m := x.table.Matcher.Match(r.Host, r.Method, r.Segments, r.Params[:0])
	switch m.Outcome {
	case route.Found:
	case route.MethodNotAllowed:
		if x.preflight(m.Allow) {
			return nil
		}
		return &proxy.Denial{
			Kind: proxy.KindMethod, Header: field.List{{Name: "Allow", Value: joinList(m.Allow)}},
			Reasons: []event.Reason{{Code: "method-not-declared", Text: "the route takes " + joinList(m.Allow)}},
		}
	case route.NotFound:
		return x.table.unknown()
	}
	x.route, r.Route, r.Params = m.Value, &m.Value.Route, m.Params
	if x.out.Upgrade != "" && !x.upgradable() {
		return &proxy.Denial{Kind: proxy.KindMalformed, Reasons: []event.Reason{{Code: "upgrade-not-declared", Text: "the route does not declare this protocol switch"}}}
	}
	if x.call.Length > x.route.Body {
		return fmt.Errorf("declared length: %w", proxy.ErrBodyTooLarge)
	}
	x.bound = *proxy.NewBody(&x.body, x.call.Length, x.route.Body)
	return nil
}

func (x *exchange) upgradable() bool { return x.route.WebSocket && x.out.Upgrade == "websocket" }

// isStream reports whether bodies of this exchange have no end to wait for.
func (x *exchange) isStream() bool { return x.route != nil && x.route.Stream }
