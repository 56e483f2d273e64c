package mesh

import (
	"slices"
	"sync"

	"github.com/palisade-security/palisade/model"
)

// places is where the sidecars of services take calls.
type places struct {
	mu  sync.Mutex
	all map[string]*place
}

type place struct {
	declared  []string // by the model; none: found
	addresses []string // as found
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
	if len(at.declared) > 0 {
		return slices.Clone(at.declared), at.changed
	}
	return slices.Clone(at.addresses), at.changed
}

// set replaces the addresses of a service's sidecars.
func (p *places) set(service string, addresses ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at(service).set(&p.at(service).addresses, addresses)
}

// setAll replaces the addresses of all sidecars.
func (p *places) setAll(found map[string][]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for service := range found {
		p.at(service)
	}
	for service, at := range p.all {
		at.set(&at.addresses, found[service])
	}
}

// declare replaces the addresses that the model says.
func (p *places) declare(services []model.ResolvedService) {
	p.mu.Lock()
	defer p.mu.Unlock()
	declared := map[string][]string{}
	for i := range services {
		declared[services[i].Name] = services[i].Sidecars
		p.at(services[i].Name)
	}
	for service, at := range p.all {
		at.set(&at.declared, declared[service])
	}
}

// set replaces one kind of addresses, and tells of it if they are others.
func (p *place) set(which *[]string, addresses []string) {
	if slices.Equal(*which, addresses) {
		return
	}
	*which = slices.Clone(addresses)
	close(p.changed)
	p.changed = make(chan struct{})
}
