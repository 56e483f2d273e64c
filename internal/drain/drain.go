// Package drain ends what is open in good order: it is asked to leave, has time for that, and is cut.
package drain

import (
	"context"
	"sync"
	"sync/atomic"
)

// Set is what is open. The zero Set is empty. It may be used by several goroutines at once.
type Set[T comparable] struct {
	draining atomic.Bool
	mu       sync.Mutex
	open     map[T]struct{}
	none     chan struct{} // nil until someone waits; closed once nothing is open
}

// Add takes one in. It tells whether Drain has begun, which has then not asked this one to leave.
func (s *Set[T]) Add(one T) (draining bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = make(map[T]struct{})
	}
	s.open[one] = struct{}{}
	return s.draining.Load()
}

// Remove forgets one that has ended.
func (s *Set[T]) Remove(one T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, one)
	if len(s.open) == 0 && s.none != nil {
		close(s.none)
		s.none = nil
	}
}

// Len counts what is open.
func (s *Set[T]) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Draining tells whether Drain has begun. It takes no lock.
func (s *Set[T]) Draining() bool { return s.draining.Load() }

// Drain asks all to leave, waits until they are removed or ctx ends, cuts the rest and waits until that is removed, too. It is called once.
func (s *Set[T]) Drain(ctx context.Context, leave, cut func(T)) {
	none := make(chan struct{})
	s.mu.Lock()
	s.draining.Store(true)
	if len(s.open) == 0 {
		close(none)
	} else {
		s.none = none
	}
	s.mu.Unlock()
	s.Each(leave)
	select {
	case <-none:
	case <-ctx.Done():
		s.Each(cut)
		<-none
	}
}

// Each calls f with what is open now; f may remove it.
func (s *Set[T]) Each(f func(T)) {
	s.mu.Lock()
	all := make([]T, 0, len(s.open))
	for one := range s.open {
		all = append(all, one)
	}
	s.mu.Unlock()
	for _, one := range all {
		f(one)
	}
}
