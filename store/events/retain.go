package events

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/palisade-security/palisade/store/segment"
)

// old is a segment whose events are older than their class is kept.
type old struct {
	*sealed
	gone  Deleted
	rows  []segment.Row // what is spared; nil: nothing
	names string        // by what (spare.names)
}

// Retain deletes events that are older than their class is kept, but for those that are held or kept longer, once all of their
// segment are that old. Events as old as those are not taken any more.
func (s *Store) Retain(now time.Time) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	all, unread := s.old(now)
	if len(all) == 0 {
		return unread
	}
	kept, deleted := map[string]int64{}, map[string]Deleted{}
	maps.Copy(kept, s.now.Kept)
	maps.Copy(deleted, s.now.Deleted)
	for i := range all {
		one := &all[i]
		deleted[one.Class] = deleted[one.Class].and(one.gone)
		kept[one.Class] = max(kept[one.Class], now.Add(-s.opts.Keep[one.Class]).UnixNano())
	}
	err := s.drop(all, kept, deleted)
	if err != nil {
		err = fmt.Errorf("deleting old events: %w", err)
	}
	return errors.Join(unread, err)
}

// drop tells of what is deleted, writes what is spared of it into other segments, and deletes.
func (s *Store) drop(all []old, kept map[string]int64, deleted map[string]Deleted) error {
	if s.deleting != nil {
		if err := s.deleting(maps.Clone(deleted)); err != nil {
			return err
		}
	}
	var gone, added []*sealed
	for i := range all {
		one := &all[i]
		gone = append(gone, one.sealed)
		if len(one.rows) == 0 {
			continue
		}
		rest, err := s.writeOne(one.Class, one.segment.Chunks(), one.rows)
		if err != nil {
			return err
		}
		rest.judged = one.names
		added = append(added, rest)
	}
	m := s.now
	m.Kept, m.Deleted = kept, deleted
	return s.replace(m, gone, added)
}

// old returns the segments of which something is to be deleted. What cannot be read cannot be judged, and stays while anything
// is spared; the error tells.
func (s *Store) old(now time.Time) (out []old, unread error) {
	s.mu.RLock()
	segments := slices.Clone(s.segments.all)
	s.mu.RUnlock()
	for _, one := range segments {
		if keep, ends := s.opts.Keep[one.Class]; !ends || one.Last >= now.Add(-keep).UnixNano() {
			continue
		}
		spared := s.spared(one.Last, now)
		switch {
		case len(spared.queries) == 0:
			out = append(out, old{sealed: one, gone: Deleted{uint64(one.Rows), one.Lowest, one.Highest}})
			continue
		case one.judged == spared.names:
			continue
		}
		err := one.err
		var rows []segment.Row
		var gone Deleted
		if err == nil {
			rows, gone, err = spared.rows(one.segment.Chunks())
		}
		switch {
		case err != nil:
			one.judged = spared.names // it is told once
			_, one.unread = errors.AsType[*segment.AwayError](err)
			unread = errors.Join(unread, fmt.Errorf("a segment is not deleted for its age, since what is held of it cannot be told: %w", err))
		case gone.Count == 0:
			one.judged = spared.names
		default:
			out = append(out, old{one, gone, rows, spared.names})
		}
	}
	return out, unread
}
