package upstream

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

const (
	failuresInRow = 5                // send an address off
	shortestOff   = 1 * time.Second  // the first time; each further time twice as long
	longestOff    = 30 * time.Second // an address that stays for so long begins anew
)

// member carries requests to one address and leaves it to its caller to send again.
type member interface {
	try(ctx context.Context, r *Request, fresh bool) (*Response, again, error)
	inFlight() int
	Close()
}

// address is one of a service's.
type address struct {
	name     string
	member   member
	requests atomic.Uint64
	failed   atomic.Uint64
	streak   atomic.Int32 // failures in a row

	until time.Time // passed over until then; guarded by Balancer.mu
	off   int       // times in a row; guarded by Balancer.mu
}

func (b *Balancer) newAddress(name string) *address {
	o := b.options
	o.Address = name
	a := &address{name: name}
	switch b.protocol {
	case HTTP1:
		a.member = NewPool(o)
	case HTTP2:
		a.member = NewStreams(o, o.TLS == nil)
	case Both:
		a.member = newShared(o)
	}
	return a
}

// Replace makes addresses those of the service. Those that stay keep their connections and their record; those that
// go answer what they were asked, and get nothing new.
func (b *Balancer) Replace(addresses []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := make(map[string]*address, len(b.all))
	for _, a := range b.all {
		known[a.name] = a
	}
	all := make([]*address, 0, len(addresses))
	fresh := false
	for _, name := range addresses {
		if slices.ContainsFunc(all, func(a *address) bool { return a.name == name }) {
			continue
		}
		a := known[name]
		if a == nil {
			a, fresh = b.newAddress(name), true
		}
		delete(known, name)
		all = append(all, a)
	}
	b.drained()
	for _, a := range known {
		b.draining = append(b.draining, a)
		a.member.Close()
	}
	b.all = all
	b.look(time.Now())
	if fresh {
		b.circuit.hurry()
	}
}

// drained forgets addresses that are gone and have answered everything.
func (b *Balancer) drained() {
	b.draining = slices.DeleteFunc(b.draining, func(a *address) bool { return a.member.inFlight() == 0 })
}

// note records what was seen of an address.
func (b *Balancer) note(a *address, v verdict) {
	switch v {
	case good:
		if a.streak.Load() != 0 { // most often it is, and a look costs less than a write
			a.streak.Store(0)
		}
	case bad:
		a.failed.Add(1)
		if a.streak.Add(1) >= failuresInRow {
			b.sendOff(a)
		}
	case void:
	}
}

// sendOff passes a over for a while, unless that would leave less than half of the addresses to carry everything. If
// none is left that answers, all are off, which is as if none were.
func (b *Balancer) sendOff(a *address) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Before(a.until) || !slices.Contains(b.all, a) {
		return
	}
	off, failing := 0, 0
	for _, other := range b.all {
		if now.Before(other.until) {
			off++
		}
		if now.Before(other.until) || other.streak.Load() >= failuresInRow {
			failing++
		}
	}
	switch {
	case failing == len(b.all):
		for _, other := range b.all {
			other.goOff(now)
		}
	case 2*(off+1) <= len(b.all):
		a.goOff(now)
	default:
		return
	}
	b.look(now)
}

// goOff begins the time off of an address that is there. The first failure after it sends the address off again.
func (a *address) goOff(now time.Time) {
	if now.Before(a.until) {
		return
	}
	if now.Sub(a.until) > longestOff {
		a.off = 0
	}
	a.until = now.Add(backOff(a.off, longestOff))
	a.off++
	a.streak.Store(failuresInRow - 1)
}

// backOff is the wait after so many before: twice as long each time, up to the longest, and up to half more by lot, so
// that many who wait do not come back at once.
func backOff(before int, longest time.Duration) time.Duration {
	wait := min(shortestOff<<min(before, 16), longest)
	return wait + rand.N(wait/2) //nolint:gosec // nobody gains from foreseeing it
}
