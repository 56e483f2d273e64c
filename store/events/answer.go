package events

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/segment"
)

// snapshot is the store at one moment.
type snapshot struct {
	memory   []segment.Chunk
	segments []*sealed // that may have what is asked for
}

// snapshot holds what a query may need until release.
func (s *Store) snapshot(q *query.Query) (*snapshot, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.held.Load() {
		return nil, ErrClosed
	}
	out := &snapshot{}
	for _, g := range []*generation{s.sealing, s.tail} {
		if g != nil && g.block.Rows() > 0 {
			out.memory = append(out.memory, g.block.View())
		}
	}
	from, to := q.Bounds()
	s.segments.between(from, to, func(one *sealed) bool {
		if one.May(q) {
			one.users.Add(1)
			out.segments = append(out.segments, one)
		}
		return true
	})
	return out, nil
}

func (p *snapshot) release() {
	for _, one := range p.segments {
		_ = one.drop() // opened for reading: nothing can be lost
	}
}

// chunks are all parts, newest first. The error is that of a damaged segment.
func (p *snapshot) chunks() ([]segment.Chunk, error) {
	out := slices.Clone(p.memory)
	for _, one := range p.segments {
		if one.err != nil {
			return nil, one.err
		}
		out = append(out, one.segment.Chunks()...)
	}
	return out, nil
}

// each runs a func on parts at the same time, on as many as there are processors.
func each(ctx context.Context, chunks []segment.Chunk, do func(segment.Chunk) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, c := range chunks {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return do(c)
		})
	}
	return group.Wait()
}

// Count returns how many events of those meant there are of each value of a field. The error wraps query.ErrTooMany, or is a
// *segment.DamageError.
func (s *Store) Count(ctx context.Context, q query.Query, by query.Field, top int) (*query.Counts, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	if err := query.CheckCount(by, top); err != nil {
		return nil, err
	}
	p, err := s.snapshot(&q)
	if err != nil {
		return nil, err
	}
	defer p.release()
	total := &query.Tally{}
	from, to := q.Bounds()
	chunks := p.memory
	for _, one := range p.segments {
		if q.Where == nil && one.First >= from && one.Last < to {
			if known, err := one.Tally(by, total); err != nil {
				return nil, err
			} else if known {
				continue
			}
		}
		if one.err != nil {
			return nil, fmt.Errorf("counting events: %w", one.err)
		}
		chunks = append(chunks, one.segment.Chunks()...)
	}
	var mu sync.Mutex
	err = each(ctx, chunks, func(c segment.Chunk) error {
		set, err := segment.Select(c, &q)
		if err != nil {
			return err
		}
		t := &query.Tally{}
		if err := segment.Count(c, set, by, t); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		return total.Merge(t)
	})
	if err != nil {
		return nil, fmt.Errorf("counting events: %w", err)
	}
	return total.Counts(top), nil
}

// Histogram returns how many events of those meant there are in each step of time; by query.None or by the most frequent
// values of a field. Errors are those of Count.
func (s *Store) Histogram(ctx context.Context, q query.Query, step time.Duration, by query.Field, top int) (*query.Series, error) {
	total, err := query.StartChart(&q, step, by, top)
	if err != nil {
		return nil, err
	}
	p, err := s.snapshot(&q)
	if err != nil {
		return nil, err
	}
	defer p.release()
	chunks, err := p.chunks()
	if err != nil {
		return nil, fmt.Errorf("counting events: %w", err)
	}
	var mu sync.Mutex
	err = each(ctx, chunks, func(c segment.Chunk) error {
		set, err := segment.Select(c, &q)
		if err != nil || set.Len() == 0 {
			return err
		}
		chart := query.NewChart(total.Grid())
		if err := segment.Chart(c, set, by, chart); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		return total.Merge(chart)
	})
	if err != nil {
		return nil, fmt.Errorf("counting events: %w", err)
	}
	return total.Series(top), nil
}

// found is an event that may be on the page.
type found struct {
	query.Cursor
	chunk segment.Chunk
	row   uint32
}

// Last returns up to n of the events that are meant, newest first, from a place on. It reads no more than it needs to know
// that there are no newer ones. Errors are those of Count.
func (s *Store) Last(ctx context.Context, q query.Query, n int, from query.Cursor) (*query.Page, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	if err := query.CheckLast(n); err != nil {
		return nil, err
	}
	p, err := s.snapshot(&q)
	if err != nil {
		return nil, err
	}
	defer p.release()
	page, err := p.last(ctx, &q, n, from)
	if err != nil {
		return nil, fmt.Errorf("finding events: %w", err)
	}
	return page, nil
}

