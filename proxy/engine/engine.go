// Package engine runs a request through the data path: canonicalise, route, decide stage by stage, forward,
// answer, record. It knows neither the model's files nor any particular filter; package gate compiles both
// into the Table it runs on. The edge uses it today, sidecars next.
package engine

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/canon"
	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/route"
	"github.com/palisade-security/palisade/proxy/upstream"
)

// Step is one filter of a route under the name of its stage.
type Step struct {
	Stage  string
	Filter proxy.Filter
	DryRun bool // decide and record, do not refuse
}

// Transport carries requests to a service until it is closed.
type Transport interface {
	upstream.Transport
	Close()
}

// Service is where requests are forwarded to. Several tables may share one.
type Service struct {
	Name      string
	Address   string // host:port, as recorded
	Authority string // Host sent upstream; empty: the one the client used
	Transport Transport
	slots     chan struct{}
}

// NewService bounds the requests in flight to one service; what exceeds the bound is shed.
func NewService(name, address string, t Transport, inFlight int) *Service {
	return &Service{Name: name, Address: address, Transport: t, slots: make(chan struct{}, inFlight)}
}

// Close closes idle connections; those in use end with their requests.
func (s *Service) Close() { s.Transport.Close() }

// Route is a compiled exposure.
type Route struct {
	proxy.Route
	Steps      []Step
	Service    *Service
	Body       int64         // bytes a request body may have
	Timeout    time.Duration // until the answer's head
	Stream     bool          // bodies without end
	Deprecated bool
	WebSocket  bool     // a client may switch to it
	CORS       []string // origins that may read answers
}

// Table is everything a request meets, compiled from one snapshot. It is immutable.
type Table struct {
	Version  string
	Fleet    string
	Hosts    []string // declared hosts, sorted
	Matcher  *route.Matcher[*Route]
	Limits   canon.Limits
	Trusted  []netip.Prefix
	Redactor *event.Redactor
	Claims   []string          // of users, that policies read and records hold
	HSTS     map[string]string // value of Strict-Transport-Security by listener; empty: not sent
	Pause    time.Duration     // longest wait for the next byte of a client's body
	Body     time.Duration     // longest wait for the whole of it
	Write    time.Duration     // longest wait for a client to take a byte
	Tunnel   time.Duration     // longest silence after a switch of protocols; 0: no bound
	Requests int               // in flight at once
	Strict   bool              // refuse what cannot be recorded
	Dev      bool              // answers carry reasons
	Side     Side

	Forwarder string // SPIFFE ID of the workload whose word about the client's address is taken; empty: nobody's
}

// Side is where a table stands.
type Side uint8

// The sides.
const (
	Edge     Side = iota // clients from outside ask services
	Inbound              // other services, and the edge, ask the one behind this sidecar
	Outbound             // the service behind this sidecar asks others
)

// seen is the side as events name it.
func (s Side) seen() event.Side {
	switch s {
	case Inbound:
		return event.SideInbound
	case Outbound:
		return event.SideOutbound
	case Edge:
	}
	return event.SideUnknown
}

// trusted returns the addresses whose word about the client's address is taken on a connection of w.
func (t *Table) trusted(w *proxy.Workload) []netip.Prefix {
	if w != nil && t.Forwarder != "" && w.SPIFFEID == t.Forwarder {
		return everywhere[:]
	}
	return t.Trusted
}

// everywhere is all addresses.
var everywhere = [...]netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}

// unknown refuses what no route takes. Between services that is not a place that does not exist, but a call that
// nobody declared.
func (t *Table) unknown() *proxy.Denial {
	switch t.Side {
	case Inbound:
		return &proxy.Denial{Kind: proxy.KindForbidden, Detail: "The model declares no such call.", Reasons: []event.Reason{{Code: "call-not-declared", Text: "the service serves nobody this host and path"}}}
	case Outbound:
		return &proxy.Denial{Kind: proxy.KindForbidden, Detail: "The model declares no such call.", Reasons: []event.Reason{{Code: "call-not-declared", Text: "the service may call nobody with this host and path"}}}
	case Edge:
	}
	return &proxy.Denial{Kind: proxy.KindNotFound, Reasons: []event.Reason{{Code: "no-route", Text: "no service exposes this host and path"}}}
}

// Recorder keeps events. Record must not keep e after it returns. Durable returns after the event is safe
// on disk; Observe never blocks.
type Recorder interface {
	Durable(ctx context.Context, e *event.Event) error
	Observe(e *event.Event)
}

