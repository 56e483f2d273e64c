package mesh

import (
	"slices"
	"sync"
)

// places is where the sidecars of services take calls.
type places struct {
	mu  sync.Mutex
	all map[string]*place
}

type place struct {
	addresses []string
	changed   chan struct{}
}

func (p *places) at(service string) *place {
	if p.all == nil {
		p.all = map[string]*place{}
	}
	if p.all[service] == nil {
		p.all[service] = &place{changed: make(chan struct{})}
	}
	return p.all[service]
}

// of returns the addresses of a service's sidecars, and a channel that is closed when they change.
func (p *places) of(service string) ([]string, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.at(service)
	return slices.Clone(at.addresses), at.changed
}

// set replaces the addresses of a service's sidecars.
func (p *places) set(service string, addresses ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.at(service)
	at.addresses = addresses
	close(at.changed)
	at.changed = make(chan struct{})
}
