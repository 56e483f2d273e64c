package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/filter/jwt"
	"github.com/palisade-security/palisade/proxy/gate"
)

// ControlPlace is what several controls of one model do not share: where each of them is. The zero value takes what
// the model says.
type ControlPlace struct {
	Listen string // host:port, in place of mesh.control.listen
	Reach  string // host:port under which other controls reach it; default where it listens, at the address toward the bus
	Name   string // default the host's
	Admin  string // host:port of metrics and health, in place of mesh.control.admin
}

// Control runs the control of a mesh until ctx ends.
func Control(ctx context.Context, o *Options, place ControlPlace) (err error) {
	_, snap, findings, err := o.forOthers().load(false)
	o.tell(findings)
	if err != nil {
		return err
	}
	state, err := o.state()
	if err != nil {
		return err
	}
	s := &stand{snap: snap, mesh: snap.Mesh, state: state}
	defer func() { err = errors.Join(err, s.close()) }()
	options, err := s.open(ctx, place)
	if err != nil {
		return err
	}
	rec, err := openRecorder(ctx, o, "control", state, snap)
	if err != nil {
		return err
	}
	s.closes = append(s.closes, rec.journal)
	rec.metrics = observe.NewMetrics(func() float64 { return 0 })
	rec.serve(snap)
	var c *control.Control
	var web *consoleServer
	options.Record = func(ctx context.Context, e control.Event) {
		if m := c.Model(); m != nil {
			rec.serve(m)
		}
		rec.Act(ctx, actOfControl(e))
	}
	kept := rec.remember(state, rec.dir, s.openEvents(snap))
	s.chart(kept, func() (*model.Snapshot, *model.Fleet) { return c.Model(), nil })
	if err := s.persons(ctx, options, kept, rec, func() *model.Snapshot { return c.Model() }); err != nil {
		return err
	}
	options.Events, options.Holds, options.Keep, options.Maps = kept, kept, kept.Keep, kept.book
	if err := s.prove(ctx, rec, kept, options.Ring); err != nil {
		return err
	}
	if s.mesh.Server.PublishLedger {
		options.Ledger = s.publish(kept)
	}
	g, ctx := errgroup.WithContext(ctx)
	options.Console = func(who string, role admin.Role) (admin.ConsoleResult, error) { return web.give(who, role) }
	options.Ready = func(at string) {
		o.welcomeControl(ctx, c, snap, at)
		web.begin(ctx, g, o)
	}
	if c, err = control.New(*options); err != nil {
		return err
	}
	if web, err = s.console(ctx, o, c, kept, rec); err != nil {
		return err
	}
	s.closes = append(s.closes, web)
	rec.metrics.Fleet(func() observe.Fleet { return fleetOf(c.Count()) })
	at := place.Admin
	if at == "" {
		at = snap.Mesh.Server.Admin
	}
	if err := serveControlAdmin(ctx, g, at, rec.metrics, func() error { return errors.Join(c.Ready(), kept.ready()) }); err != nil {
		return err
	}
	for _, a := range []*jwt.Authenticator{s.users, s.people} {
		if a != nil {
			g.Go(func() error { return a.Run(ctx) })
		}
	}
	kept.run(ctx, g, rec.metrics)
	exports := newSinks(state, kept.follow)
	rec.metrics.Exports(exported(exports))
	g.Go(func() error {
		return exportLed(ctx, exports, func() (*model.Snapshot, bool) {
			m := c.Model()
			return m, m != nil && c.Count().Leads // before there is a model, control cannot tell how it stands
		})
	})
	g.Go(func() error { return c.Run(ctx) })
	return sameRing(ignoreCanceled(g.Wait()))
}

// serveControlAdmin serves metrics and health, if a place is named.
func serveControlAdmin(ctx context.Context, g *errgroup.Group, at string, m *observe.Metrics, ready func() error) error {
	if at == "" {
		return nil
	}
	bounds := adminOptions()
	bounds.Address = at
	server, err := bindAdmin(ctx, bounds, m, ready)
	if err != nil {
		return fmt.Errorf("mesh.control.admin: %w", err)
	}
	g.Go(func() error { return server.Run(ctx) })
	return nil
}

// fleetOf is what a control knows, as metrics show it.
func fleetOf(n control.Counts) observe.Fleet {
	return observe.Fleet{
		Version: n.Version, Leads: n.Leads, Bus: n.Bus, Proxies: n.Proxies, Lag: n.Lag, Ending: n.Ending, Ended: n.Ended, List: n.List, Ends: n.Ends,
		Enrolled: n.Enrolled, Renewed: n.Renewed, Refused: n.Refused,
		Kept: n.Kept, Forged: n.Forged,
	}
}

// sameRing says what to do if the store was sealed by the ring of another control.
func sameRing(err error) error {
	if errors.Is(err, keyring.ErrSealed) {
		return fmt.Errorf("%w; controls that share a store need the same ring: copy the folders control/ring and control/keys of the state directory of the first, or name the same mesh.keys and copy control/ring", err)
	}
	return err
}

// welcomeControl says where control is, and whether the model that it was given is the one in force.
func (o *Options) welcomeControl(ctx context.Context, c *control.Control, given *model.Snapshot, at string) {
	st := o.style()
	now := c.Model()
	if now == nil { // cannot be: the first one given is put in force
		now = given
	}
	fmt.Fprintf(o.Err, "%s %s  listens on %s, bus %s, snapshot %s in force\n", st.Paint(observe.Bold, "palisade control"), given.Fleet,
		at, strings.Join(c.BusURLs(), " "), short(now.Version))
	if now.Content() != given.Content() {
		slog.WarnContext(ctx, "the model given is not the one in force; it says how control runs, and no more",
			"in_force", short(now.Version), "given", short(given.Version), "mend", "palisade history tells whether these files are older than what is in force; if they are newer, palisade apply "+strings.Join(o.paths(), " ")+" puts them in force")
	}
}

// checkModel refuses a model that proxies could not compile.
func checkModel(ctx context.Context, snap *model.Snapshot) error {
	b, err := gate.NewBuilder()
	if err != nil {
		return err
	}
	_, findings, err := b.Build(ctx, snap, &given{})
	if errors.Is(err, gate.ErrFindings) {
		var text strings.Builder
		if err := model.FormatFindings(&text, findings); err != nil {
			return err
		}
		return fmt.Errorf("proxies could not compile the model:\n%s", text.String())
	}
	return err
}

// controlFolder is where control keeps its keys and its truth.
func controlFolder(state string) string { return filepath.Join(state, "control") }

// makeFolder makes a folder that nobody else reads.
func makeFolder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("making the state directory: %w", err)
	}
	return nil
}
