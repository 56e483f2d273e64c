package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/gate"
	"github.com/palisade-security/palisade/proxy/listen"
)

// The bounds of connections between sidecars: their clients are ours.
const (
	handshakeTime = 5 * time.Second
	idleTime      = 5 * time.Minute
	drainTime     = 20 * time.Second
	headBytes     = 64 << 10
	connections   = 10000
)

// Sidecar carries the calls of one service, both ways.
type Sidecar struct {
	name    string
	service model.ResolvedService // as it was when the mesh was opened
	mesh    *Mesh
	holder  *holder
	self    *proxy.Workload
	in, out side
	dial    atomic.Pointer[Dial]
	open    atomic.Int64 // connections of others to it
	carried []*carried   // under the mesh's lock
}

// Dial connects to the service itself.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

type side struct {
	engine  *engine.Engine
	builder *gate.Builder
}

// nobody finds no users: a sidecar does not ask its own service who it is.
type nobody struct{}

// ForRoute implements gate.Authenticator.
func (nobody) ForRoute(model.ResolvedRoute) proxy.Filter { return nil }

func (m *Mesh) newSidecar(svc *model.ResolvedService) (*Sidecar, error) {
	id, err := workload.ParseID(svc.ID)
	if err != nil {
		return nil, fmt.Errorf("naming the service %q: %w", svc.Name, err)
	}
	s := &Sidecar{name: svc.Name, service: *svc, mesh: m, holder: m.hold(id), self: &proxy.Workload{SPIFFEID: svc.ID}}
	s.in.engine, s.out.engine = engine.New(m.o.Recorder), engine.New(m.o.Recorder)
	if s.in.builder, err = gate.NewBuilder(gate.WithSide(engine.Inbound), gate.WithReach(s.reachOwn)); err != nil {
		return nil, err
	}
	s.out.builder, err = gate.NewBuilder(gate.WithSide(engine.Outbound), gate.WithReach(func(o *model.ResolvedService) gate.Reach { return m.reachAs(s.holder, o) }))
	return s, err
}

// reachAs is the way to a service's sidecars under an identity.
func (m *Mesh) reachAs(h *holder, svc *model.ResolvedService) gate.Reach {
	id, err := workload.ParseID(svc.ID)
	if err != nil {
		id = workload.ID{} // expected of nobody
	}
	name := svc.Name
	return gate.Reach{Peers: &gate.Peers{
		TLS: peer.ClientConfig(h.certificate, m.verifier, peer.OneOf(id)), Trust: &h.trust,
		Addresses: func() ([]string, <-chan struct{}) { return m.places.of(name) },
	}}
}

var errNotStarted = errors.New("the service has not started")

// reachOwn is the way to the service itself.
func (s *Sidecar) reachOwn(*model.ResolvedService) gate.Reach {
	return gate.Reach{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		dial := s.dial.Load()
		if dial == nil {
			return nil, errNotStarted
		}
		return (*dial)(ctx, network, address)
	}}
}

// Outside is a socket on which a service reaches a declared host outside the fleet.
type Outside struct {
	Host     string
	Port     int
	Listener net.Listener
}

// Attach says how the service is reached, and serves the sockets on which it reaches others: each is for the
// service of that name, or for a host outside.
func (s *Sidecar) Attach(dial Dial, sockets map[string][]net.Listener, outside ...Outside) error {
	s.dial.Store(&dial)
	for _, o := range outside {
		s.carryOutside(o.Host, o.Port, o.Listener)
	}
	for callee, listeners := range sockets {
		for _, ln := range listeners {
			if err := s.serveOutbound(callee, ln); err != nil {
				return fmt.Errorf("sidecar of %q: %w", s.name, err)
			}
		}
	}
	return nil
}

// serveOutbound takes what the service asks of a callee.
func (s *Sidecar) serveOutbound(callee string, ln net.Listener) error {
	m := s.mesh
	if other := m.sidecars[callee]; other != nil && isTCP(&other.service) {
		return s.carryOutbound(&other.service, ln)
	}
	server, err := listen.Bind(m.ctx, s.options("outbound", listen.Options{
		Listener: ln, Clear: true, Handler: s.toward(callee),
		Peer: func(*tls.ConnectionState, io.Closer) (*proxy.Workload, func(), error) { return s.self, nil, nil },
	}))
	if err != nil {
		return err
	}
	m.running.Go(func() error { return server.Run(m.ctx) })
	return nil
}

// Release closes idle connections to the service, which is about to end.
func (s *Sidecar) Release() { s.in.builder.CloseIdle() }

// toward serves calls as calls of one service, whatever the caller calls it.
func (s *Sidecar) toward(callee string) engine.Handler {
	return engine.HandlerFunc(func(ctx context.Context, c *engine.Call) bool {
		if c.Refused == nil {
			c.Host = callee
		}
		return s.out.engine.Serve(ctx, c)
	})
}

// serve takes calls of others.
func (s *Sidecar) serve(ctx context.Context, g *errgroup.Group) error {
	m := s.mesh
	if _, err := s.holder.fetch(ctx); errors.Is(err, workload.ErrDenied) {
		m.o.Log.WarnContext(ctx, "the service is revoked and takes no calls until it is restored", "service", s.name, "mend", "palisade restore service/"+s.name)
	} else if err != nil {
		return fmt.Errorf("sidecar of %q: fetching its SVID: %w", s.name, err)
	}
	if isTCP(&s.service) {
		at, err := s.carryInbound(ctx)
		if err == nil {
			m.places.set(s.name, at.String())
		}
		return err
	}
	config := peer.ServerConfig(s.holder.certificate, m.verifier, peer.AnyIn(m.domain))
	config.NextProtos = []string{"h2", "http/1.1"}
	server, err := listen.Bind(ctx, s.options("inbound", listen.Options{Address: "127.0.0.1:0", TLS: config, Handler: s.in.engine, Peer: s.introduce}))
	if err != nil {
		return fmt.Errorf("sidecar of %q: %w", s.name, err)
	}
	m.places.set(s.name, server.Addr().String())
	g.Go(func() error { return server.Run(ctx) })
	return nil
}

// options fills in what the sockets of all sidecars have in common.
func (s *Sidecar) options(direction string, o listen.Options) listen.Options {
	o.Name = s.name + "/" + direction
	o.Header, o.Idle, o.Drain, o.HeaderBytes = handshakeTime, idleTime, drainTime, headBytes
	o.Connections, o.PerAddress = connections, connections
	return o
}

// introduce names the service at the other end, and notes that it is connected, so that it can be cut off.
func (s *Sidecar) introduce(state *tls.ConnectionState, conn io.Closer) (*proxy.Workload, func(), error) {
	p, err := peer.Of(*state)
	if err != nil {
		return nil, nil, err
	}
	c, err := s.mesh.live.Track(p, conn)
	if err != nil {
		return nil, nil, err
	}
	s.open.Add(1)
	return &proxy.Workload{SPIFFEID: p.ID.String()}, func() { c.Release(); s.open.Add(-1) }, nil
}
