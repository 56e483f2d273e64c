package events

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/store/segment"
)

// ErrClosed says that the store was closed.
var ErrClosed = errors.New("the event store is closed")

// maxBatch is about how many bytes of events are one record of the log.
const maxBatch = 4 << 20

// backlog is how many times what is sealed at once may be in memory before Append waits.
const backlog = 3

// batch is events that are one record of the log: the number of the first (numberBytes, big-endian), then each in a line.
type batch struct {
	events []*event.Event
	number uint64        // of the first
	at     uint64        // position in the log, once it is on the disk
	done   chan struct{} // closed when they can be found, or never will be
	err    error         // why they never will be
}

// numberBytes are how a record of the log begins.
const numberBytes = 8

// generation is the events in memory that are sealed together.
type generation struct {
	block *segment.Block
	keys  map[mark]struct{} // of what is in it, and of what may come into it
	upTo  uint64            // position of the log up to which all is in here or in segments
	next  uint64            // number of the next event behind it
	since time.Time         // when the first came
}

// newGeneration has room for some events.
func newGeneration(rows int) *generation {
	return &generation{block: segment.NewBlock(rows), keys: map[mark]struct{}{}}
}

// due tells whether a generation is to be sealed.
func (g *generation) due(o *Options, now time.Time) bool {
	return g.block.Rows() >= o.SealRows || g.block.Bytes() >= o.SealBytes || g.block.Rows() > 0 && now.Sub(g.since) >= o.SealAge
}

// Append takes events that are redacted and returns when they are safe on disk and can be found. Those that are there
// already are left out, and those that are older than what Retain has left of their class. If it fails some of them may be
// there: deliver them again. It takes none if one of them cannot be kept. It waits while sealing cannot keep up, until ctx
// ends. The events must not be changed afterwards.
func (s *Store) Append(ctx context.Context, events []*event.Event) error {
	for _, e := range events {
		if err := segment.Check(e); err != nil {
			return err
		}
	}
	if err := s.wait(ctx); err != nil {
		return fmt.Errorf("appending events: %w", err)
	}
	record := make([]byte, numberBytes, min(maxBatch, numberBytes+len(events)*event.DefaultCapacity))
	var ends []int // of the events in the record
	first := 0
	for i, e := range events {
		record = append(event.AppendJSON(record, e), '\n')
		ends = append(ends, len(record))
		if len(record) < maxBatch && i+1 < len(events) {
			continue
		}
		if err := s.append(ctx, record, ends, events[first:i+1]); err != nil {
			return fmt.Errorf("appending events: %w", err)
		}
		record, ends, first = record[:numberBytes], ends[:0], i+1
	}
	return nil
}

// wait returns when there is room in memory.
func (s *Store) wait(ctx context.Context) error {
	for {
		s.mu.RLock()
		room, busy := s.room, s.tail.block.Rows() >= backlog*s.opts.SealRows || s.tail.block.Bytes() >= backlog*s.opts.SealBytes
		s.mu.RUnlock()
		if s.held.Load() {
			return ErrClosed
		}
		if !busy {
			return nil
		}
		s.wake()
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *Store) wake() {
	select {
	case s.full <- struct{}{}:
	default: // it is awake
	}
}

// append writes one record of the log and returns when its events, and all before them, can be found.
func (s *Store) append(ctx context.Context, record []byte, ends []int, events []*event.Event) error {
	if len(record) > journal.MaxRecordLimit {
		return fmt.Errorf("%w: %d bytes with event %q", journal.ErrTooLarge, len(record), events[len(events)-1].ID)
	}
	// Whether a record that nobody waits for any more was written could not be known, and all behind it would wait.
	ctx = context.WithoutCancel(ctx)
	b, own, failed := s.begin(ctx, record, ends, events)
	if b == nil {
		return failed
	}
	if own != nil {
		s.finish(b, own.Seq, own.Wait(ctx))
	}
	<-b.done
	return errors.Join(failed, b.err)
}

// begin leaves out the events that are there, gives the others numbers and writes them into the log, in that order. Numbers
// are in the log, so replaying it gives the same whatever was deleted since. It returns the batch to wait for, nil if
// there is none, and a pending record if that batch is its own.
func (s *Store) begin(ctx context.Context, record []byte, ends []int, events []*event.Event) (*batch, *journal.Pending, error) {
	s.order.Lock()
	defer s.order.Unlock()
	s.mu.Lock()
	record, fresh, failed := s.fresh(record, ends, events)
	if len(fresh) == 0 { // those that are there may not be on the disk yet
		var last *batch
		if len(s.flight) > 0 {
			last = s.flight[len(s.flight)-1]
		}
		s.mu.Unlock()
		return last, nil, failed
	}
	b := &batch{events: fresh, number: s.given, done: make(chan struct{})}
	s.given += uint64(len(fresh))
	s.flight = append(s.flight, b)
	s.mu.Unlock()
	binary.BigEndian.PutUint64(record, b.number)
	own, err := s.log.Enqueue(ctx, record)
	if err != nil {
		s.finish(b, 0, err)
		return b, nil, failed
	}
	return b, &own, failed
}

// fresh returns what of a record and of its events is not there, and notes that it is. The caller holds the lock.
func (s *Store) fresh(record []byte, ends []int, events []*event.Event) ([]byte, []*event.Event, error) {
	var failed error
	out := make([]*event.Event, 0, len(events))
	to, from := numberBytes, numberBytes // what is left out is closed up
	for i, e := range events {
		key := s.marker.of(e)
		kept, some := s.kept[segment.ClassOf(e)]
		there := some && e.Time.UnixNano() < kept && !s.spares(e)
		if !there {
			var err error
			there, err = s.has(e, key)
			failed = errors.Join(failed, err) // rather twice than not at all
		}
		if !there {
			s.tail.keys[key] = struct{}{}
			out = append(out, e)
			if to != from {
				copy(record[to:], record[from:ends[i]])
			}
			to += ends[i] - from
		}
		from = ends[i]
	}
	return record[:to], out, failed
}

// finish notes that a batch is on the disk, or why it is not, and puts those into memory that are and have no others before them.
func (s *Store) finish(b *batch, at uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil { // the log takes nothing any more, so no number is given twice
		b.err = err
		close(b.done)
		return
	}
	b.at = at
	for len(s.flight) > 0 && s.flight[0].at != 0 {
		next := s.flight[0]
		s.flight = slices.Delete(s.flight, 0, 1)
		next.err = s.take(next.events, next.number)
		s.tail.upTo = next.at
		close(next.done)
	}
	s.tell()
	if s.tail.due(&s.opts, time.Now()) {
		s.wake()
	}
}

// take puts events into memory, numbered from one on. The caller holds the lock.
func (s *Store) take(events []*event.Event, number uint64) error {
	var failed error
	if s.tail.block.Rows() == 0 {
		s.tail.since = time.Now()
	}
	for i, e := range events {
		failed = errors.Join(failed, s.tail.block.Append(e, number+uint64(i)))
	}
	s.next = number + uint64(len(events))
	s.tail.next = s.next
	return failed
}

// has tells whether an event is there. The caller holds the lock.
func (s *Store) has(e *event.Event, key mark) (there bool, err error) {
	for _, g := range []*generation{s.tail, s.sealing} {
		if g == nil {
			continue
		}
		if _, ok := g.keys[key]; ok {
			return true, nil
		}
	}
	at := e.Time.UnixNano()
	s.segments.between(at, at, func(one *sealed) bool {
		if one.err == nil {
			there, err = one.segment.Holds(e)
		}
		return err == nil && !there
	})
	return there, err
}
