// Package console shows people a fleet in a browser: what it does now, why something was refused, who reaches whom, who may
// do what. Pages are made here, of templates and the answers of the store of events; a browser needs no network but this.
//
// It decides nothing about the fleet and keeps nothing but who is signed in and which models are looked at. It is not for programs: they have the command line
// with --format json, and the interface of control.
package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/policy"
	"github.com/palisade-security/palisade/store/query"
)

// ErrNotYet says that there are no answers about events yet, and soon will be.
var ErrNotYet = errors.New("the store of events is being opened")

// Events is the store that pages are made of. Its methods are safe for concurrent use and end with ctx. An error may be ErrNotYet.
type Events interface {
	Last(ctx context.Context, q query.Query, n int, from query.Cursor) (*query.Page, error)
	Count(ctx context.Context, q query.Query, by query.Field, top int) (*query.Counts, error)
	Histogram(ctx context.Context, q query.Query, step time.Duration, by query.Field, top int) (*query.Series, error)
}

// Fleet is what the console is shown in front of. Its methods are safe for concurrent use.
type Fleet interface {
	// Model returns the model in force, and the declared one if it is at hand.
	Model() (*model.Snapshot, *model.Fleet)
	// Explain says what led to a decision and what would turn it. Trace are the events of the same request, wherever they were
	// seen.
	Explain(e *event.Event, trace []*event.Event) Reasons
	// Decide decides about a request on the model in force, and sends nothing. A question that makes no sense is an error for
	// people.
	Decide(ctx context.Context, q *Question) (*event.Event, error)
	// State says how the fleet stands.
	State(ctx context.Context) State
}

// SignIn is an OpenID provider where people sign in. Its methods are safe for concurrent use. An error for people is a Refusal.
type SignIn interface {
	Name() string // for people
	// Begin returns what a browser holds meanwhile, and where it is sent.
	Begin(ctx context.Context) (flow, address string, err error)
	// Finish says who came back with an answer, and until when that holds.
	Finish(ctx context.Context, flow string, answer url.Values) (Person, time.Time, error)
	// Leave is where somebody ends the session there, too; empty: nobody knows.
	Leave() string
}

// Reasons is what is known about a decision beside its record.
type Reasons struct {
	Policies map[string]string // text of every policy that the trail names
	Flips    []policy.Flip     // the smallest changes that would turn it
	Stale    bool              // it was taken under another model than the one in force
	Way      []*Hop            // through the fleet
}

// Hop is what one proxy saw of a request, and what came of it behind that proxy.
type Hop struct {
	Event *event.Event
	Next  []*Hop
}

// Question is a request to decide about.
type Question struct {
	Method, Target string
	As             string   // subject; empty: nobody signed in
	Roles          []string // of the subject
}

// State is how a fleet stands.
type State struct {
	Unready      error    // why the gateway should get no requests; nil: it is ready
	Rollout      *Rollout // nil: none is under way
	Certificates []Certificate
	Proxies      []Proxy
}

// Certificate is one that ends.
type Certificate struct {
	Name    string // what it is of: a SPIFFE ID, a host
	Expires time.Time
}

// Proxy is one process of a proxy.
type Proxy struct {
	Name     string // of its service, or edge
	Instance string
	Version  string    // of the model it has in force
	Current  bool      // that is what it should have
	Problem  string    // in words; empty: none
	Seen     time.Time // zero: it runs in this process
	Expires  time.Time // of its identity
	Requests uint64    // since its start
	Errors   uint64
}

// Options are what a console needs.
type Options struct {
	Name   string   // of the fleet
	Hosts  []string // under which it may be asked, without port; others get 421
	Events Events
	Fleet  Fleet
	// Planner plans models, and applies them if it is an Applier; nil: nobody does.
	Planner Planner
	SignIn  SignIn                              // where people sign in; nil: by one-time links alone
	Record  func(context.Context, *event.Event) // takes acts
	Log     *slog.Logger
}

// Console is the handler of everything that a browser asks.
type Console struct {
	o       Options
	door    *door
	streams streams
	drafts  *drafts
	applier Applier       // nil: nobody applies
	heavy   chan struct{} // what takes long: so many at once
	pages   map[string]*template.Template
	mux     *http.ServeMux
	handler http.Handler
}

// New makes a console.
func New(o Options) (*Console, error) {
	if len(o.Hosts) == 0 || o.Events == nil || o.Fleet == nil || o.Record == nil {
		return nil, errors.New("making the console: something it needs is missing")
	}
	o.Log = cmp.Or(o.Log, slog.Default())
	c := &Console{o: o, door: newDoor(), drafts: newDrafts(), heavy: make(chan struct{}, mostHeavy), mux: http.NewServeMux()}
	c.applier, _ = o.Planner.(Applier)
	var err error
	if c.pages, err = readTemplates(); err != nil {
		return nil, fmt.Errorf("making the console: %w", err)
	}
	for _, r := range c.routes() {
		c.mux.Handle(r.pattern, c.admit(r))
	}
	c.mux.Handle("/", c.admit(route{open: true, do: notFound}))
	c.handler = c.guard(c.mux)
	return c, nil
}

// ServeHTTP answers a browser, over TLS.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// Run applies the models that administrators confirm, until ctx ends.
func (c *Console) Run(ctx context.Context) { c.drafts.run(ctx, c.applier) }

// Link makes a one-time secret with which a browser signs in within LinkLife, and the path of the page that takes it. The secret
// stands behind #, which browsers keep to themselves.
func (c *Console) Link(who string, role Role) (path string, err error) {
	if !role.Permits(Viewer) {
		return "", fmt.Errorf("there is no role %q; choose one of %s, %s, %s", role, Viewer, Operator, Admin)
	}
	return "/sign-in#" + c.door.link(who, role, time.Now()), nil
}
