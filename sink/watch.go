package sink

import (
	"context"
	"time"
)

const (
	lookEvery   = 5 * time.Second // how old the head of a Looker is at most, also while a batch waits
	refuseEvery = time.Minute     // how often is told of dead letters
)

// watch does until ctx ends what must not wait for a server: it follows the head, and tells of what was refused.
func (s *Sink) watch(ctx context.Context) {
	looker, looks := s.opts.Source.(Looker)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	told, last := uint64(0), time.Time{}
	for ended := false; !ended; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			ended = true
		}
		if looks && !ended {
			looker.Look(ctx)
		}
		s.mu.Lock()
		refused := s.status.Refused
		s.mu.Unlock()
		if refused > told && s.opts.Refused != nil && (ended || last.IsZero() || time.Since(last) >= refuseEvery) {
			s.opts.Refused(refused-told, s.letters.path)
			told, last = refused, time.Now()
		}
	}
}
