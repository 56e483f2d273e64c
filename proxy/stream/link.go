package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
)

// Why a connection ended early, as recorded in Event.Aborted.
const (
	CutClient   = "client"   // the side that connected broke it
	CutUpstream = "upstream" // the other side did
	CutTimeout  = "timeout"  // nothing moved, or it was open for too long
	CutDrain    = "drain"    // the proxy ended
	CutRules    = "rules"    // a new snapshot does not let it pass
	CutIdentity = "identity" // the identity of a side is not recognised any more
)

// Link is one connection: what is known about it, what was decided, and its two sockets. It belongs to the goroutine
// that carries it, but for Cut.
type Link struct {
	Event  event.Event // what the Carrier finds out is written here
	Client net.Conn    // as it was accepted

	ctx     context.Context //nolint:containedctx // a link is the connection's own scope and dies with it
	cancel  context.CancelFunc
	server  *Server
	rules   *Rules
	conn    event.Connection
	clock   time.Time // when the stage before ended
	silent  bool      // not worth a record
	broken  bool      // refused for what was said on it
	endings []func()

	stranger bool   // guarded by Server.mu
	counted  string // guarded by Server.mu: the caller it counts for

	mu     sync.Mutex
	again  func(*Rules) bool // nil: not decided yet
	socket []net.Conn        // what Cut closes
	cause  string            // what it was cut for
	ended  bool
}

func newLink(base context.Context, s *Server, c net.Conn) *Link {
	l := &Link{Client: c, server: s, rules: s.rules.Load(), stranger: true}
	l.ctx, l.cancel = context.WithCancel(base)
	l.socket = append(l.socket, c)
	e := &l.Event
	e.Time = time.Now()
	l.clock = e.Time
	e.ID = event.NewID(e.Time)
	e.Connection = &l.conn
	e.Listener = s.o.Name
	e.Peer, e.ClientPort = address(c.RemoteAddr())
	e.Client = e.Peer
	return l
}

// address returns an address without its port, and the port.
func address(a net.Addr) (string, int) {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().String(), t.Port
	}
	return "unix socket", 0
}

// Rules are those that the connection began with.
func (l *Link) Rules() *Rules { return l.rules }

// Bounds are those of the server.
func (l *Link) Bounds() *Bounds { return &l.server.o.Bounds }

// Is says which side this is, and how the connection is taken.
func (l *Link) Is(side event.Side, protocol string) { l.conn.Side, l.conn.Protocol = side, protocol }

// Stage runs f as a stage of the decision trail.
func (l *Link) Stage(name string, f func() error) error {
	e := &l.Event
	e.Trail = append(e.Trail, event.Stage{Name: name})
	err := f()
	now := time.Now()
	st := &e.Trail[len(e.Trail)-1]
	st.Took, l.clock = now.Sub(l.clock), now
	if err == nil {
		st.Outcome = event.OutcomePass
		return nil
	}
	d := denial(err)
	outcome := event.OutcomeDeny
	if d.Kind.Slug == proxy.KindUndecided.Slug || failedBehind(d) {
		outcome = event.OutcomeError
	}
	st.Refuse(outcome, d.Reasons)
	return d
}

// Note adds reasons, which nobody changes any more, to the stage that is running.
func (l *Link) Note(reasons ...event.Reason) {
	if n := len(l.Event.Trail); n > 0 {
		st := &l.Event.Trail[n-1]
		st.Reasons = append(slices.Clip(st.Reasons), reasons...)
	}
}

// denial turns whatever went wrong into a refusal.
func denial(err error) *proxy.Denial {
	if d, ok := errors.AsType[*proxy.Denial](err); ok {
		return d
	}
	return &proxy.Denial{Kind: proxy.KindUndecided, Reasons: []event.Reason{{Code: "undecided", Text: err.Error()}}}
}

// failedBehind reports whether a connection that was let pass did not reach its destination.
func failedBehind(d *proxy.Denial) bool {
	return d.Kind.Slug == proxy.KindUpstream.Slug || d.Kind.Slug == proxy.KindUpstreamTimeout.Slug
}

// Refusal is a denial of one reason.
func Refusal(kind proxy.Kind, code, text string) *proxy.Denial {
	return &proxy.Denial{Kind: kind, Reasons: []event.Reason{{Code: code, Text: text}}}
}

// Authorise is the stage that asks the rules about who connects, and counts it among the connections of that one. If
// the rules change, they are asked again.
func (l *Link) Authorise(caller *proxy.Workload) error {
	if caller != nil {
		l.Event.Workload = caller.SPIFFEID
	}
	terms := l.rules.terms(caller)
	err := l.Stage(event.StageAuthorise, func() error {
		if l.rules.Callers == nil {
			return &proxy.Denial{Kind: proxy.KindForbidden, Reasons: []event.Reason{undeclared("")}}
		}
		allowed, why := l.rules.Callers.Decide(caller)
		if !allowed {
			return &proxy.Denial{Kind: proxy.KindForbidden, Reasons: why}
		}
		l.Note(why...)
		return nil
	})
	if err != nil {
		return err
	}
	l.Depend(func(r *Rules) bool {
		if r.Callers == nil {
			return false
		}
		allowed, _ := r.Callers.Decide(caller)
		return allowed && r.terms(caller) == terms
	})
	return l.Count(caller)
}

