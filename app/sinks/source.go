package sinks

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/segment"
)

// Records is a record of events that can be followed by number: store/events, store/shared.
type Records interface {
	// Next returns the number that the next event will have.
	Next(ctx context.Context) (uint64, error)
	// Await returns when there is an event with a number.
	Await(ctx context.Context, number uint64) error
	// Records hands out the events from a number on, in order, without those that are gone. After an error it may go on.
	Records(ctx context.Context, from uint64) iter.Seq2[query.Record, error]
}

// looked is how many events one batch may leave out by its filter, so that a position moves on.
const looked = 10_000

// FromStore follows a store of events, those that a query means.
func FromStore(of func(context.Context) (Records, error), where query.Query) sink.Source {
	return &stored{of: of, where: where}
}

type stored struct {
	of    func(context.Context) (Records, error)
	where query.Query
	head  atomic.Uint64 // as seen last

	ahead []query.Record // read already, from the number at on: the store reads many at once or one at the same cost
	at    uint64
}

// The most that is read ahead.
const (
	aheadRecords = 4 << 10
	aheadBytes   = 8 << 20
)

// Head is sink.Source's.
func (s *stored) Head() uint64 { return s.head.Load() }

// Look is sink.Looker's. A store that does not answer leaves the head where it was.
func (s *stored) Look(ctx context.Context) {
	records, err := s.of(ctx)
	if err != nil {
		return
	}
	if head, err := records.Next(ctx); err == nil {
		s.head.Store(head)
	}
}

// Next is sink.Source's.
func (s *stored) Next(ctx context.Context, from uint64, most sink.Bound) (sink.Batch, error) {
	records, err := s.of(ctx)
	if err != nil {
		return sink.Batch{}, err
	}
	for {
		head, err := records.Next(ctx)
		if err != nil {
			return sink.Batch{}, err
		}
		s.head.Store(head)
		if from > head {
			from = 0
		}
		g := gathering{where: &s.where, most: most, batch: sink.Batch{Next: max(from, 1)}, first: from == 0}
		damage, err := s.gather(ctx, records, &g, head)
		if err != nil {
			return sink.Batch{}, err
		}
		switch {
		case g.batch.Next > max(from, 1):
			return g.batch, nil
		case damage != nil: // and nothing readable behind it
			return sink.Batch{}, damage
		case head > g.batch.Next: // all from here on are gone
			return sink.Batch{Next: head, Lost: g.lostTo(head)}, nil
		}
		if err := records.Await(ctx, g.batch.Next); err != nil {
			return sink.Batch{}, err
		}
	}
}

// gather fills a batch with what is there.
func (s *stored) gather(ctx context.Context, records Records, g *gathering, head uint64) (damage, _ error) {
	for more := true; more && g.batch.Next < head; {
		if len(s.ahead) == 0 || s.at != g.batch.Next {
			var err error
			damage, err = s.read(ctx, records, g.batch.Next)
			if err != nil && (ctx.Err() != nil || g.seen == 0) {
				return nil, err
			}
		}
		if len(s.ahead) == 0 { // what is wrong is met again when there is nothing before it
			return damage, nil
		}
		for more && len(s.ahead) > 0 {
			var left bool
			if left, more = g.add(s.ahead[0].Number, s.ahead[0].JSON()); !left {
				s.ahead = s.ahead[1:]
			}
		}
		s.at = g.batch.Next
	}
	return damage, nil
}

// read reads ahead from a number on. What damaged segments held is left out.
func (s *stored) read(ctx context.Context, records Records, from uint64) (damage, _ error) {
	s.ahead = nil
	size := 0
	for r, err := range records.Records(ctx, from) {
		if _, damaged := errors.AsType[*segment.DamageError](err); damaged {
			damage = err
			continue
		}
		if err != nil {
			return nil, err
		}
		s.ahead = append(s.ahead, r)
		if size += len(r.JSON()); len(s.ahead) == aheadRecords || size > aheadBytes {
			break
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return damage, nil
}

// gathering is a batch in the making.
type gathering struct {
	where *query.Query
	most  sink.Bound
	batch sink.Batch
	first bool // what is gone before the first record was never waited for
	bytes int
	seen  int
}

// lostTo counts what is missing before a number.
func (g *gathering) lostTo(number uint64) uint64 {
	if g.first {
		return 0
	}
	return number - g.batch.Next
}

// add takes a record, unless it does not fit any more and is left for the next batch, and reports whether there is room for more.
func (g *gathering) add(number uint64, text []byte) (left, more bool) {
	if len(g.batch.Records) > 0 && g.bytes+len(text) > g.most.Bytes {
		return true, false
	}
	if number > g.batch.Next {
		g.batch.Lost += g.lostTo(number)
	}
	g.first, g.batch.Next = false, number+1
	e, err := event.Parse(text)
	if err != nil {
		g.batch.Lost++ // it is no event, and never will be
	} else if g.where.Match(e) {
		g.bytes += len(text)
		g.batch.Records = append(g.batch.Records, sink.Record{Number: number, Event: e})
	}
	g.seen++
	return false, len(g.batch.Records) < g.most.Records && g.seen < looked
}
