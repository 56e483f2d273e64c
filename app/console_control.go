package app

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/console"
	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
)

// console opens the console of a control: on this host if a flag says so, else as the model says; nil if nobody wants one.
func (s *stand) console(ctx context.Context, o *Options, c *control.Control, kept *memory, rec *recorder) (*consoleServer, error) {
	fleet := controlFleet{o.quietly(), c, s.snap, kept}
	options := &console.Options{Name: s.snap.Fleet, Events: consoleEvents{kept}, Fleet: fleet, Planner: fleet, Record: rec.Act}
	switch {
	case o.Console == "off":
		return nil, nil
	case o.Console != "":
		return bindConsole(ctx, o.Console, s.state, options)
	case s.door == nil:
		return nil, nil
	}
	options.SignIn = s.door
	return bindPublicConsole(ctx, s.mesh.Server.Console, s.state, options)
}

// begin serves, and says where. Of no console it does nothing.
func (s *consoleServer) begin(ctx context.Context, g *errgroup.Group, o *Options) {
	if s != nil {
		s.run(ctx, g)
		fmt.Fprintln(o.Err, s.greeting(o))
	}
}

// controlFleet is the fleet of a control as its console sees it.
type controlFleet struct {
	o     *Options
	c     *control.Control
	given *model.Snapshot // until one is in force
	kept  *memory
}

// Model returns the model in force. What is declared beside it stands in files that may be others.
func (f controlFleet) Model() (*model.Snapshot, *model.Fleet) {
	if m := f.c.Model(); m != nil {
		return m, nil
	}
	return f.given, nil
}

// Explain says what led to a decision, as "palisade explain" does.
func (f controlFleet) Explain(e *event.Event, trace []*event.Event) console.Reasons {
	m, _ := f.Model()
	return reasonsOf(e, trace, m)
}

// Decide decides, as "palisade try" does.
func (f controlFleet) Decide(ctx context.Context, q *console.Question) (*event.Event, error) {
	m, _ := f.Model()
	return decide(ctx, m, q)
}

// State says how the fleet stands.
func (f controlFleet) State(context.Context) console.State {
	status := f.c.Status()
	out := stateOf(status)
	out.Unready = f.c.Ready()
	if out.Unready == nil {
		out.Unready = f.kept.ready()
	}
	if !status.Authority.Ends.IsZero() {
		out.Certificates = append(out.Certificates, console.Certificate{Name: "intermediate authority", Expires: status.Authority.Ends})
	}
	return out
}