// Depend says what the connection was let pass by: it is cut once again returns false.
func (l *Link) Depend(again func(*Rules) bool) {
	l.mu.Lock()
	l.again = again
	l.mu.Unlock()
	if !again(l.server.rules.Load()) {
		l.Cut(CutRules) // they changed in between, when there was nothing to ask yet
	}
}

// Count is the stage that counts a connection among those of its caller.
func (l *Link) Count(caller *proxy.Workload) error {
	l.server.met(l)
	if caller != nil && l.server.known(l, caller.SPIFFEID) {
		return nil
	}
	return l.Stage(event.StageLimitPrincipal, func() error {
		return Refusal(proxy.KindLimited, "too-many-connections", "the caller has as many connections as it may")
	})
}

func (l *Link) passes(r *Rules) bool {
	l.mu.Lock()
	again := l.again
	l.mu.Unlock()
	return again == nil || again(r)
}

// durableTimeout is how long a decision may wait for the disk before the connection is refused.
const durableTimeout = 5 * time.Second

// Record writes that the connection is let pass, if audit is strict, and refuses it if that cannot be written.
func (l *Link) Record() error {
	if !l.rules.Strict {
		return nil
	}
	return l.durable(l.Event)
}

// Refused records that something was refused on the connection, which goes on. It is called only while Join runs.
func (l *Link) Refused(why *event.Reason) {
	e := l.Event
	e.Time = time.Now()
	e.ID = event.NewID(e.Time)
	e.Trail = append(slices.Clip(e.Trail), event.Stage{Name: event.StageAuthorise, Outcome: event.OutcomeDeny, Reasons: []event.Reason{*why}})
	e.Allowed, e.Problem = false, proxy.KindForbidden.Slug
	l.fill(&e)
	l.server.o.Recorder.Observe(&e)
}

// OnEnd calls f once the connection has ended.
func (l *Link) OnEnd(f func()) { l.endings = append(l.endings, f) }

// Hold lets Cut cut c too. It fails, and closes c, if the connection has been cut.
func (l *Link) Hold(c net.Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != "" {
		abort(c)
		return fmt.Errorf("cut by %s: %w", l.cause, net.ErrClosed)
	}
	l.socket = append(l.socket, c)
	return nil
}

// Cut ends the connection at once, in a way that nobody takes for its proper end. The first cause is recorded.
func (l *Link) Cut(cause string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != "" || l.ended {
		return
	}
	l.cause = cause
	l.cancel()
	for _, c := range l.socket {
		abort(c)
	}
}

// Closer cuts the connection for a cause.
func (l *Link) Closer(cause string) io.Closer { return closer{l, cause} }

type closer struct {
	l     *Link
	cause string
}

func (c closer) Close() error { c.l.Cut(c.cause); return nil }

// abort closes a socket with a reset, where there is one.
func abort(c net.Conn) {
	if t, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = t.SetLinger(0) // then it ends as well as it can
	}
	_ = c.Close() // there is nobody left to tell
}

// end closes what is open and writes the one record of the connection.
func (l *Link) end(err error) {
	if err != nil {
		l.mu.Lock()
		cause := l.cause
		l.mu.Unlock()
		l.refused(err, cause)
	}
	l.mu.Lock()
	l.ended = true
	for _, c := range l.socket {
		if err != nil {
			abort(c)
		} else {
			_ = c.Close() // most often it is closed already
		}
	}
	if l.cause != "" {
		l.Event.Aborted = l.cause
	}
	l.mu.Unlock()
	l.cancel()
	for _, f := range l.endings {
		f()
	}
	l.server.forget(l)
	if l.silent {
		return
	}
	e := &l.Event
	l.fill(e)
	l.server.o.Recorder.Observe(e)
}

// refused writes into the event what err means. What was cut before it got anywhere was not refused.
func (l *Link) refused(err error, cause string) {
	e := &l.Event
	d := denial(err)
	if cause != "" && cause != CutRules && cause != CutIdentity && !l.broken {
		e.Allowed, e.Problem = true, proxy.KindUpstream.Slug
		return
	}
	e.Allowed, e.Problem = failedBehind(d), d.Kind.Slug
	if n := len(e.Trail); n == 0 || l.broken || e.Trail[n-1].Outcome != event.OutcomeDeny && e.Trail[n-1].Outcome != event.OutcomeError {
		_ = l.Stage(event.StageForward, func() error { return d }) // which no stage has said yet
	}
}

func (l *Link) fill(e *event.Event) {
	e.Fleet, e.Snapshot = l.rules.Fleet, l.rules.Snapshot
	e.Took = time.Since(e.Time)
	e.Redact(l.rules.Redactor)
}
