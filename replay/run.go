package replay

import (
	"context"
	"fmt"
	"iter"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/event"
)

// batch is how many records a worker takes at once.
const batch = 256

// Run decides about all events of decisions, on all processors, and reports. The order of events makes no difference. An error
// among them ends it.
func (r *Replay) Run(ctx context.Context, events iter.Seq2[*event.Event, error]) (*Report, error) {
	g, ctx := errgroup.WithContext(ctx)
	work := make(chan []*event.Event)
	tallies := make([]*tally, runtime.GOMAXPROCS(0))
	for i := range tallies {
		tallies[i] = newTally()
		g.Go(func() error { return r.work(ctx, work, tallies[i]) })
	}
	g.Go(func() error {
		defer close(work)
		return deal(ctx, events, work)
	})
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("deciding again: %w", err)
	}
	whole := newTally()
	whole.Fleet, whole.Snapshot = r.whole.Fleet, r.whole.Version
	for _, t := range tallies {
		whole.join(t)
	}
	return whole.report(), nil
}

// deal hands out the events that can be decided.
func deal(ctx context.Context, events iter.Seq2[*event.Event, error], work chan<- []*event.Event) error {
	var some []*event.Event
	send := func() error {
		select {
		case work <- some:
			some = nil
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for e, err := range events {
		if err != nil {
			return err
		}
		if !Decidable(e) {
			continue
		}
		if some = append(some, e); len(some) == batch {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}

func (r *Replay) work(ctx context.Context, work <-chan []*event.Event, t *tally) error {
	for some := range work {
		for _, e := range some {
			o, err := r.Decide(ctx, e)
			if err != nil {
				return err
			}
			t.add(e, &o)
		}
	}
	return nil
}
