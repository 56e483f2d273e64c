package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/app/mesh"
	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/gate"
	"github.com/palisade-security/palisade/token"
)

// fedEdge is an edge that a control feeds.
type fedEdge struct {
	*edge
	tokens *token.Transactions
	first  chan struct{} // closed when there is a gate to begin with
}

// FedEdge runs the data path that a control feeds, until ctx ends. It has no model of its own.
func FedEdge(ctx context.Context, o *Options, j *Joining, reload <-chan struct{}) (err error) {
	f, err := openFedEdge(ctx, o, j)
	if err != nil {
		return err
	}
	defer f.close()
	st := o.style()
	in := "no snapshot yet"
	if f.gate != nil {
		in = "snapshot " + short(f.gate.Snapshot.Version)
	}
	fmt.Fprintf(o.Err, "%s  control at %s, %s, state in %s\n", st.Paint(observe.Bold, "palisade edge"), strings.Join(j.Control, " "), in, f.state)
	g, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	reporting, stop := context.WithCancel(failed)
	defer stop()
	g.Go(func() error { return f.remote.Run(reporting) })
	g.Go(func() error { return joined(reporting, f.remote.Client()) })
	delivery := f.recorder.deliver(f.state, f.remote.Client)
	g.Go(func() error { return delivery.Run(reporting) })
	g.Go(func() error {
		defer stop() // control is heard until all requests are over
		defer delivery.settle(failed)
		serving, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(failed, cancel)()
		select {
		case <-f.first:
		case <-serving.Done():
			return nil
		}
		return f.run(serving, func() error {
			f.mu.Lock()
			defer f.mu.Unlock()
			_, err := fmt.Fprintf(o.Err, "palisade edge %s serves %s, admin on http://%s\n", short(f.gate.Snapshot.Version), strings.Join(f.urls(), " "), f.gate.Snapshot.Edge.Admin)
			return err
		}, reload)
	})
	return ignoreCanceled(g.Wait())
}

// openFedEdge opens all that does not depend on control, and what was kept.
func openFedEdge(ctx context.Context, o *Options, j *Joining) (f *fedEdge, err error) {
	options, err := j.options(ctx)
	if err != nil {
		return nil, err
	}
	state, err := sidecarState(o, model.EdgeName)
	if err != nil {
		return nil, err
	}
	if err := makeFolder(state); err != nil {
		return nil, err
	}
	f = &fedEdge{edge: &edge{o: o, state: state, ctx: ctx, listeners: map[string]*listener{}}, first: make(chan struct{})}
	if f.recorder, err = openRecorder(ctx, o, model.EdgeName, state, unbound()); err != nil {
		return nil, err
	}
	journal := f.recorder.journal
	f.journal = journal
	defer func() {
		if err != nil {
			err = errors.Join(err, journal.Close())
		}
	}()
	ring, err := openRing(ctx, filepath.Join(state, "mesh"))
	if err != nil {
		return nil, err
	}
	key, err := ring.Signer(ctx, "transactions")
	if err != nil {
		return nil, err
	}
	if f.tokens, err = token.NewTransactions(j.TrustDomain, key); err != nil {
		return nil, err
	}
	self := model.EdgeID(j.TrustDomain)
	options.Keeper, options.Compile = ring, f.compile
	options.Stats = func() client.Stats {
		return client.Stats{Keys: json.RawMessage(f.tokens.JWKS()), Connections: f.connections()}
	}
	options.Record = func(ctx context.Context, n wire.Note) { f.recorder.Act(ctx, actOfNote(self, n)) }
	if f.remote, err = mesh.NewRemoteEdge(options); err != nil {
		return nil, err
	}
	f.engine = engine.New(f.remote.Count(f.recorder))
	f.measure()
	f.metrics.SVIDs(f.remote.Expires)
	if err := f.remote.Client().Load(ctx); err != nil {
		return nil, err
	}
	return f, j.provable(f.remote.Client())
}

// compile puts a slice in force, or makes it the one to begin with. On error everything stays as it was.
func (f *fedEdge) compile(ctx context.Context, slice *model.Snapshot) (apply func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.builder == nil {
		ground := f.remote.Ground()
		if f.builder, err = gate.NewBuilder(ground.Edge(mesh.Issue(f.tokens), slice.Fleet)...); err != nil {
			return nil, err
		}
	}
	before, auth := f.gate, f.auth
	findings, err := f.prepare(ctx, slice)
	if err == nil && f.group != nil {
		err = f.apply(f.gate)
	}
	if err != nil {
		f.gate, f.auth = before, auth
		return nil, model.Refusal(err, findings)
	}
	f.journal.Keep(int64(slice.Audit.Keep))
	if before == nil {
		close(f.first)
	}
	return func() {}, nil
}

// rereadCertificates reads certificate files again whenever it is asked to reload: the rest comes from control.
func (e *edge) rereadCertificates(ctx context.Context, reload <-chan struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-reload:
			e.mu.Lock()
			err := e.reloadCertificates()
			e.mu.Unlock()
			if err != nil {
				slog.ErrorContext(ctx, "certificates stay as they were", "error", err)
			}
		}
	}
}
