package app

import (
	"context"
	"os"
	"time"

	"github.com/palisade-security/palisade/app/archive"
	"github.com/palisade-security/palisade/store/shared"
)

// openEvents opens the store of events of a control: its own, or that of all in the PostgreSQL of the truth.
func (s *stand) openEvents(keep map[string]time.Duration) func(context.Context) (archive.Store, error) {
	if s.shared == "" {
		return openEvents(s.state, keep)
	}
	return func(ctx context.Context) (archive.Store, error) {
		if err := os.MkdirAll(archiveDir(s.state), 0o700); err != nil { // how far our own record is followed is kept there
			return nil, err
		}
		store, err := shared.Open(ctx, s.shared)
		if err != nil {
			return nil, err
		}
		return &sharedEvents{store, keep}, nil
	}
}

// sharedEvents is a store of events that several controls share. Any of them deletes what is old.
type sharedEvents struct {
	*shared.Store
	keep map[string]time.Duration
}

const retainEvery = time.Hour

// Run deletes old events until ctx ends.
func (s *sharedEvents) Run(ctx context.Context, report func(error)) error {
	tick := time.NewTicker(retainEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if err := s.Retain(ctx, now, s.keep); err != nil && ctx.Err() == nil {
				report(err)
			}
		}
	}
}

// Err is nil: what fails is tried again.
func (*sharedEvents) Err() error { return nil }