// Engine serves requests on the current table. Requests in flight keep the table they began with.
type Engine struct {
	table    atomic.Pointer[Table]
	recorder Recorder
	inFlight atomic.Int64
	tunnels  tunnels
	pool     sync.Pool
}

// New returns an engine that refuses everything until the first Swap.
func New(r Recorder) *Engine {
	e := &Engine{recorder: r}
	e.tunnels.open = make(map[*tunnel]struct{})
	e.pool.New = func() any { return &exchange{} }
	return e
}

// Swap makes t the table of all requests that begin from now on and returns the one before.
func (e *Engine) Swap(t *Table) *Table { return e.table.Swap(t) }

// Table returns the table in force, or nil.
func (e *Engine) Table() *Table { return e.table.Load() }

// InFlight returns the number of requests being served, tunnels included.
func (e *Engine) InFlight() int { return int(e.inFlight.Load()) }

// Serve answers one request and records it.
func (e *Engine) Serve(ctx context.Context, c *Call) (whole bool) {
	t := e.table.Load()
	if t == nil {
		return notReady(c)
	}
	x, _ := e.pool.Get().(*exchange)
	x.start(ctx, e, t, c)
	n := e.inFlight.Add(1)
	c.Conn.Client.hold()
	x.run(x.overload(int(n)))
	c.Conn.Client.let()
	e.inFlight.Add(-1)
	if x.tunnelled {
		e.tunnels.recorded.Done()
	}
	if x.broken {
		return false // the exchange is left to the collector: after a defect nothing about it can be trusted
	}
	x.reset()
	e.pool.Put(x)
	return true
}

func notReady(c *Call) (whole bool) {
	const text = "not ready\n"
	c.Answer.Begin(http.StatusServiceUnavailable, field.List{{Name: "Retry-After", Value: "1"}, {Name: "Content-Type", Value: "text/plain; charset=utf-8"}}, int64(len(text)))
	_, err := c.Answer.Write([]byte(text))
	return err == nil
}

// Decide runs a request through every stage up to forwarding and returns what was decided, without
// forwarding, answering or recording anything.
func (e *Engine) Decide(w http.ResponseWriter, hr *http.Request) *event.Event {
	return e.DecideAt(hr.Context(), callOf(w, hr), time.Now())
}

// DecideAt is Decide of a call as if it had been received at that time.
func (e *Engine) DecideAt(ctx context.Context, c *Call, at time.Time) *event.Event {
	x := &exchange{}
	x.start(ctx, e, e.table.Load(), c)
	x.req.Received = at
	defer x.ended()
	if err := x.decide(); err != nil {
		x.setDenial(denialFor(err, &x.req))
	}
	x.fill()
	return &x.ev
}

// Close ends the connections that have switched protocols. Listeners drain requests; tunnels have no end to
// wait for. It returns once they are recorded.
func (e *Engine) Close() {
	e.tunnels.closeAll()
	e.tunnels.recorded.Wait()
}

// denialFor turns whatever a stage returned into a refusal.
func denialFor(err error, r *proxy.Request) *proxy.Denial {
	if d, ok := errors.AsType[*proxy.Denial](err); ok {
		return d
	}
	if cause := r.Body.Err(); cause != nil {
		err = cause
	}
	var refusal *canon.Refusal
	switch {
	case errors.As(err, &refusal):
		return &proxy.Denial{Kind: refusal.Kind, Detail: refusal.Text, Reasons: []event.Reason{{Code: refusal.Code, Text: refusal.Text}}}
	case errors.Is(err, proxy.ErrBodyTooLarge):
		return &proxy.Denial{Kind: proxy.KindTooLarge, Reasons: []event.Reason{{Code: "body-too-large", Text: "the body exceeds the limit of this route"}}}
	case isTimeout(err):
		return &proxy.Denial{Kind: proxy.KindTimeout, Reasons: []event.Reason{{Code: "body-timeout", Text: "the body did not arrive in time"}}}
	case r.Body.Err() != nil:
		return &proxy.Denial{Kind: proxy.KindMalformed, Reasons: []event.Reason{{Code: "body-unreadable", Text: "the body broke off or is framed wrongly"}}}
	}
	return &proxy.Denial{Kind: proxy.KindUndecided, Reasons: []event.Reason{{Code: "undecided", Text: err.Error()}}}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
