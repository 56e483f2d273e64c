package drain_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/palisade-security/palisade/internal/drain"
)

// TestDrain: who can leave does, who cannot is cut, and nobody is forgotten.
func TestDrain(t *testing.T) {
	var s drain.Set[int]
	for i := range 10 {
		if s.Add(i) || s.Draining() {
			t.Error("nothing drains yet")
		}
	}
	s.Remove(9)
	s.Remove(9)
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	var left, gone []int
	s.Drain(ctx, func(i int) {
		mu.Lock()
		left = append(left, i)
		n := len(left)
		mu.Unlock()
		if i < 5 {
			s.Remove(i)
		}
		if n == 9 {
			if !s.Add(20) {
				t.Error("who comes late is not told that it drains")
			}
			stop()
		}
	}, func(i int) {
		gone = append(gone, i)
		go s.Remove(i)
	})
	slices.Sort(left)
	slices.Sort(gone)
	if !slices.Equal(left, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}) || !slices.Equal(gone, []int{5, 6, 7, 8, 20}) || s.Len() != 0 {
		t.Errorf("asked to leave: %v, cut: %v, %d are open", left, gone, s.Len())
	}
}

// TestDrainNothing ends at once.
func TestDrainNothing(t *testing.T) {
	var s drain.Set[string]
	s.Drain(t.Context(), nil, nil)
	if !s.Draining() {
		t.Error("it does not drain")
	}
}
