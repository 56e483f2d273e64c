package events

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/palisade-security/palisade/internal/bucket"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/store/query"
)

// Look is a store at one moment, read from its files alone, also while a process writes them. It changes nothing.
type Look struct {
	store *Store // that takes nothing
	parts *snapshot
	torn  error // what of the log cannot be read
}

const (
	lookTries = 20 // how often Peek begins again since segments were merged or deleted meanwhile
	tornTries = 3  // and since the log was torn: a process may be writing there
)

// Peek looks at the store in a folder, and in its bucket, nil if it has none. The error wraps os.ErrNotExist if there is none. The
// caller closes it before ctx ends.
func Peek(ctx context.Context, dir string, b *bucket.Bucket) (*Look, error) {
	if _, err := os.Stat(filepath.Join(dir, "segments")); err != nil {
		return nil, fmt.Errorf("reading the store of events: %w", err)
	}
	for try := range lookTries {
		l, changed, err := peek(ctx, dir, b)
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the store of events: %w", err)
		}
		if !changed && (l.torn == nil || try >= tornTries) {
			l.parts, err = l.store.snapshot(&query.Query{})
			return l, err
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("reading the store of events: %s changes all the time", dir)
}

// readOrBegin reads the manifest of a store that may have none yet.
func readOrBegin(dir string) (*manifest, error) {
	m, err := readManifest(dir)
	if m == nil {
		m = &manifest{Number: 1}
	}
	return m, err
}

// peek tries once, and tells whether the manifest has changed meanwhile.
func peek(ctx context.Context, dir string, b *bucket.Bucket) (*Look, bool, error) {
	o := Options{Dir: dir}.withDefaults()
	m, err := readOrBegin(dir)
	if err != nil {
		return nil, false, err
	}
	h := newShelf(ctx, o.segments(), b)
	var segments []*sealed
	for i := range m.Segments {
		segments = append(segments, h.open(&m.Segments[i]))
	}
	s := &Store{opts: o, shelf: h, marker: newMarker(), segments: newTimeline(segments), tail: newGeneration(0), now: *m, given: m.Number, next: m.Number}
	l := &Look{store: s}
	for rec, err := range journal.Read(o.log(), m.Sealed+1) {
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			_, err = s.replay(rec)
		}
		l.torn = errors.Join(l.torn, err)
	}
	now, err := readOrBegin(dir)
	if err != nil {
		return nil, false, errors.Join(err, l.Close())
	}
	return l, now.Sealed != m.Sealed || now.Next != m.Next || len(now.Segments) != len(m.Segments), nil
}

// Records is as that of Store; what of the log cannot be read is an error like that of a damaged segment.
func (l *Look) Records(ctx context.Context, from uint64) iter.Seq2[query.Record, error] {
	return func(yield func(query.Record, error) bool) {
		// What the log has is behind what was sealed.
		if l.torn == nil || yield(query.Record{}, fmt.Errorf("reading events: %w", &UnreadError{First: max(l.store.now.Number, from), Last: math.MaxUint64, Err: l.torn})) {
			l.parts.records(ctx, from)(yield)
		}
	}
}

// Next is the number behind the last that can be found.
func (l *Look) Next() uint64 { return l.store.next }

// Deleted is what was deleted since the beginning since it was old, by class.
func (l *Look) Deleted() map[string]Deleted { return l.store.now.Deleted }

// Within returns the numbers of a first and a last event, so that all that are from a time on and before another are between
// them. Zero times are no bounds; last is lower than first if there are none.
func (l *Look) Within(since, until time.Time) (first, last uint64) {
	q := query.Query{From: since, To: until}
	from, to := q.Bounds()
	first = l.store.next
	note := func(earliest, latest int64, lowest, highest uint64) {
		if latest >= from && earliest < to {
			first, last = min(first, lowest), max(last, highest)
		}
	}
	for _, one := range l.store.segments.all {
		note(one.First, one.Last, one.Lowest, one.Highest)
	}
	for _, c := range l.parts.memory {
		earliest, latest := c.Bounds()
		lowest, highest := c.Numbers()
		note(earliest, latest, lowest, highest)
	}
	return first, last
}

// Close frees the files.
func (l *Look) Close() error {
	if l.parts != nil {
		l.parts.release()
	}
	var err error
	for _, one := range l.store.segments.all {
		err = errors.Join(err, one.drop())
	}
	return err
}
