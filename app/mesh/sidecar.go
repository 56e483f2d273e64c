package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/identity/peer"
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
	Ground
	name    string
	self    *proxy.Workload
	in, out side
	broker  *broker // nil: the service is none
	dial    atomic.Pointer[Dial]
	open    atomic.Int64 // connections of others to it

	refusals       *refusals
	taking, asking life // calls of others, and of the service

	mu      sync.Mutex
	own     *model.ResolvedService // the service, by the newest slice
	slice   *model.Snapshot        // in force; nil: none yet
	carried []*carried
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

// NewSidecar builds the sidecar of a service, which works while Run does.
func NewSidecar(g Ground, svc *model.ResolvedService) (*Sidecar, error) {
	s := &Sidecar{Ground: g, name: svc.Name, own: svc, self: &proxy.Workload{SPIFFEID: g.ID.String()}, refusals: newRefusals(svc.Name, g.Recorder.Act)}
	s.in.engine, s.out.engine = engine.New(g.Recorder), engine.New(g.Recorder)
	var err error
	if s.broker, err = newBroker(svc, g.Log); err != nil {
		return nil, err
	}
	if s.in.builder, err = gate.NewBuilder(gate.WithSide(engine.Inbound), gate.WithReach(s.reachOwn)); err != nil {
		return nil, err
	}
	s.out.builder, err = gate.NewBuilder(gate.WithSide(engine.Outbound), gate.WithReach(s.reach))
	return s, err
}

var errNotStarted = errors.New("the service has not started")

// connect reaches the service itself.
func (s *Sidecar) connect(ctx context.Context, network, address string) (net.Conn, error) {
	dial := s.dial.Load()
	if dial == nil {
		return nil, errNotStarted
	}
	return (*dial)(ctx, network, address)
}

// reachOwn is the way to the service itself.
func (s *Sidecar) reachOwn(*model.ResolvedService) gate.Reach { return gate.Reach{Dial: s.connect} }

// Attach says how the service is reached.
func (s *Sidecar) Attach(dial Dial) { s.dial.Store(&dial) }

// Release closes idle connections to the service, which is about to end.
func (s *Sidecar) Release() { s.in.builder.CloseIdle() }

// tcp tells whether the service speaks something else than HTTP, which no slice changes.
func (s *Sidecar) tcp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own.TCP()
}

// Take serves calls of others on a socket. It may be called before Run.
func (s *Sidecar) Take(ctx context.Context, ln net.Listener) error {
	config := peer.ServerConfig(s.Identity, s.Verifier, peer.AnyIn(s.ID.TrustDomain()))
	if s.tcp() {
		s.carryInbound(ln, config)
		return nil
	}
	config.NextProtos = []string{"h2", "http/1.1"}
	server, err := listen.Bind(ctx, s.options("inbound", listen.Options{Listener: ln, TLS: config, Handler: s.in.engine, Peer: s.introduce, Refused: s.refusals.add}))
	if err != nil {
		return fmt.Errorf("sidecar of %q: %w", s.name, err)
	}
	s.taking.do(server.Run)
	return nil
}

// Run serves until ctx ends. Then it takes no more calls, and once those under way are over, the service asks in vain.
func (s *Sidecar) Run(ctx context.Context) error {
	g, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	asking, stop := context.WithCancel(failed)
	defer stop()
	telling, quiet := context.WithCancel(context.WithoutCancel(ctx))
	var told sync.WaitGroup
	told.Go(func() { s.refusals.run(telling) })
	g.Go(func() error { return s.asking.run(asking) })
	g.Go(func() error {
		defer stop()
		taking, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(failed, cancel)()
		err := s.taking.run(taking)
		if err == nil {
			<-taking.Done() // after Retire, the service may ask on
		}
		return err
	})
	err := g.Wait()
	quiet()
	told.Wait() // all that could be refused was
	s.in.engine.Close()
	s.out.engine.Close()
	return err
}

// Retire takes no more calls, and returns when those under way are over. The service may ask until the end of Run.
func (s *Sidecar) Retire() { s.taking.end() }

// options fills in what the sockets of all sidecars have in common.
func (s *Sidecar) options(direction string, o listen.Options) listen.Options {
	o.Name = s.name + "/" + direction
	o.Header, o.Idle, o.Drain, o.HeaderBytes = handshakeTime, idleTime, drainTime, headBytes
	o.Connections, o.PerAddress = connections, connections
	o.Inside = true
	return o
}

// introduce names the service at the other end, and notes that it is connected, so that it can be cut off.
func (s *Sidecar) introduce(state *tls.ConnectionState, conn io.Closer) (*proxy.Workload, func(), error) {
	w, release, err := s.track(state, conn)
	if err != nil {
		return nil, nil, err
	}
	s.open.Add(1)
	return w, func() { release(); s.open.Add(-1) }, nil
}
