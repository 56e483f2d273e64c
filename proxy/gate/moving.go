package gate

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"github.com/palisade-security/palisade/proxy/upstream"
)

// moving is a Balancer whose addresses change. It looks whether they have before each request, which costs a
// read of a channel, so that nobody has to run in the background for as long as a snapshot lives.
type moving struct {
	*upstream.Balancer
	addresses func() ([]string, <-chan struct{})
	changed   atomic.Pointer[<-chan struct{}]
	mu        sync.Mutex
}

func newMoving(b *upstream.Balancer, addresses func() ([]string, <-chan struct{}), changed <-chan struct{}) *moving {
	m := &moving{Balancer: b, addresses: addresses}
	m.changed.Store(&changed)
	return m
}

// Do sends r to one of the addresses in force.
func (m *moving) Do(ctx context.Context, r *upstream.Request) (*upstream.Response, error) {
	m.follow()
	return m.Balancer.Do(ctx, r)
}

// Upgrade is that of Balancer.
func (m *moving) Upgrade(ctx context.Context, r *upstream.Request) (*upstream.Response, io.ReadWriteCloser, error) {
	m.follow()
	return m.Balancer.Upgrade(ctx, r)
}

func (m *moving) follow() {
	old := m.changed.Load()
	select {
	case <-*old:
	default:
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.changed.Load() != old {
		return // somebody was faster
	}
	addresses, changed := m.addresses()
	m.Replace(addresses)
	m.changed.Store(&changed)
}
