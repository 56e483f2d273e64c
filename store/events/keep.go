package events

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/palisade-security/palisade/store/segment"
)

// Seal writes what is in memory into segments, one for each class, and releases its part of the log. Queries find every event
// once all the while.
func (s *Store) Seal(ctx context.Context) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	s.mu.Lock()
	g := s.sealing
	if g == nil { // else the last try failed
		if g = s.tail; g.block.Rows() == 0 {
			s.mu.Unlock()
			return nil
		}
		s.sealing, s.tail = g, newGeneration()
		s.tail.upTo = g.upTo
	}
	s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	added, err := s.write([]segment.Chunk{g.block.View()})
	if err == nil {
		err = s.replace(g.upTo, nil, added)
	}
	if err != nil {
		return fmt.Errorf("sealing events: %w", err)
	}
	if err := s.log.Release(g.upTo + 1); err != nil {
		return fmt.Errorf("sealing events: %w", err)
	}
	return nil
}

// write writes the events of chunks into segments, one for each class. The caller holds keeping.
func (s *Store) write(from []segment.Chunk) ([]*sealed, error) {
	rows, err := segment.Order(from)
	if err != nil {
		return nil, err
	}
	classes, err := segment.Classes(from, rows)
	if err != nil {
		return nil, err
	}
	var out []*sealed
	for class, rows := range classes {
		s.names++
		info, err := segment.Write(s.opts.segments(), fmt.Sprintf("%012d-%s.parquet", s.names, class), from, rows)
		if err != nil {
			return nil, err
		}
		one := openSealed(s.opts.segments(), &entry{class, *info})
		if one.err != nil {
			return nil, one.err
		}
		out = append(out, one)
	}
	return out, nil
}

// replace makes the store consist of other segments, on disk and then for queries. The caller holds keeping.
func (s *Store) replace(upTo uint64, old, added []*sealed) error {
	s.mu.RLock()
	now := slices.DeleteFunc(slices.Clone(s.segments), func(one *sealed) bool { return slices.Contains(old, one) })
	s.mu.RUnlock()
	now = append(now, added...)
	m := &manifest{Sealed: upTo, Next: s.names}
	for _, one := range now {
		m.Segments = append(m.Segments, one.entry)
	}
	if err := m.write(s.opts.Dir); err != nil {
		return err
	}
	s.mu.Lock()
	s.segments = now
	if s.sealing != nil && s.sealing.upTo <= upTo {
		s.sealing = nil
		close(s.room)
		s.room = make(chan struct{})
	}
	s.mu.Unlock()
	var err error
	for _, one := range old {
		err = errors.Join(err, one.drop(), os.Remove(filepath.Join(s.opts.segments(), one.Name)))
	}
	return err
}

// position is up to where in the log events are in segments. The caller holds keeping.
func (s *Store) position() (uint64, error) {
	m, err := readManifest(s.opts.Dir)
	if err != nil {
		return 0, err
	}
	return m.Sealed, nil
}

// settled is how long after the end of an hour its segments are merged: most of what is late has come by then.
const settled = 5 * time.Minute

// Compact merges small segments of one class and one hour that is over.
func (s *Store) Compact(ctx context.Context, now time.Time) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	type hour struct {
		class string
		start int64
	}
	groups := map[hour][]*sealed{}
	s.mu.RLock()
	for _, one := range s.segments {
		start := time.Unix(0, one.First).Truncate(time.Hour)
		if one.err == nil && one.Rows < s.opts.MergeRows && now.Sub(start) >= time.Hour+settled {
			groups[hour{one.Class, start.UnixNano()}] = append(groups[hour{one.Class, start.UnixNano()}], one)
		}
	}
	s.mu.RUnlock()
	for _, all := range groups {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := s.merge(all); err != nil {
			return fmt.Errorf("merging segments: %w", err)
		}
	}
	return nil
}

// merge makes one segment of several, as many as MergeRows lets it.
func (s *Store) merge(all []*sealed) error {
	slices.SortFunc(all, func(a, b *sealed) int { return int(a.Rows - b.Rows) })
	var from []segment.Chunk
	var old []*sealed
	total := int64(0)
	for _, one := range all {
		if total += one.Rows; total > s.opts.MergeRows {
			break
		}
		old = append(old, one)
		from = append(from, one.segment.Chunks()...)
	}
	if len(old) < 2 {
		return nil
	}
	added, err := s.write(from)
	if err != nil {
		return err
	}
	upTo, err := s.position()
	if err != nil {
		return err
	}
	return s.replace(upTo, old, added)
}

// Retain deletes segments all of whose events are older than their class is kept.
func (s *Store) Retain(now time.Time) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	var old []*sealed
	s.mu.RLock()
	for _, one := range s.segments {
		if keep, ok := s.opts.Keep[one.Class]; ok && one.Last < now.Add(-keep).UnixNano() {
			old = append(old, one)
		}
	}
	s.mu.RUnlock()
	if len(old) == 0 {
		return nil
	}
	upTo, err := s.position()
	if err == nil {
		err = s.replace(upTo, old, nil)
	}
	if err != nil {
		return fmt.Errorf("deleting old events: %w", err)
	}
	return nil
}
