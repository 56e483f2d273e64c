package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/app/mesh"
	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/app/sinks"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/filter/jwt"
	"github.com/palisade-security/palisade/proxy/gate"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/store/table"
	"github.com/palisade-security/palisade/token"
)

// edge is a running gateway.
type edge struct {
	o           *Options
	development bool
	state       string
	dev         *token.Development // under up only
	ca          *keyring.LocalCA   // once a listener asks for it

	journal  *journal.Journal
	metrics  *observe.Metrics
	recorder *recorder
	memory   *memory      // nil: the record alone
	persons  *table.Store // where their keys are; nil: there are none
	exports  *sinks.Sinks
	console  *consoleServer // nil: none is wanted
	engine   *engine.Engine
	builder  *gate.Builder
	mesh     *mesh.Mesh             // nil: none declared
	remote   *mesh.RemoteEdge       // nil: no control feeds it
	apis     map[string]*identities // by service
	group    *errgroup.Group        // everything that runs
	ctx      context.Context        //nolint:containedctx // the life of the gateway, which reloads outlive their callers in

	mu        sync.Mutex // one reload at a time
	declared  *model.Declared
	started   *model.Snapshot // the first one
	processes []model.Process // as they were started
	gate      *gate.Gate
	sidecars  mesh.Prepared // of gate
	auth      *jwt.Authenticator
	stopAuth  context.CancelFunc
	listeners map[string]*listener
	intake    *taking // nil: none declared

	refused bool // the last change was refused; belongs to watch
}

// open prepares everything that does not depend on requests: state, journal, snapshot, compiled table.
func openEdge(ctx context.Context, o *Options, development bool) (*edge, []model.Finding, error) {
	state, err := o.state()
	if err != nil {
		return nil, nil, err
	}
	declared, snap, findings, err := o.load(development)
	if err != nil {
		return nil, findings, err
	}
	if snap.Audit.Pseudonyms && !development {
		return nil, findings, errors.New("audit.pseudonyms: an edge by itself keeps names in its record, and no events beside it where they could be replaced; feed it from palisade control, or leave pseudonyms out")
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, findings, fmt.Errorf("creating the state directory: %w", err)
	}
	e := &edge{o: o, development: development, state: state, ctx: ctx, declared: declared, listeners: map[string]*listener{}}
	if development {
		if e.dev, err = token.CreateDevelopment(filepath.Join(state, "token")); err != nil {
			return nil, findings, err
		}
	}
	if err := e.openRecords(ctx, snap); err != nil {
		return nil, findings, err
	}
	with, err := e.openMesh(ctx, snap)
	if err == nil {
		e.builder, err = gate.NewBuilder(with...)
	}
	if err != nil {
		return nil, findings, errors.Join(err, e.journal.Close())
	}
	e.engine = engine.New(e.recorder)
	e.openExports()
	e.measure()
	more, err := e.prepare(ctx, snap)
	findings = append(findings, more...)
	if err != nil {
		return nil, findings, errors.Join(err, e.journal.Close())
	}
	return e, findings, nil
}

// measure makes the metrics.
func (e *edge) measure() {
	e.metrics = observe.NewMetrics(func() float64 { return float64(e.engine.InFlight()) })
	e.recorder.metrics = e.metrics
	if e.exports != nil {
		e.metrics.Exports(exported(e.exports))
	}
	if e.mesh != nil {
		e.metrics.SVIDs(e.mesh.Expires)
	}
}

// openRecords opens the journal and whatever else looks at events.
func (e *edge) openRecords(ctx context.Context, snap *model.Snapshot) error {
	var err error
	if e.recorder, err = openRecorder(ctx, e.o, model.EdgeName, e.state, snap); err != nil {
		return err
	}
	e.journal = e.recorder.journal
	if e.development {
		e.memory = e.recorder.remember(e.state, e.recorder.dir, openEvents(e.state, snap))
		e.memory.chart(e.state, snap.Audit.Retain.Maps, upFleet{e}.Model)
		ring, err := openRing(ctx, e.state)
		if err == nil {
			err = e.recorder.prove(ctx, e.memory, e.state, ring, snap)
		}
		if err == nil {
			err = e.openPersons(ctx, ring, snap.Audit.Pseudonyms)
		}
		if err != nil {
			return errors.Join(err, e.journal.Close())
		}
	}
	return nil
}

// prepare compiles snap and everything around it. Nothing is in force before apply.
func (e *edge) prepare(ctx context.Context, snap *model.Snapshot) ([]model.Finding, error) {
	o := jwt.Options{Fleet: snap.Fleet, Providers: snap.Providers, Roles: snap.Roles, Previous: e.auth, LoopbackHTTP: e.development, Log: slog.Default()}
	if e.dev != nil {
		o.Development, o.DevelopmentKeys = snap.Development, e.dev.PublicJWKS()
	}
	auth, err := jwt.New(o)
	if err != nil {
		return nil, err
	}
	g, findings, err := e.builder.Build(ctx, snap, auth)
	if err != nil {
		return findings, err
	}
	if e.mesh != nil && snap.Mesh != nil {
		sidecars, more, err := e.mesh.Prepare(ctx, snap)
		findings = append(findings, more...)
		if err != nil {
			return findings, err
		}
		e.sidecars = sidecars
	}
	if e.gate == nil {
		e.started = snap
		if e.declared != nil {
			e.processes = e.declared.Processes()
		}
	} else {
		findings = append(findings, e.atNextStart(snap)...)
	}
	e.auth, e.gate = auth, g
	return findings, nil
}