// source is a part that is read when its turn comes.
type source struct {
	last  int64 // the newest time in it
	chunk segment.Chunk
	away  bool // reading it takes long, or fails
	err   error
}

func (p *snapshot) sources() []source {
	var out []source
	for _, c := range p.memory {
		_, last := c.Bounds()
		out = append(out, source{last: last, chunk: c})
	}
	for _, one := range p.segments {
		if one.err != nil {
			out = append(out, source{last: one.Last, err: one.err})
			continue
		}
		for _, c := range one.segment.Chunks() {
			_, last := c.Bounds()
			out = append(out, source{last: last, chunk: c, away: one.away})
		}
	}
	slices.SortStableFunc(out, func(a, b source) int { return cmp.Compare(b.last, a.last) })
	return out
}

func (p *snapshot) last(ctx context.Context, q *query.Query, n int, from query.Cursor) (*query.Page, error) {
	var all []found
	sources := p.sources()
	most := 1 // most often the newest part has enough
	for ; len(sources) > 0; most = runtime.GOMAXPROCS(0) {
		if len(all) > n && sources[0].last < all[n].Time {
			break // all that follow are older
		}
		if sources[0].err != nil {
			return nil, sources[0].err
		}
		var chunks []segment.Chunk
		away := sources[0].away
		for len(chunks) < most && len(sources) > 0 && sources[0].err == nil && sources[0].away == away {
			chunks = append(chunks, sources[0].chunk)
			sources = sources[1:]
		}
		var mu sync.Mutex
		err := each(ctx, chunks, func(c segment.Chunk) error {
			some, err := newest(c, q, n+1, from)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, some...)
			return err
		})
		if err != nil {
			return nil, err
		}
		slices.SortFunc(all, func(a, b found) int { return a.Compare(b.Cursor) })
		all = all[:min(len(all), n+1)]
	}
	return fetch(all, n)
}

// newest returns the up to n newest rows of a chunk that a query means, behind a place, and as many more as are of the same
// time as the last.
func newest(c segment.Chunk, q *query.Query, n int, from query.Cursor) ([]found, error) {
	set, err := segment.Select(c, q)
	if err != nil || set.Len() == 0 {
		return nil, err
	}
	times, err := segment.Times(c, set)
	if err != nil {
		return nil, err
	}
	before := int64(math.MaxInt64)
	if !from.IsZero() {
		before = from.Time
	}
	least := nth(times, n, before)
	var all []found
	var rows []uint32
	for i, row := range set.Rows() {
		// Those of the same time as the place may be before it.
		if t := times[i]; t >= least && t < before || t == before {
			all, rows = append(all, found{query.Cursor{Time: t}, c, row}), append(rows, row)
		}
	}
	keys, err := segment.Keys(c, rows)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].Key = keys[i]
	}
	return slices.DeleteFunc(all, func(f found) bool { return !from.IsZero() && from.Compare(f.Cursor) >= 0 }), nil
}

// nth is the nth latest of the times before one, or the earliest there can be if there are fewer.
func nth(times []int64, n int, before int64) int64 {
	latest := make([]int64, 0, 2*n)
	least := int64(math.MinInt64)
	cut := func() {
		slices.Sort(latest)
		if over := len(latest) - n; over >= 0 {
			latest = slices.Delete(latest, 0, over)
			least = latest[0]
		}
	}
	for _, t := range slices.Backward(times) { // most often the last are the latest
		if t >= before || t <= least {
			continue
		}
		if latest = append(latest, t); len(latest) == cap(latest) {
			cut()
		}
	}
	cut()
	return least
}

// fetch puts the events of a page together.
func fetch(all []found, n int) (*query.Page, error) {
	page := &query.Page{}
	if len(all) > n {
		all = all[:n]
		page.Next = all[n-1].Cursor
	}
	page.Events = make([]*event.Event, len(all))
	of := map[segment.Chunk][]int{} // places on the page
	for i := range all {
		of[all[i].chunk] = append(of[all[i].chunk], i)
	}
	for c, places := range of {
		slices.SortFunc(places, func(a, b int) int { return cmp.Compare(all[a].row, all[b].row) })
		rows := make([]uint32, len(places))
		for i, at := range places {
			rows[i] = all[at].row
		}
		events, err := segment.Events(c, rows)
		if err != nil {
			return nil, err
		}
		for i, at := range places {
			page.Events[at] = events[i]
		}
	}
	return page, nil
}
