package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/palisade-security/palisade/app/archive"
	"github.com/palisade-security/palisade/app/atlas"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/shared"
)

// openEvents opens the store of events of a control: its own, or that of all in the PostgreSQL of the truth.
func (s *stand) openEvents(of *model.Snapshot) func(context.Context) (archive.Store, error) {
	if s.shared == "" {
		return openEvents(s.state, of)
	}
	return func(ctx context.Context) (archive.Store, error) {
		if err := os.MkdirAll(archiveDir(s.state), 0o700); err != nil { // how far our own record is followed is kept there
			return nil, err
		}
		store, err := shared.Open(ctx, s.shared)
		if err != nil {
			return nil, err
		}
		return &sharedEvents{store, retention(of)}, nil
	}
}

// sharedEvents is a store of events that several controls share. Any of them deletes what is old.
type sharedEvents struct {
	*shared.Store
	keep shared.Keeping
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

// chart has the map of what a memory keeps kept over time: by this control, or by one of those that share a PostgreSQL, for all of them.
func (s *stand) chart(m *memory, of func() (*model.Snapshot, *model.Fleet)) {
	m.chart(s.state, s.snap.Audit.Retain.Maps, of)
	if s.shared == "" {
		return
	}
	m.maps.Shelf = func(ctx context.Context) (atlas.Shelf, error) { return atlas.Shared(ctx, s.shared) }
	m.book = atlas.Book{Files: func(ctx context.Context) (fs.FS, error) {
		of, err := m.Opened()
		if err != nil {
			return nil, err
		}
		events, ok := of.(*sharedEvents)
		if !ok {
			return nil, errors.New("the events are not in the shared store")
		}
		return events.Files(ctx, shared.Maps), nil
	}}
}
