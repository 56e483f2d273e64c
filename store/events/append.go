package events

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/segment"
)

// ErrClosed says that the store was closed.
var ErrClosed = errors.New("the event store is closed")

// maxBatch is about how many bytes of events are one record of the log.
const maxBatch = 4 << 20

// backlog is how many times what is sealed at once may be in memory before Append waits.
const backlog = 3

// batch is events that are one record of the log.
type batch struct {
	events []*event.Event
	taken  chan struct{} // closed when they can be found
}

// generation is the events in memory that are sealed together.
type generation struct {
	block *segment.Block
	keys  map[string]struct{}
	upTo  uint64    // position of the log up to which all is in here or in segments
	since time.Time // when the first came
}

func newGeneration() *generation {
	return &generation{block: segment.NewBlock(), keys: map[string]struct{}{}}
}

// due tells whether a generation is to be sealed.
func (g *generation) due(o *Options, now time.Time) bool {
	return g.block.Rows() >= o.SealRows || g.block.Bytes() >= o.SealBytes || g.block.Rows() > 0 && now.Sub(g.since) >= o.SealAge
}

// Append takes events that are redacted and returns when they are safe on disk and can be found. Those that are there
// already are left out. If it fails some of them may be there: deliver them again. It takes none if one of them cannot be
// kept. It waits while sealing cannot keep up, until ctx ends. The events must not be changed afterwards.
func (s *Store) Append(ctx context.Context, events []*event.Event) error {
	for _, e := range events {
		if err := segment.Check(e); err != nil {
			return err
		}
	}
	if err := s.wait(ctx); err != nil {
		return fmt.Errorf("appending events: %w", err)
	}
	buf := make([]byte, 0, min(maxBatch, len(events)*event.DefaultCapacity))
	first := 0
	for i, e := range events {
		buf = append(event.AppendJSON(buf, e), '\n')
		if len(buf) < maxBatch && i+1 < len(events) {
			continue
		}
		if err := s.append(ctx, buf, events[first:i+1]); err != nil {
			return fmt.Errorf("appending events: %w", err)
		}
		buf, first = buf[:0], i+1
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

// append writes one record of the log and puts its events into memory when those before it are there.
func (s *Store) append(ctx context.Context, record []byte, events []*event.Event) error {
	// Whether a record that nobody waits for any more was written could not be known, and all behind it would wait.
	at, err := s.log.Append(context.WithoutCancel(ctx), record)
	if err != nil {
		return err
	}
	b := &batch{events: events, taken: make(chan struct{})}
	s.mu.Lock()
	s.waiting[at] = b
	for err == nil && s.waiting[s.next] != nil {
		next := s.waiting[s.next]
		delete(s.waiting, s.next)
		_, err = s.take(next.events)
		s.tail.upTo = s.next
		s.next++
		close(next.taken)
	}
	full := s.tail.due(&s.opts, time.Now())
	s.mu.Unlock()
	if full {
		s.wake()
	}
	if err != nil {
		return err
	}
	<-b.taken // whoever is before us in the log is on the disk as well
	return nil
}

// take puts events into memory that are not there, and returns how many. The caller holds the lock.
func (s *Store) take(events []*event.Event) (int, error) {
	var failed error
	before := s.tail.block.Rows()
	for _, e := range events {
		key := query.Key(e)
		there, err := s.has(e.Time.UnixNano(), key)
		if err != nil {
			failed = errors.Join(failed, err) // rather twice than not at all
		}
		if there {
			continue
		}
		if s.tail.block.Rows() == 0 {
			s.tail.since = time.Now()
		}
		if err := s.tail.block.Append(e); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		s.tail.keys[key] = struct{}{}
	}
	return s.tail.block.Rows() - before, failed
}

// has tells whether an event is there. The caller holds the lock.
func (s *Store) has(at int64, key string) (bool, error) {
	for _, g := range []*generation{s.tail, s.sealing} {
		if g == nil {
			continue
		}
		if _, ok := g.keys[key]; ok {
			return true, nil
		}
	}
	for _, one := range s.segments {
		if one.err != nil || at < one.First || at > one.Last {
			continue
		}
		if there, err := one.segment.Holds(at, key); err != nil || there {
			return there, err
		}
	}
	return false, nil
}

// replay brings the events of a record of the log back into memory and returns how many were not there.
func (s *Store) replay(rec journal.Record) (int, error) {
	var events []*event.Event
	for line := range bytes.Lines(rec.Data) {
		e, err := event.Parse(line)
		if err != nil {
			return 0, fmt.Errorf("replaying record %d of the log: %w", rec.Seq, err)
		}
		events = append(events, e)
	}
	n, err := s.take(events)
	s.tail.upTo = rec.Seq
	return n, err
}
