package control

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// span is that of budgets.
const span = time.Minute

// budget bounds how often something happens in a span. The zero value is full. It is not safe for concurrent use.
type budget struct {
	begun time.Time // of the span
	taken int       // in it
}

// take tells whether it may happen once more.
func (b *budget) take(now time.Time, most int) bool {
	if now.Sub(b.begun) >= span {
		b.begun, b.taken = now, 0
	}
	if b.taken >= most {
		return false
	}
	b.taken++
	return true
}

// strangers bounds the events that whoever has proven nothing can make: nobody fills journals from outside.
type strangers struct {
	mu      sync.Mutex
	budget  budget
	omitted int // since one was last made
}

const strangersMost = 300 // events in a span; more are counted

// may tells whether another event may be made, and how many were not since the last.
func (s *strangers) may(now time.Time) (omitted int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.budget.take(now, strangersMost) {
		s.omitted++
		return 0, false
	}
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
