package stream

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	shortestOff = time.Second // after a failure; each further in a row twice as long
	longestOff  = 30 * time.Second
)

// Balance chooses among the addresses of a service: the one with the fewest connections of those that did not fail
// lately, and of several like that one by lot. It is safe for concurrent use. Connections are long, so that it counts
// them; upstream.Balancer, for requests, draws two by lot instead.
type Balance struct {
	mu    sync.Mutex
	order []string
	at    map[string]*place
}

// place is one address.
type place struct {
	open   int
	failed int       // times in a row
	until  time.Time // passed over until then
}

// NewBalance returns a Balance of addresses as host:port.
func NewBalance(addresses ...string) *Balance {
	b := &Balance{at: map[string]*place{}}
	b.Replace(addresses)
	return b
}

// Replace makes addresses those of the service. Connections to others stay.
func (b *Balance) Replace(addresses []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.order = slices.Clone(addresses)
	for name, p := range b.at {
		if p.open == 0 && !slices.Contains(addresses, name) {
			delete(b.at, name)
		}
	}
	for _, name := range addresses {
		if b.at[name] == nil {
			b.at[name] = &place{}
		}
	}
}

// pick counts a connection at an address that was not tried. Done says how connecting went, and must be called; a
// connection that was made ends with leave. Done is nil if there is no address left.
func (b *Balance) pick(tried []string) (name string, done func(ok bool)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	var best *place
	ties := 0
	for _, n := range b.order {
		if slices.Contains(tried, n) {
			continue
		}
		p := b.at[n]
		switch c := p.compare(best, now); {
		case c < 0:
			name, best, ties = n, p, 1
		case c == 0:
			if ties++; rand.IntN(ties) == 0 { //nolint:gosec // nobody gains from foreseeing it
				name, best = n, p
			}
		}
	}
	if best == nil {
		return "", nil
	}
	best.open++
	return name, func(ok bool) { b.done(name, ok) }
}

// compare is less than zero if p is better than o.
func (p *place) compare(o *place, now time.Time) int {
	if o == nil {
		return -1
	}
	if off, other := now.Before(p.until), now.Before(o.until); off != other {
		if off {
			return 1
		}
		return -1
	}
	return p.open - o.open
}

func (b *Balance) done(name string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.at[name]
	if p == nil {
		return
	}
	if ok {
		p.failed, p.until = 0, time.Time{}
		return
	}
	p.until = time.Now().Add(min(shortestOff<<min(p.failed, 10), longestOff))
	p.failed++
	b.drop(name, p)
}

func (b *Balance) leave(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.at[name]; p != nil {
		b.drop(name, p)
	}
}

// drop ends a connection, and forgets an address that was replaced and has none left.
func (b *Balance) drop(name string, p *place) {
	if p.open--; p.open == 0 && !slices.Contains(b.order, name) {
		delete(b.at, name)
	}
}
