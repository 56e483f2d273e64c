package intake

import (
	"context"
	"sync"
	"time"
)

// The reasons of refusals.
const (
	ReasonUnknown  = "unknown-source" // no key and no certificate of a source
	ReasonQuota    = "quota"
	ReasonTooLarge = "too-large"
	ReasonForm     = "malformed"
	ReasonBusy     = "busy" // too much at once, or the disk does not take it
)

// Refusal is what was not taken in.
type Refusal struct {
	Source  string // empty: nobody knows
	Reason  string
	Address string // of the last sender
	Text    string // for people
	Omitted int64  // like it that are told of with this one
}

// tellEvery is the least time between two refusals of one source and reason that are told of.
const tellEvery = time.Minute

// refusals tells of refusals, the first one at once and those that follow together.
type refusals struct {
	tell   func(Refusal)
	turned func(source, reason string)
	mu     sync.Mutex
	last   map[told]*waiting
}

type told struct{ source, reason string }

type waiting struct {
	at   time.Time // when it was last told of
	next Refusal   // Omitted: one more than stand behind it; 0: there is none
}

// refuse counts a refusal and tells of it, now or later.
func (r *refusals) refuse(now time.Time, one Refusal) {
	r.turned(one.Source, one.Reason)
	key := told{one.Source, one.Reason}
	r.mu.Lock()
	if r.last == nil {
		r.last = map[told]*waiting{}
	}
	w := r.last[key] // sources are declared and reasons are few: it stays small
	if w == nil {
		w = &waiting{}
		r.last[key] = w
	}
	if now.Sub(w.at) < tellEvery {
		one.Omitted = w.next.Omitted + 1
		w.next = one
		r.mu.Unlock()
		return
	}
	w.at = now
	r.mu.Unlock()
	r.tell(one)
}

// run tells of what is waiting.
func (r *refusals) run(ctx context.Context) error {
	tick := time.NewTicker(tellEvery / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			r.flush(time.Time{})
			return nil
		case now := <-tick.C:
			r.flush(now)
		}
	}
}

// flush tells of what has waited long enough; at the zero time of everything.
func (r *refusals) flush(now time.Time) {
	var out []Refusal
	r.mu.Lock()
	for _, w := range r.last {
		if w.next.Omitted > 0 && (now.IsZero() || now.Sub(w.at) >= tellEvery) {
			w.next.Omitted--
			out = append(out, w.next)
			w.at, w.next = now, Refusal{}
		}
	}
	r.mu.Unlock()
	for _, one := range out {
		r.tell(one)
	}
}
