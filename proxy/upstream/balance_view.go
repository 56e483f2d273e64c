package upstream

import (
	"math/rand/v2"
	"slices"
	"time"
)

// view is what requests see of a service's addresses. It is immutable.
type view struct {
	all   []*address
	ready []*address // those not passed over; all if there is none
	wake  time.Time  // when the next one is back; zero: all are there
}

// current returns the view in force.
func (b *Balancer) current() *view {
	v := b.view.Load()
	if v.wake.IsZero() {
		return v
	}
	now := time.Now()
	if now.Before(v.wake) {
		return v
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.look(now)
}

// look makes a new view. Balancer.mu is held.
func (b *Balancer) look(now time.Time) *view {
	v := &view{all: b.all}
	for _, a := range b.all {
		switch {
		case !now.Before(a.until):
			v.ready = append(v.ready, a)
		case v.wake.IsZero() || a.until.Before(v.wake):
			v.wake = a.until
		}
	}
	if len(v.ready) == 0 {
		v.ready = v.all
	}
	b.view.Store(v)
	return v
}

// choose draws two addresses and returns the one with fewer requests in flight (Mitzenmacher, The Power of Two
// Choices in Randomized Load Balancing, 2001). It returns nil if there is none.
func (v *view) choose() *address {
	n := len(v.ready)
	switch n {
	case 0:
		return nil
	case 1:
		return v.ready[0]
	}
	i, j := rand.IntN(n), rand.IntN(n-1) //nolint:gosec // nobody gains from foreseeing it
	if j >= i {
		j++
	}
	if v.ready[j].member.inFlight() < v.ready[i].member.inFlight() {
		return v.ready[j]
	}
	return v.ready[i]
}

// trail is where a request has been.
type trail struct {
	addresses [8]*address
	n         int
}

func (t *trail) add(a *address) {
	if t.n < len(t.addresses) {
		t.addresses[t.n] = a
		t.n++
	}
}

// other returns an address that is not on the trail: one that is ready, at worst one that is passed over. It returns
// nil if there is none or if the trail has become long.
func (v *view) other(t *trail) *address {
	if t.n == len(t.addresses) {
		return nil
	}
	if a := draw(v.ready, t); a != nil {
		return a
	}
	return draw(v.all, t)
}

func draw(from []*address, t *trail) *address {
	var drawn *address
	n := 0
	for _, a := range from {
		if slices.Contains(t.addresses[:t.n], a) {
			continue
		}
		if n++; rand.IntN(n) == 0 { //nolint:gosec // nobody gains from foreseeing it
			drawn = a
		}
	}
	return drawn
}
