package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/segment"
)

// Store is where events are kept: store/events, or store/shared with Shared.
type Store interface {
	Append(ctx context.Context, events []*event.Event) error
	Last(ctx context.Context, q query.Query, n int, from query.Cursor) (*query.Page, error)
	Count(ctx context.Context, q query.Query, by query.Field, top int) (*query.Counts, error)
	Histogram(ctx context.Context, q query.Query, step time.Duration, by query.Field, top int) (*query.Series, error)
	Numbered
	OnDelete(tell func(map[string]events.Deleted) error)
	Run(ctx context.Context, report func(error)) error
	Err() error
	Close() error
	Holder
}

// Holder keeps events from being deleted for their age.
type Holder interface {
	Hold(ctx context.Context, h query.Hold) error
	Release(ctx context.Context, name string) (query.Hold, error)
	Holds(ctx context.Context) ([]query.Hold, error)
}

// Numbered are the events of a store in the order in which it took them.
type Numbered interface {
	Next(ctx context.Context) (uint64, error)
	Await(ctx context.Context, number uint64) error
	Records(ctx context.Context, from uint64) iter.Seq2[query.Record, error]
}

// ErrOpening says that the store is not open yet.
var ErrOpening = errors.New("the store of events is being opened")

// Archive is a store that is opened in the background, and again when it has failed, such as by a full disk. It is safe for
// concurrent use.
type Archive struct {
	open func(context.Context) (Store, error)
	lost func(ctx context.Context, n uint64, why string)
	log  *slog.Logger

	hide func(context.Context, []*event.Event) ([]*event.Event, error) // nil: events are kept as they come

	mu      sync.Mutex
	now     Store // nil: none is open
	failed  error // why not
	changed chan struct{}
}

// New makes an archive, which works while Run does. Lost is told of events that no store can keep.
func New(open func(context.Context) (Store, error), lost func(ctx context.Context, n uint64, why string), log *slog.Logger) *Archive {
	return &Archive{open: open, lost: lost, log: log, changed: make(chan struct{})}
}

// Holding makes an archive of a store that is open, which the caller closes.
func Holding(s Store, lost func(ctx context.Context, n uint64, why string)) *Archive {
	return &Archive{now: s, lost: lost, changed: make(chan struct{})}
}

// Hide has events pass through a func before they are kept. It is called before Run and Keep are.
func (a *Archive) Hide(hide func(context.Context, []*event.Event) ([]*event.Event, error)) {
	a.hide = hide
}

const lookEvery = time.Second // whether the store has failed

// Run keeps the store open until ctx ends.
func (a *Archive) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		s, err := a.open(ctx)
		if err == nil {
			a.set(s, nil)
			err = a.work(ctx, s)
			a.set(nil, err)
			if closing := s.Close(); closing != nil && err == nil {
				a.log.ErrorContext(ctx, "closing the store of events", "error", closing)
			}
		} else {
			a.set(nil, err)
		}
		if ctx.Err() != nil {
			break
		}
		a.log.ErrorContext(ctx, "the store of events is not open", "error", err, "again_in", lastPause)
		select {
		case <-ctx.Done():
		case <-time.After(lastPause):
		}
	}
	return nil //nolint:nilerr // it was told; the end of ctx is what ended this
}

// work lets a store keep itself in order until it fails or ctx ends.
func (a *Archive) work(ctx context.Context, s Store) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, func(err error) { a.log.ErrorContext(ctx, "the store of events", "error", err) })
	}()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if failed := s.Err(); failed != nil {
				return failed
			}
			return err
		case <-tick.C:
			if err := s.Err(); err != nil {
				cancel(err)
			}
		}
	}
}

func (a *Archive) set(s Store, failed error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now, a.failed = s, failed
	close(a.changed)
	a.changed = make(chan struct{})
}

// current returns the store, or why none is open; changed is closed when that is no longer so.
func (a *Archive) current() (s Store, changed <-chan struct{}, failed error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now, a.changed, a.failed
}

// Err returns why events are not kept, nil while they are, or before that is known.
func (a *Archive) Err() error {
	s, _, failed := a.current()
	if s != nil {
		return s.Err()
	}
	return failed
}

// Await returns the store once it is open.
func (a *Archive) Await(ctx context.Context) (Store, error) {
	for {
		s, changed, _ := a.current()
		if s != nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Keep appends events, as Append of a store, once it is open. What no store can keep is left out, and told as lost.
func (a *Archive) Keep(ctx context.Context, events []*event.Event) error {
	s, err := a.Await(ctx)
	if err != nil {
		return err
	}
	fit := make([]*event.Event, 0, len(events))
	for _, e := range events {
		if err := segment.Check(e); err != nil {
			a.lost(ctx, 1, err.Error())
			continue
		}
		fit = append(fit, e)
	}
	if len(fit) == 0 {
		return nil
	}
	if a.hide != nil {
		if fit, err = a.hide(ctx, fit); err != nil {
			return err
		}
	}
	return s.Append(ctx, fit)
}

// Take keeps records of a journal (Follower.Deliver).
func (a *Archive) Take(ctx context.Context, records []journal.Record) error {
	events := make([]*event.Event, 0, len(records))
	for i := range records {
		e, err := event.Parse(records[i].Data)
		if err != nil {
			a.lost(ctx, 1, fmt.Sprintf("record %d is no event", records[i].Seq))
			continue
		}
		events = append(events, e)
	}
	return a.Keep(ctx, events)
}

// Opened returns the store for a question, or why none is open.
func (a *Archive) Opened() (Store, error) {
	s, _, failed := a.current()
	switch {
	case s != nil:
		return s, nil
	case failed != nil:
		return nil, fmt.Errorf("the store of events is not open: %w", failed)
	}
	return nil, ErrOpening
}

// Last is that of the store.
func (a *Archive) Last(ctx context.Context, q query.Query, n int, from query.Cursor) (*query.Page, error) {
	s, err := a.Opened()
	if err != nil {
		return nil, err
	}
	return s.Last(ctx, q, n, from)
}

// Count is that of the store.
func (a *Archive) Count(ctx context.Context, q query.Query, by query.Field, top int) (*query.Counts, error) {
	s, err := a.Opened()
	if err != nil {
		return nil, err
	}
	return s.Count(ctx, q, by, top)
}

// Histogram is that of the store.
func (a *Archive) Histogram(ctx context.Context, q query.Query, step time.Duration, by query.Field, top int) (*query.Series, error) {
	s, err := a.Opened()
	if err != nil {
		return nil, err
	}
	return s.Histogram(ctx, q, step, by, top)
}

// Hold is that of the store.
func (a *Archive) Hold(ctx context.Context, h query.Hold) error {
	s, err := a.Opened()
	if err != nil {
		return err
	}
	return s.Hold(ctx, h)
}

// Release is that of the store.
func (a *Archive) Release(ctx context.Context, name string) (query.Hold, error) {
	s, err := a.Opened()
	if err != nil {
		return query.Hold{}, err
	}
	return s.Release(ctx, name)
}

// Holds is that of the store.
func (a *Archive) Holds(ctx context.Context) ([]query.Hold, error) {
	s, err := a.Opened()
	if err != nil {
		return nil, err
	}
	return s.Holds(ctx)
}
