package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
		s.sealing, s.tail = g, newGeneration(g.block.Rows())
		s.tail.upTo, s.tail.next = g.upTo, g.next
		for _, b := range s.flight {
			for _, key := range b.marks {
				s.tail.keys[key] = struct{}{} // it comes into this one
			}
		}
	}
	s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	added, err := s.write([]segment.Chunk{g.block.View()})
	if err == nil {
		m := s.now
		m.Sealed, m.Number = g.upTo, g.next
		err = s.replace(m, nil, added)
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
		one, err := s.writeOne(s.name(class), class, from, rows)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// name is that of a segment that is to be written. The caller holds keeping.
func (s *Store) name(class string) string {
	s.now.Next++
	return fmt.Sprintf("%012d-%s.parquet", s.now.Next, class)
}

// writeOne writes rows of chunks, all of one class and in the order of their time, into a segment.
func (s *Store) writeOne(name, class string, from []segment.Chunk, rows []segment.Row) (*sealed, error) {
	info, err := segment.Write(s.opts.segments(), name, from, rows)
	if err != nil {
		return nil, err
	}
	one := s.shelf.open(&entry{Class: class, Info: *info})
	return one, one.err
}

// replace makes the store consist of other segments, and m the manifest, but for its segments, and removes what is not part of it any more.
// The caller holds keeping.
func (s *Store) replace(m manifest, old, added []*sealed) error {
	s.leave(&m, old)
	if err := s.exchange(m, old, added); err != nil {
		return err
	}
	var err error
	for _, one := range old {
		err = errors.Join(err, one.drop(), s.shelf.remove(&one.entry))
	}
	return err
}

// exchange makes the store consist of other segments, on disk and then for queries. The caller holds keeping.
func (s *Store) exchange(m manifest, old, added []*sealed) error {
	if s.held.Load() {
		return ErrClosed
	}
	s.mu.RLock()
	now := slices.DeleteFunc(slices.Clone(s.segments.all), func(one *sealed) bool { return slices.Contains(old, one) })
	s.mu.RUnlock()
	now = append(now, added...)
	m.Segments = make([]entry, len(now))
	for i, one := range now {
		m.Segments[i] = one.entry
	}
	if err := m.write(s.opts.Dir); err != nil {
		return err
	}
	s.now = m
	segments := newTimeline(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments, s.kept = segments, m.Kept
	if s.sealing != nil && s.sealing.upTo <= m.Sealed {
		s.sealing = nil
		close(s.room)
		s.room = make(chan struct{})
	}
	return nil
}

const (
	// settled is how long after the end of an hour its segments are merged: most of what is late has come by then.
	settled = 5 * time.Minute
	day     = 24 * time.Hour
	// keptByDay is how long a class must be kept for a day of it to be one segment, which is deleted as a whole.
	keptByDay = 7 * day
)

// span is the time of which a class's small segments are merged: a day that is over if that is not too coarse for its
// retention, else an hour that is over; 0: none is.
func (s *Store) span(class string, first, now time.Time) time.Duration {
	keep, ends := s.opts.Keep[class]
	switch {
	case (!ends || keep >= keptByDay) && now.Sub(first.Truncate(day)) >= day+settled:
		return day
	case now.Sub(first.Truncate(time.Hour)) >= time.Hour+settled:
		return time.Hour
	}
	return 0
}

// Compact merges small segments of one class and one hour that is over, and then of the day.
func (s *Store) Compact(ctx context.Context, now time.Time) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	type part struct {
		class string
		start int64
		span  time.Duration
	}
	groups := map[part][]*sealed{}
	s.mu.RLock()
	for _, one := range s.segments.all {
		first := time.Unix(0, one.First)
		if span := s.span(one.Class, first, now); span > 0 && one.err == nil && !one.away && one.Rows < s.opts.MergeRows {
			key := part{one.Class, first.Truncate(span).UnixNano(), span}
			groups[key] = append(groups[key], one)
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

// worth returns those of some segments that are to become one, as many as a number of events lets them. One that is larger than
// all others together waits until they have grown: events of old times, which come with every seal, would else have all of
// their day written again each time.
func worth(all []*sealed, most int64) []*sealed {
	slices.SortFunc(all, func(a, b *sealed) int { return cmp.Compare(a.Rows, b.Rows) })
	total, n := int64(0), 0
	for n < len(all) && total+all[n].Rows <= most {
		total += all[n].Rows
		n++
	}
	for n > 0 && all[n-1].Rows > total-all[n-1].Rows {
		n--
		total -= all[n].Rows
	}
	return all[:n]
}

// merge makes one segment of several, of as many as it is worth.
func (s *Store) merge(all []*sealed) error {
	old := worth(all, s.opts.MergeRows)
	if len(old) == 0 {
		return nil
	}
	var from []segment.Chunk
	for _, one := range old {
		from = append(from, one.segment.Chunks()...)
	}
	added, err := s.write(from)
	if err != nil {
		return err
	}
	return s.replace(s.now, old, added)
}
