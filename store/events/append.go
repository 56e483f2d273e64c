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

const (
	maxBatch  = 1 << 10 // events that are one record of the log
	maxRecord = 4 << 20 // bytes beyond which a record is divided
)

// backlog is how many times what is sealed at once may be in memory before Append waits.
const backlog = 3

// batch is events that are one record of the log: the number of the first (numberBytes, big-endian), then all of them in columns.
type batch struct {
	rows   *segment.Batch
	marks  []mark        // of the events
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
	for some := range slices.Chunk(events, maxBatch) {
		if err := s.append(ctx, some); err != nil {
			return fmt.Errorf("appending events: %w", err)
		}
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

// append writes events as one record of the log, or as several if they are long, and returns when they, and all before them, can
// be found.
func (s *Store) append(ctx context.Context, events []*event.Event) error {
	rows, record := recordOf(events)
	if half := len(events) / 2; len(record) > maxRecord && half > 0 {
		if err := s.append(ctx, events[:half]); err != nil {
			return err
		}
		return s.append(ctx, events[half:])
	}
	if len(record) > journal.MaxRecordLimit {
		return fmt.Errorf("%w: %d bytes with event %q", journal.ErrTooLarge, len(record), events[len(events)-1].ID)
	}
	// Whether a record that nobody waits for any more was written could not be known, and all behind it would wait.
	ctx = context.WithoutCancel(ctx)
	var b *batch
	var own *journal.Pending
	failed := errStale
	for errors.Is(failed, errStale) {
		a, err := s.ask(events)
		if err != nil {
			return err
		}
		b, own, failed = s.begin(ctx, rows, record, events, a)
	}
	if b == nil {
		return failed
	}
	if own != nil {
		s.finish(b, own.Seq, own.Wait(ctx))
	}
	<-b.done
	return errors.Join(failed, b.err)
}

// recordOf puts events into columns, and into a record of the log, the number of which is still to come.
func recordOf(events []*event.Event) (*segment.Batch, []byte) {
	rows := segment.NewBatch(events)
	return rows, rows.AppendBinary(make([]byte, numberBytes, numberBytes+len(events)*recordBytes))
}

// recordBytes is room for an ordinary event in a record.
const recordBytes = 512

// begin leaves out the events that are there, gives the others numbers and writes them into the log, in that order. Numbers
// are in the log, so replaying it gives the same whatever was deleted since. It returns the batch to wait for, nil if
// there is none, and a pending record if that batch is its own. The error wraps errStale if more is to be asked first.
func (s *Store) begin(ctx context.Context, rows *segment.Batch, record []byte, events []*event.Event, a *asked) (*batch, *journal.Pending, error) {
	s.order.Lock()
	defer s.order.Unlock()
	s.mu.Lock()
	if !s.answers(a, events) {
		s.mu.Unlock()
		return nil, nil, errStale
	}
	fresh, marks, failed := s.fresh(events, a)
	if len(fresh) == 0 { // those that are there may not be on the disk yet
		var last *batch
		if len(s.flight) > 0 {
			last = s.flight[len(s.flight)-1]
		}
		s.mu.Unlock()
		return last, nil, failed
	}
	if len(fresh) < len(events) {
		rows, record = recordOf(fresh)
	}
	b := &batch{rows: rows, marks: marks, number: s.given, done: make(chan struct{})}
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

// fresh returns those of some events that are not there and their fingerprints, and notes that they are. The caller holds the
// lock.
func (s *Store) fresh(events []*event.Event, a *asked) ([]*event.Event, []mark, error) {
	failed := a.err
	out, marks := make([]*event.Event, 0, len(events)), make([]mark, 0, len(events))
	for _, e := range events {
		kept, some := s.kept[segment.ClassOf(e)]
		if some && e.Time.UnixNano() < kept && !s.spares(e) {
			continue
		}
		key := s.marker.of(e)
		there := a.there[key]
		if !there {
			var err error
			there, err = s.has(e, key)
			failed = errors.Join(failed, err) // rather twice than not at all
		}
		if !there {
			s.tail.keys[key] = struct{}{}
			out, marks = append(out, e), append(marks, key)
		}
	}
	return out, marks, failed
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
		s.take(next.rows, next.number)
		s.tail.upTo = next.at
		close(next.done)
	}
	s.tell()
	if s.tail.due(&s.opts, time.Now()) {
		s.wake()
	}
}

// take puts events into memory, numbered from one on. The caller holds the lock.
func (s *Store) take(rows *segment.Batch, number uint64) {
	if s.tail.block.Rows() == 0 {
		s.tail.since = time.Now()
	}
	s.tail.block.Append(rows, number)
	s.next = number + uint64(rows.Rows())
	s.tail.next = s.next
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
		if one.err == nil && !one.away { // those were asked
			there, err = one.segment.Holds(e)
		}
		return err == nil && !there
	})
	return there, err
}
