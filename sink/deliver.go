package sink

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// maxAsked bounds what a server can ask for with Retry-After.
const maxAsked = 10 * time.Minute

// deliver returns when each record is taken or among the dead letters. The error is that of ctx, or of the disk.
func (s *Sink) deliver(ctx context.Context, records []Record) error {
	pause := pauses{first: s.opts.First, most: s.opts.Most}
	waiting := [][]Record{records}
	for len(waiting) > 0 {
		part := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		if len(part) == 0 {
			continue
		}
		err := s.send(ctx, part)
		if ctx.Err() != nil && err != nil {
			return context.Cause(ctx)
		}
		again, after, err := s.settle(part, err)
		if err != nil {
			return err
		}
		for _, some := range slices.Backward(again) { // the first is sent first
			waiting = append(waiting, some)
		}
		if after < 0 {
			pause.reset()
			continue
		}
		sleep(ctx, pause.next(after))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

func (s *Sink) send(ctx context.Context, part []Record) error {
	within, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	err := s.opts.Target.Send(within, part)
	switch {
	case err == nil:
		s.went()
	case answered(err):
		s.update(func(st *Status) { st.Failures++ })
		s.went()
	default:
		s.failed(ctx, err)
	}
	return err
}

// answered tells what a server has judged from an outage: nothing waits for it.
func answered(err error) bool {
	if partial, ok := errors.AsType[*PartialError](err); ok {
		return len(partial.Again) == 0
	}
	_, refused := errors.AsType[*RefusedError](err)
	return refused || errors.Is(err, ErrTooLarge)
}

// settle says what is to be sent again of a part, and after how long: negative, at once. The error is that of the disk.
func (s *Sink) settle(part []Record, err error) (again [][]Record, after time.Duration, _ error) {
	if err == nil {
		s.update(func(st *Status) { st.Sent += uint64(len(part)) })
		return nil, -1, nil
	}
	if partial, ok := errors.AsType[*PartialError](err); ok {
		return s.partly(part, partial)
	}
	refused, wrong := errors.AsType[*RefusedError](err)
	large := errors.Is(err, ErrTooLarge)
	switch {
	case (wrong || large) && len(part) > 1:
		half := len(part) / 2
		return [][]Record{part[:half], part[half:]}, -1, nil
	case wrong:
		return nil, -1, s.bury(part[0], refused.Reason)
	case large:
		return nil, -1, s.bury(part[0], err.Error())
	}
	if busy, ok := errors.AsType[*BusyError](err); ok {
		after = busy.After
	}
	return [][]Record{part}, after, nil
}

func (s *Sink) partly(part []Record, e *PartialError) (again [][]Record, after time.Duration, _ error) {
	for _, r := range e.Refused {
		if err := s.bury(part[r.At], r.Reason); err != nil {
			return nil, -1, err
		}
	}
	s.update(func(st *Status) {
		st.Sent += uint64(len(part) - len(e.Refused) - len(e.Again) - e.Unnamed)
		st.Refused += uint64(e.Unnamed)
	})
	if len(e.Again) == 0 {
		return nil, -1, nil
	}
	rest := make([]Record, len(e.Again))
	for i, at := range e.Again {
		rest[i] = part[at]
	}
	return [][]Record{rest}, e.After, nil
}

// bury writes a dead letter.
func (s *Sink) bury(r Record, reason string) error {
	dropped, err := s.letters.add(r, reason)
	if err != nil {
		return err
	}
	s.update(func(st *Status) { st.Refused, st.Dropped = st.Refused+1, st.Dropped+dropped })
	return nil
}

// pauses are the times between tries: each twice the one before, less up to half of it by chance, so that many do not come
// back at once.
type pauses struct{ first, most, last time.Duration }

func (p *pauses) reset() { p.last = 0 }

// next returns the next pause, at least what the server asked for.
func (p *pauses) next(asked time.Duration) time.Duration {
	p.last = min(max(2*p.last, p.first), p.most)
	wait := p.last - time.Duration(rand.Int64N(int64(p.last)/2+1)) //nolint:gosec // chance spreads load, it protects nothing
	return max(wait, min(asked, maxAsked))
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
