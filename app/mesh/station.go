package mesh

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/upstream"
)

// station is what a proxy has that a control feeds, whatever it is.
type station struct {
	client  *client.Client
	log     *slog.Logger
	counter Counter
	trust   upstream.Trust
	places  places
}

// open makes the way to control. It has loaded nothing yet.
func (s *station) open(o client.Options) (err error) {
	s.log = o.Log
	o.Places, o.Trust = s.places.setAll, s.trust.Recheck
	o.Stop = func(stopped bool) {
		if stopped {
			s.trust.Renew() // nothing more is asked on connections that are open; new ones find no identity
		}
	}
	s.client, err = client.New(o)
	return err
}

// Client is the way to control.
func (s *station) Client() *client.Client { return s.client }

// Ground is what a proxy stands on.
func (s *station) Ground() Ground {
	return Ground{
		ID: s.client.ID(), Identity: s.client.Certificate, Trust: &s.trust, Verifier: s.client.Verifier(), Live: s.client.Live(),
		Places: s.places.of, Recorder: &s.counter, Log: s.log,
	}
}

// Expires says when the SVID of the proxy ends, also if it has.
func (s *station) Expires() map[string]time.Time { return expires(s.client.Source().Held()) }

// attend keeps identity, trust and slice up to date until ctx ends.
func (s *station) attend(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.client.Run(ctx) })
	g.Go(func() error { return s.renew(ctx) })
	g.Go(func() error { return watchSVIDs(ctx, s.client.Source().Held, s.counter.Act) })
	return g.Wait()
}

// renew keeps connections from being used on that were made under an SVID that is replaced.
func (s *station) renew(ctx context.Context) error {
	for ctx.Err() == nil {
		_, changed, err := s.client.Source().X509SVID(ctx, s.client.ID())
		if err == nil {
			s.trust.Renew()
		}
		if changed == nil {
			return nil // it is renewed no more
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return nil
}

// RemoteEdge is what an edge stands on that a control feeds.
type RemoteEdge struct {
	station
}

// NewRemoteEdge makes the way of an edge to control. Of o, the funcs Compile, Stats and Record are the caller's; Name is set
// here. Load, then Run.
func NewRemoteEdge(o client.Options) (*RemoteEdge, error) {
	e := &RemoteEdge{}
	o.Name = "edge/edge"
	o.Keys = func([]byte) error { return nil } // it verifies no tokens of its own
	stats := o.Stats
	o.Stats = func() client.Stats {
		out := stats()
		out.Traffic = e.counter.Traffic()
		return out
	}
	compile := o.Compile
	o.Compile = func(ctx context.Context, slice *model.Snapshot) (func(), error) {
		apply, err := compile(ctx, slice)
		if err != nil {
			return nil, err
		}
		return func() {
			e.places.declare(slice.Services)
			apply()
		}, nil
	}
	return e, e.open(o)
}

// Count returns a recorder that counts for control what r gets to see.
func (e *RemoteEdge) Count(r Recorder) engine.Recorder {
	e.counter.Recorder = r
	return &e.counter
}

// Run keeps identity, trust and slice up to date until ctx ends.
func (e *RemoteEdge) Run(ctx context.Context) error { return e.attend(ctx) }