// run binds, serves and blocks until ctx ends or something fails. Bound is called once requests are taken.
func (e *edge) run(ctx context.Context, bound func() error, reload <-chan struct{}) error {
	group, ctx := errgroup.WithContext(ctx)
	if err := e.begin(ctx, group); err != nil {
		return err
	}
	if err := e.serveAdmin(); err != nil {
		return err
	}
	if e.memory != nil {
		e.memory.run(ctx, group, e.metrics)
		if err := errors.Join(e.serveConsole(), e.showLedger()); err != nil {
			return err
		}
	}
	e.serveControl()
	if e.remote == nil {
		group.Go(func() error { return e.watch(ctx, reload) })
	} else {
		group.Go(func() error { return e.rereadCertificates(ctx, reload) })
	}
	if bound != nil {
		if err := bound(); err != nil {
			e.stopListeners()
			return errors.Join(err, ignoreCanceled(group.Wait()))
		}
	}
	<-ctx.Done()
	if n := e.engine.InFlight(); n > 0 {
		slog.InfoContext(ctx, "draining; Ctrl-C again ends at once", "in_flight", n, "at_most", e.gate.Snapshot.Edge.Timeouts.Drain.Std())
	}
	err := ignoreCanceled(group.Wait())
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}

// begin puts the first gate in force.
func (e *edge) begin(ctx context.Context, group *errgroup.Group) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.group, e.ctx = group, ctx
	return e.apply(e.gate)
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// apply puts a prepared gate in force: listeners first, since they can fail, then the table.
func (e *edge) apply(g *gate.Gate) error {
	if err := e.recorder.traces.follow(e.ctx, g.Snapshot); err != nil {
		if e.remote == nil {
			return err
		}
		slog.ErrorContext(e.ctx, untraced, "error", err) // what control says to decide must not wait for this
	}
	if err := e.export(g.Snapshot); err != nil {
		return err
	}
	if err := e.bind(g.Snapshot); err != nil {
		return err
	}
	if err := e.takeIn(g.Snapshot); err != nil {
		if e.remote == nil {
			return err
		}
		slog.ErrorContext(e.ctx, "log records are not taken in as declared", "error", err) // deciding must not wait for this
	}
	stop := e.stopAuth
	ctx, cancel := context.WithCancel(e.ctx)
	auth := e.auth
	e.stopAuth = cancel
	e.group.Go(func() error { return auth.Run(ctx) })
	e.recorder.serve(g.Snapshot)
	e.engine.Swap(g.Table)
	e.builder.Applied()
	if e.sidecars != nil {
		e.sidecars.Apply()
	}
	if err := e.declareWorkloads(g.Snapshot); err != nil { // cannot be: the model was checked
		slog.ErrorContext(e.ctx, "workloads stay as they were", "error", err)
	}
	if stop != nil {
		stop()
	}
	e.metrics.Reloaded(true, g.Snapshot.Version)
	return nil
}

// Reload reads the model again and puts it in force. On error everything stays as it was.
func (e *edge) Reload(ctx context.Context) (string, []model.Finding, error) {
	if e.remote != nil {
		return "", nil, errors.New("this edge has its model from control; change it with palisade apply")
	}
	e.mu.Lock()
	before := e.gate.Snapshot.Version
	version, findings, err := e.reload(ctx)
	e.mu.Unlock()
	act := &event.Act{Kind: event.KindApplied, Object: version, Outcome: event.Done, Proxy: "edge"}
	if err != nil {
		e.metrics.Reloaded(false, "")
		act.Outcome, act.Text = event.Failed, model.Refusal(err, findings).Error()
	}
	if err != nil || version != before {
		e.recorder.Act(ctx, &event.Event{Act: act})
	}
	return version, findings, err
}

func (e *edge) reload(ctx context.Context) (string, []model.Finding, error) {
	declared, snap, findings, err := e.o.load(e.development)
	if declared != nil {
		e.declared = declared // watch what is declared now, so that mending it is noticed
	}
	if err != nil {
		return "", findings, err
	}
	if err := e.reloadCertificates(); err != nil {
		return "", findings, err
	}
	before, sidecars, auth := e.gate, e.sidecars, e.auth
	if f := otherDomain(declared, before.Snapshot, snap); f != nil {
		return "", append(findings, *f), ErrFindings
	}
	if snap.Version == before.Snapshot.Version {
		return snap.Version, findings, nil
	}
	more, err := e.prepare(ctx, snap)
	findings = append(findings, more...)
	if err == nil {
		err = e.apply(e.gate)
	}
	if err != nil {
		e.gate, e.sidecars, e.auth = before, sidecars, auth
		return "", findings, err
	}
	return snap.Version, findings, nil
}

// close ends what outlives requests.
func (e *edge) close() {
	e.engine.Close()
	if e.exports != nil {
		e.exports.Close()
	}
	if err := e.recorder.close(e.ctx); err != nil {
		slog.ErrorContext(e.ctx, "closing the record", "error", err)
	}
	if e.persons != nil {
		if err := e.persons.Close(); err != nil {
			slog.ErrorContext(e.ctx, "closing the keys of persons", "error", err)
		}
	}
}
