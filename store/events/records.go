package events

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/segment"
)

// recordsAtOnce is how many numbers Records puts events together of at a time.
const recordsAtOnce = 4 << 10

// Next returns the number that the next event will have; all with lower numbers can be found, but for those that are deleted.
func (s *Store) Next(context.Context) (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.next, nil
}

// Await returns when the event with a number can be found. The error is ErrClosed, or the cause of ctx.
func (s *Store) Await(ctx context.Context, number uint64) error {
	for {
		s.mu.Lock()
		if s.next > number {
			s.mu.Unlock()
			return nil
		}
		if s.held.Load() {
			s.mu.Unlock()
			return ErrClosed
		}
		if s.more == nil {
			s.more = make(chan struct{})
		}
		more := s.more
		s.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tell wakes all who Await. The caller holds the lock.
func (s *Store) tell() {
	if s.more != nil {
		close(s.more)
		s.more = nil
	}
}

// Records hands out the events that can be found now, from a number on, in the order of their numbers. Those that were deleted
// are left out. After the error of a segment that cannot be read (*UnreadError of a *segment.DamageError) it goes on with the others; ErrClosed
// and the cause of ctx are the last.
func (s *Store) Records(ctx context.Context, from uint64) iter.Seq2[query.Record, error] {
	return func(yield func(query.Record, error) bool) {
		p, err := s.snapshot(&query.Query{})
		if err != nil {
			yield(query.Record{}, err)
			return
		}
		defer p.release()
		p.records(ctx, from)(yield)
	}
}

// records is Records of a store at one moment.
func (p *snapshot) records(ctx context.Context, from uint64) iter.Seq2[query.Record, error] {
	return func(yield func(query.Record, error) bool) {
		f := p.runs(from)
		for len(f.failed) > 0 || len(f.runs) > 0 {
			some := f.window(ctx)
			for i := range some {
				if !yield(some[i], nil) {
					return
				}
			}
			for _, err := range f.failed {
				if !yield(query.Record{}, fmt.Errorf("reading events: %w", err)) {
					return
				}
			}
			f.failed = nil
		}
	}
}

// follow is the parts that Records has not read yet.
type follow struct {
	runs   []*run
	failed []error // what could not be read
}

// UnreadError is events that cannot be read, and where among the others they are.
type UnreadError struct {
	First, Last uint64 // numbers between which they are, with others
	Most        uint64 // how many there are, at most; 0: not known
	Err         error
}

func (e *UnreadError) Error() string { return e.Err.Error() }
func (e *UnreadError) Unwrap() error { return e.Err }

// run is the events of a part in the order of their numbers.
type run struct {
	next  uint64 // no number that was not handed out is lower
	from  uint64 // lower ones are not asked for
	chunk segment.Chunk
	rows  []place // nil before the first is needed
}

// place is where an event lies.
type place struct {
	number uint64
	row    uint32
}

// runs are the parts that have events from a number on.
func (p *snapshot) runs(from uint64) *follow {
	f := &follow{}
	add := func(c segment.Chunk) {
		if lowest, highest := c.Numbers(); highest >= from {
			f.runs = append(f.runs, &run{next: max(lowest, from), from: from, chunk: c})
		}
	}
	for _, c := range p.memory {
		add(c)
	}
	for _, one := range p.segments {
		switch {
		case one.Highest < from:
		case one.err != nil:
			f.failed = append(f.failed, &UnreadError{First: max(one.Lowest, from), Last: one.Highest, Most: uint64(max(one.Rows, 0)), Err: one.err})
		default:
			for _, c := range one.segment.Chunks() {
				add(c)
			}
		}
	}
	return f
}

// window returns the next events of the runs, and drops the runs that have no more or cannot be read.
func (f *follow) window(ctx context.Context) []query.Record {
	if len(f.runs) == 0 {
		return nil
	}
	end := slices.MinFunc(f.runs, func(a, b *run) int { return cmp.Compare(a.next, b.next) }).next + recordsAtOnce
	var out []query.Record
	f.runs = slices.DeleteFunc(f.runs, func(r *run) bool {
		if r.next >= end || ctx.Err() != nil {
			return ctx.Err() != nil
		}
		some, err := r.before(end)
		if err != nil {
			f.failed = append(f.failed, err)
		}
		out = append(out, some...)
		return err != nil || len(r.rows) == 0
	})
	if ctx.Err() != nil {
		f.runs, f.failed = nil, []error{context.Cause(ctx)}
		return nil
	}
	slices.SortFunc(out, func(a, b query.Record) int { return cmp.Compare(a.Number, b.Number) })
	return out
}

// before takes what has numbers below one from a run. The error is an *UnreadError.
func (r *run) before(end uint64) ([]query.Record, error) {
	_, highest := r.chunk.Numbers()
	rest := UnreadError{First: r.next, Last: highest, Most: uint64(r.chunk.Rows())}
	if r.rows == nil {
		if rest.Err = r.sort(); rest.Err != nil {
			return nil, &rest
		}
	}
	rest.Most = uint64(len(r.rows))
	n, _ := slices.BinarySearchFunc(r.rows, end, func(p place, end uint64) int { return cmp.Compare(p.number, end) })
	some := slices.Clone(r.rows[:n])
	if r.rows = r.rows[n:]; len(r.rows) > 0 {
		r.next = r.rows[0].number
	}
	slices.SortFunc(some, func(a, b place) int { return cmp.Compare(a.row, b.row) })
	rows := make([]uint32, len(some))
	for i := range some {
		rows[i] = some[i].row
	}
	events, err := segment.Events(r.chunk, rows)
	if rest.Err = err; err != nil {
		return nil, &rest
	}
	out := make([]query.Record, len(some))
	for i, e := range events {
		out[i] = query.RecordOf(some[i].number, e)
	}
	return out, nil
}

// sort finds the rows of a run.
func (r *run) sort() error {
	numbers, err := segment.NumbersOf(r.chunk)
	if err != nil {
		return err
	}
	first := 0
	if _, ascend := r.chunk.(*segment.View); ascend { // who follows what comes reads the end of it again and again
		first, _ = slices.BinarySearch(numbers, int64(r.from))
	}
	r.rows = make([]place, 0, len(numbers)-first)
	for i := first; i < len(numbers); i++ {
		if n := uint64(numbers[i]); n >= r.from {
			r.rows = append(r.rows, place{n, uint32(i)})
		}
	}
	slices.SortFunc(r.rows, func(a, b place) int { return cmp.Compare(a.number, b.number) })
	return nil
}
