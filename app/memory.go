package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/app/archive"
	"github.com/palisade-security/palisade/app/atlas"
	"github.com/palisade-security/palisade/app/audit"
	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/app/person"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/segment"
	"github.com/palisade-security/palisade/store/shared"
)

// memory is where the events of a fleet are kept and found: under up those of its one process, in control those of all.
type memory struct {
	*archive.Archive
	follower *archive.Follower // of the journal of this process
	keeper   *audit.Keeper     // of the ledger; nil: there is none
	maps     *atlas.Keeper
	book     atlas.Book   // of what maps keeps
	persons  *person.Book // nil: events name users
	hides    bool         // what comes is kept under pseudonyms
	record   func(context.Context, *event.Event)
}

// chart has the map of what a memory keeps kept over time in the state directory, and of what model returns.
func (m *memory) chart(state string, keep model.Duration, of func() (*model.Snapshot, *model.Fleet)) {
	m.book = atlas.In(atlasDir(state))
	m.maps = &atlas.Keeper{
		Shelf: func(context.Context) (atlas.Shelf, error) { return atlas.Folder(atlasDir(state)) },
		Keep:  cmp.Or(keep, model.DefaultRetainMaps).Std(), Model: of, Log: slog.Default(),
		Open: func(ctx context.Context) (atlas.Source, error) { return m.Await(ctx) },
	}
}

// atlasDir is where maps are kept in a state directory.
func atlasDir(state string) string { return filepath.Join(state, "maps") }

// archiveDir is where a store of events lies in a state directory.
func archiveDir(state string) string { return filepath.Join(state, "archive") }

// retention is how long events are kept.
func retention(snap *model.Snapshot) shared.Keeping {
	r := snap.Audit.Retain
	return shared.Keeping{
		Class: map[string]time.Duration{
			segment.ClassRequest:    cmp.Or(r.Requests, model.DefaultRetain).Std(),
			segment.ClassConnection: cmp.Or(r.Connections, model.DefaultRetain).Std(),
			segment.ClassAct:        cmp.Or(r.Acts, model.DefaultRetainActs).Std(),
			segment.ClassLog:        cmp.Or(r.Logs, model.DefaultRetain).Std(),
		},
		Longer: longer(snap.Services),
	}
}

// longer is how long events of services are kept for the data that these hold.
func longer(services []model.ResolvedService) []query.Longer {
	by := map[time.Duration]query.Or{}
	for i := range services {
		if s := &services[i]; s.Retain > 0 {
			by[s.Retain.Std()] = append(by[s.Retain.Std()], query.Is{Field: query.Service, Value: s.Name})
		}
	}
	var out []query.Longer
	for _, keep := range slices.Sorted(maps.Keys(by)) {
		out = append(out, query.Longer{Where: by[keep], Keep: keep})
	}
	return out
}

// openEvents opens the store of events in a state directory as a model says it, to keep them.
func openEvents(state string, of *model.Snapshot) func(context.Context) (archive.Store, error) {
	return func(ctx context.Context) (archive.Store, error) {
		b, err := openBucket(of.Audit.Bucket)
		if err != nil {
			return nil, err
		}
		keep := retention(of)
		o := events.Options{Dir: archiveDir(state), Keep: keep.Class, Longer: keep.Longer, Bucket: b}
		if b != nil {
			o.Disk = int64(of.Audit.Bucket.Disk)
		}
		s, err := openStore(ctx, o)
		if err != nil {
			return nil, err
		}
		if err := noteBucket(state, of.Audit.Bucket); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		return s, nil
	}
}

// openStore opens a store of events.
func openStore(ctx context.Context, o events.Options) (archive.Store, error) {
	s, rec, err := events.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, damaged := range rec.Damaged {
		slog.ErrorContext(ctx, "the store of events is damaged", "error", damaged)
	}
	return s, nil
}

// remember makes the memory of what a journal holds and its process is given. It works while run does.
func (r *recorder) remember(state, records string, open func(context.Context) (archive.Store, error)) *memory {
	m := &memory{Archive: archive.New(r.telling(open), r.lost, slog.Default()), record: r.Act}
	m.follower = followed(state, records, m.Archive, r.lost)
	m.follower.Kept = r.letGo
	return m
}

// followed follows the journal of a state directory into an archive.
func followed(state, records string, a *archive.Archive, lost func(context.Context, uint64, string)) *archive.Follower {
	return &archive.Follower{
		Journal: records, Position: filepath.Join(archiveDir(state), "followed"), Deliver: a.Take, Lost: lost, Log: slog.Default(),
	}
}

// run keeps events until ctx ends.
func (m *memory) run(ctx context.Context, g *errgroup.Group, metrics *observe.Metrics) {
	metrics.Behind(m.follower.Behind)
	metrics.Bucket(m.bucket)
	g.Go(func() error { return m.Run(ctx) })
	g.Go(func() error { return m.follower.Run(ctx) })
	g.Go(func() error { return m.maps.Run(ctx) })
	if m.keeper != nil {
		g.Go(func() error { return m.keeper.Run(ctx) })
	}
	if m.hides {
		g.Go(func() error {
			if err := m.rehold(ctx); err != nil && ctx.Err() == nil {
				slog.ErrorContext(ctx, "holds that name users do not keep what comes under pseudonyms", "error", err)
			}
			return nil
		})
	}
}

// bucket is what waits to be brought to object storage; false if there is none, or while the store is not open.
func (m *memory) bucket() (observe.Bucket, bool) {
	of, err := m.Opened()
	s, ok := of.(*events.Store)
	if err != nil || !ok {
		return observe.Bucket{}, false
	}
	now := time.Now()
	w, ok := s.Waiting(now)
	out := observe.Bucket{Segments: w.Segments, Bytes: w.Bytes}
	if !w.Oldest.IsZero() {
		out.Behind = now.Sub(w.Oldest)
	}
	return out, ok
}

// ready tells why events are not kept, if so.
func (m *memory) ready() error {
	if err := m.Err(); err != nil {
		return fmt.Errorf("events cannot be kept: %w", err)
	}
	if m.keeper != nil {
		if err := m.keeper.Err(); err != nil {
			return fmt.Errorf("the ledger does not grow: %w", err)
		}
	}
	return nil
}

// lost takes note of recorded events that did not come to where they are kept.
func (r *recorder) lost(ctx context.Context, n uint64, why string) {
	r.metrics.Lost(int(min(n, 1<<40)))
	slog.ErrorContext(ctx, "recorded events are lost", "events", n, "why", why)
	r.Act(ctx, &event.Event{Act: &event.Act{
		Kind: event.KindLost, Outcome: event.Failed, Object: fmt.Sprintf("%d events", n), Text: why, Proxy: r.name,
	}})
}

// hasArchive tells whether a state directory has a store of events.
func hasArchive(state string) bool {
	_, err := os.Stat(filepath.Join(archiveDir(state), "segments"))
	return err == nil
}
