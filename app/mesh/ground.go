package mesh

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/filter/exchange"
	"github.com/palisade-security/palisade/proxy/gate"
	"github.com/palisade-security/palisade/proxy/upstream"
)

// Ground is what a proxy of the mesh stands on: who it is, whom it believes, where it finds others. An authority in
// this process gives it (Mesh), or a control elsewhere (Remote).
type Ground struct {
	ID       workload.ID
	Identity peer.Identity   // the SVID in force
	Trust    *upstream.Trust // of the connections that are made under it
	Verifier *peer.Verifier
	Live     *peer.Live // what a revocation must cut

	// Places returns where the sidecars of a service are, host:port each, and a channel that is closed when that changes.
	Places func(service string) (addresses []string, changed <-chan struct{})

	Recorder Recorder
	Log      *slog.Logger
}

// Recorder keeps events as the engine's does, and those of acts.
type Recorder interface {
	engine.Recorder
	// Act records what has happened. It completes e: only Act, and Client if it is known, are set. It may wait for the disk.
	Act(ctx context.Context, e *event.Event)
}

// toward is TLS that takes one service alone.
func (g *Ground) toward(id string) *tls.Config {
	expected, err := workload.ParseID(id)
	if err != nil {
		expected = workload.ID{} // of nobody
	}
	return peer.ClientConfig(g.Identity, g.Verifier, peer.OneOf(expected))
}

// dialTo connects to sidecars of a service, unless it is known to be revoked.
func (g *Ground) dialTo(id string) func(ctx context.Context, network, address string) (net.Conn, error) {
	expected, err := workload.ParseID(id)
	d := new(net.Dialer)
	d.SetMultipathTCP(false)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if err != nil {
			return nil, err
		}
		if err := g.Live.Barred(expected); err != nil {
			return nil, err
		}
		return d.DialContext(ctx, network, address)
	}
}

// reach is the way to a service's sidecars.
func (g *Ground) reach(svc *model.ResolvedService) gate.Reach {
	name := svc.Name
	return gate.Reach{Dial: g.dialTo(svc.ID), Peers: &gate.Peers{
		TLS: g.toward(svc.ID), Trust: g.Trust,
		Addresses: func() ([]string, <-chan struct{}) { return g.Places(name) },
	}}
}

// Edge are the options that make tables of an edge part of the mesh.
func (g *Ground) Edge(issue exchange.Issue, fleet string) []gate.Option {
	return []gate.Option{gate.WithReach(g.reach), gate.WithExchange(exchange.New(issue, g.ID.String(), fleet))}
}

// track notes a connection to a peer, so that it can be cut off.
func (g *Ground) track(state *tls.ConnectionState, conn io.Closer) (*proxy.Workload, func(), error) {
	p, err := peer.Of(*state)
	if err != nil {
		return nil, nil, err
	}
	c, err := g.Live.Track(p, conn)
	if err != nil {
		return nil, nil, err
	}
	return &proxy.Workload{SPIFFEID: p.ID.String()}, c.Release, nil
}
