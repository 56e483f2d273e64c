package control

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// strangers bounds the events that whoever has proven nothing can make: nobody fills journals from outside.
type strangers struct {
	mu      sync.Mutex
	begun   time.Time // of the span
	made    int       // in it
	omitted int       // since one was last made
}

const (
	strangersSpan = time.Minute
	strangersMost = 300 // events in a span; more are counted
)

// may tells whether another event may be made, and how many were not since the last.
func (s *strangers) may(now time.Time) (omitted int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.begun) >= strangersSpan {
		s.begun, s.made = now, 0
	}
	if s.made >= strangersMost {
		s.omitted++
		return 0, false
	}
	s.made++
	omitted, s.omitted = s.omitted, 0
	return omitted, true
}

// stranger records what somebody tried who has not proven who it is, unless too many do.
func (c *Control) stranger(ctx context.Context, e Event) {
	omitted, ok := c.strangers.may(time.Now())
	if !ok {
		return
	}
	if omitted > 0 {
		e.Text += fmt.Sprintf(" (%d more attempts of strangers before it are not recorded)", omitted)
	}
	c.record(ctx, e)
}
