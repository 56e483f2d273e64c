package events

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/palisade-security/palisade/store/segment"
)

// old is a segment whose events are older than their class is kept.
type old struct {
	*sealed // held until drop
	spare

	gone   Deleted
	rest   *sealed // what is spared, in a segment of its own; nil: nothing is
	failed error   // why it cannot be judged
}

// Retain deletes events that are older than their class is kept, but for those that are held or kept longer, once all of their
// segment are that old. Events as old as those are not taken any more. Sealing and holds do not wait while it reads what is held,
// which may lie in the bucket; what they change meanwhile is left to the next call.
func (s *Store) Retain(ctx context.Context, now time.Time) error {
	s.retaining.Lock()
	defer s.retaining.Unlock()
	all := s.old(now)
	defer func() {
		for i := range all {
			_ = all[i].drop() // opened for reading: nothing can be lost
		}
	}()
	for i := range all {
		if err := ctx.Err(); err != nil {
			return errors.Join(context.Cause(ctx), s.discard(all[:i]))
		}
		s.judge(&all[i])
	}
	return s.delete(all, now)
}

// old returns the segments that are old and may have something to delete.
func (s *Store) old(now time.Time) (out []old) {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	if s.held.Load() {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, one := range s.segments.all {
		if keep, ends := s.opts.Keep[one.Class]; !ends || one.Last >= now.Add(-keep).UnixNano() {
			continue
		}
		spared := s.spared(one.Last, now)
		if len(spared.queries) > 0 && one.judged == spared.names {
			continue
		}
		one.users.Add(1)
		out = append(out, old{sealed: one, spare: spared})
	}
	return out
}

// judge finds out what is spared of a segment and writes it into another one. Nothing is locked meanwhile: it may take long.
func (s *Store) judge(one *old) {
	if len(one.queries) == 0 {
		one.gone = Deleted{uint64(one.Rows), one.Lowest, one.Highest}
		return
	}
	if one.failed = one.err; one.failed != nil {
		return
	}
	var rows []segment.Row
	rows, one.gone, one.failed = one.rows(one.segment.Chunks())
	if one.failed != nil || one.gone.Count == 0 || len(rows) == 0 {
		return
	}
	s.keeping.Lock()
	name := s.name(one.Class)
	s.keeping.Unlock()
	if one.rest, one.failed = s.writeOne(name, one.Class, one.segment.Chunks(), rows); one.failed == nil {
		one.rest.judged = one.names
	}
}

// delete deletes what was judged and is as it was. What cannot be read cannot be judged, and stays while anything is spared; the error
// tells.
func (s *Store) delete(all []old, now time.Time) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	var due, moot []old
	var unread error
	for i := range all {
		one := &all[i]
		switch {
		case !s.consists(one.sealed) || s.spared(one.Last, now).names != one.names:
			moot = append(moot, *one)
		case one.failed != nil:
			judged(one)
			unread = errors.Join(unread, fmt.Errorf("a segment is not deleted for its age, since what is held of it cannot be told: %w", one.failed))
		case one.gone.Count == 0:
			one.judged = one.names
		default:
			due = append(due, *one)
		}
	}
	err := s.discard(moot)
	if len(due) > 0 {
		err = errors.Join(err, s.drop(due, now))
	}
	if err != nil {
		err = fmt.Errorf("deleting old events: %w", err)
	}
	return errors.Join(unread, err)
}

// judged notes that a segment cannot be read, so that it is told once. What could not be written is tried again.
func judged(one *old) {
	_, damaged := errors.AsType[*segment.DamageError](one.failed)
	_, away := errors.AsType[*segment.AwayError](one.failed)
	if damaged || away {
		one.judged, one.unread = one.names, away
	}
}

// drop tells of what is deleted, and deletes. The caller holds keeping.
func (s *Store) drop(all []old, now time.Time) error {
	m := s.now
	m.Kept, m.Deleted = map[string]int64{}, map[string]Deleted{}
	maps.Copy(m.Kept, s.now.Kept)
	maps.Copy(m.Deleted, s.now.Deleted)
	var gone, added []*sealed
	for i := range all {
		one := &all[i]
		m.Deleted[one.Class] = m.Deleted[one.Class].and(one.gone)
		m.Kept[one.Class] = max(m.Kept[one.Class], now.Add(-s.opts.Keep[one.Class]).UnixNano())
		gone = append(gone, one.sealed)
		if one.rest != nil {
			added = append(added, one.rest)
		}
	}
	if s.deleting != nil {
		if err := s.deleting(maps.Clone(m.Deleted)); err != nil {
			return errors.Join(err, s.discard(all))
		}
	}
	return s.replace(m, gone, added)
}

// discard removes what was written of segments that are not deleted now.
func (s *Store) discard(all []old) error {
	var err error
	for _, one := range slices.Backward(all) {
		if one.rest != nil {
			err = errors.Join(err, one.rest.drop(), s.shelf.remove(&one.rest.entry))
		}
	}
	return err
}

// expire calls Retain until ctx ends.
func (s *Store) expire(ctx context.Context, report func(error)) {
	tick := time.NewTicker(s.often())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.Retain(ctx, time.Now()); err != nil && ctx.Err() == nil {
			report(err)
		}
	}
}
