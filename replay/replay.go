// Package replay decides recorded requests and connections again under another model, by the filters that decide about live
// ones, and reports what would newly be denied or allowed. It reads records and sends nothing. For one request that was
// never sent, see "palisade try"; for what two models say without any record, model/plan.
package replay

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/policy"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/gate"
)

// Replay decides under one model. It is safe for concurrent use.
type Replay struct {
	whole *model.Snapshot
	edge  *station

	mu       sync.Mutex
	sidecars map[place]*station // nil: there is none
}

// place is one side of the sidecars of a service.
type place struct {
	side    engine.Side
	service string
}

// station is where requests are decided: the edge, or one side of a service's sidecars.
type station struct {
	engine   *engine.Engine
	policies *policy.Set
}

// New compiles a model. Findings are those of the rooms that compile it; the error wraps gate.ErrFindings if some are errors.
func New(ctx context.Context, snap *model.Snapshot) (*Replay, []model.Finding, error) {
	r := &Replay{whole: snap, sidecars: map[place]*station{}}
	edge, findings, err := r.build(ctx, engine.Edge, snap)
	if err != nil {
		return nil, findings, fmt.Errorf("compiling the model: %w", err)
	}
	r.edge = edge
	return r, findings, nil
}

// Snapshot is the model that decides.
func (r *Replay) Snapshot() *model.Snapshot { return r.whole }

func (r *Replay) build(ctx context.Context, side engine.Side, snap *model.Snapshot) (*station, []model.Finding, error) {
	st := &station{engine: engine.New(nil)}
	b, err := gate.NewBuilder(gate.WithSide(side), gate.WithStages(st.instead))
	if err != nil {
		return nil, nil, err
	}
	g, findings, err := b.Build(ctx, snap, &recordedUsers{side: side, snap: snap})
	if err != nil {
		return nil, findings, err
	}
	st.policies = g.Policies
	st.engine.Swap(g.Table)
	return st, findings, nil
}

// sidecar returns one side of a service's sidecars, nil if the model has no such service.
func (r *Replay) sidecar(ctx context.Context, side engine.Side, service string) (*station, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := place{side, service}
	if st, ok := r.sidecars[at]; ok {
		return st, nil
	}
	slice := r.whole.ForService(service)
	if slice == nil {
		r.sidecars[at] = nil
		return nil, nil
	}
	st, _, err := r.build(ctx, side, slice) // the whole was compiled without a finding that is an error
	if err != nil {
		return nil, fmt.Errorf("compiling the sidecars of %q: %w", service, err)
	}
	r.sidecars[at] = st
	return st, nil
}

// at returns where a request was decided, nil if there is no such place any more.
func (r *Replay) at(ctx context.Context, e *event.Event) (*station, error) {
	switch e.Side {
	case event.SideInbound:
		return r.sidecar(ctx, engine.Inbound, listener(e, "/inbound", e.Service))
	case event.SideOutbound:
		return r.sidecar(ctx, engine.Outbound, listener(e, "/outbound", serviceOf(e.Workload)))
	case event.SideUnknown, event.SideEgress:
	}
	return r.edge, nil
}

// listener is the service whose sidecar has a listener of that name, otherwise if it has no such name.
func listener(e *event.Event, suffix, otherwise string) string {
	if name, ok := strings.CutSuffix(e.Listener, suffix); ok && name != "" {
		return name
	}
	return otherwise
}

// serviceOf is the name of the service with a SPIFFE ID, "" if it is none.
func serviceOf(id string) string {
	_, name, _ := strings.Cut(id, "/service/")
	return name
}

var _ gate.Authenticator = (*recordedUsers)(nil)

// instead asks the record where bodies, headers and counts are needed that no record has.
func (st *station) instead(stage string, f proxy.Filter) proxy.Filter {
	switch stage {
	case event.StageAuthenticate:
		return f
	case event.StageAuthorise:
		return proxy.FilterFunc(func(ctx context.Context, r *proxy.Request) error {
			if err := st.known(ctx, r); err != nil {
				return err
			}
			return f.Filter(ctx, r)
		})
	}
	return asRecorded(stage)
}
