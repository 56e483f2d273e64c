package mesh

import (
	"crypto/tls"
	"io"
	"log/slog"

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

	Recorder engine.Recorder
	Log      *slog.Logger
}

// toward is TLS that takes one service alone.
func (g *Ground) toward(id string) *tls.Config {
	expected, err := workload.ParseID(id)
	if err != nil {
		expected = workload.ID{} // of nobody
	}
	return peer.ClientConfig(g.Identity, g.Verifier, peer.OneOf(expected))
}

// reach is the way to a service's sidecars.
func (g *Ground) reach(svc *model.ResolvedService) gate.Reach {
	name := svc.Name
	return gate.Reach{Peers: &gate.Peers{
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
