// Package mesh runs the sidecars of one process, and the identities behind them: an authority, an SVID for each
// service, mutual TLS between them, and the tables that decide about their calls. It is what "palisade up" gives a
// fleet on one machine. It knows no model files and starts no services.
package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/keyring/kms"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/filter/exchange"
	"github.com/palisade-security/palisade/proxy/filter/jwt"
	"github.com/palisade-security/palisade/proxy/gate"
	"github.com/palisade-security/palisade/token"
)

// Options are what a mesh stands on.
type Options struct {
	Folder   string // of keys and of the authority's state
	Recorder engine.Recorder
	Log      *slog.Logger
}

// Mesh is the identities and sidecars of one process.
type Mesh struct {
	o         Options
	domain    workload.TrustDomain
	authority *authority.Authority
	source    *workload.Local
	live      peer.Live
	verifier  *peer.Verifier
	users     *token.Transactions
	places    places
	edge      *holder
	holders   []*holder // of all identities
	sidecars  map[string]*Sidecar
	trusting  sync.Mutex // held while what is trusted changes, so that a revocation counts what it cuts itself
	running   *errgroup.Group
	mu        sync.Mutex
	snap      *model.Snapshot // in force
	ctx       context.Context //nolint:containedctx // the life of the mesh, which pods arrive in
}

// Open prepares identities and sidecars for every service of a snapshot, which must have a mesh. Nothing is served
// before Run.
func Open(ctx context.Context, snap *model.Snapshot, o Options) (*Mesh, error) {
	m := &Mesh{o: o, sidecars: map[string]*Sidecar{}}
	m.verifier = peer.NewVerifier(&m.live)
	if err := m.openAuthority(ctx, snap); err != nil {
		return nil, err
	}
	id, err := workload.ParseID(model.EdgeID(snap.TrustDomain))
	if err != nil {
		return nil, fmt.Errorf("naming the edge: %w", err)
	}
	m.edge = m.hold(id)
	for i := range snap.Services {
		s, err := m.newSidecar(&snap.Services[i])
		if err != nil {
			return nil, err
		}
		m.sidecars[s.name] = s
	}
	return m, nil
}

// openAuthority opens the keys and the authority of the trust domain.
func (m *Mesh) openAuthority(ctx context.Context, snap *model.Snapshot) error {
	keeper, err := m.keeper(ctx, snap.Mesh.Keys)
	if err != nil {
		return fmt.Errorf("mesh.keys: %w", err)
	}
	ring, err := keyring.OpenRing(ctx, filepath.Join(m.o.Folder, "ring"), keeper)
	if err != nil {
		return err
	}
	id, err := workload.ParseID(model.ControlID(snap.TrustDomain))
	if err != nil {
		return fmt.Errorf("trust_domain: %w", err)
	}
	m.domain = id.TrustDomain()
	m.authority, err = authority.Open(ctx, authority.Config{
		TrustDomain: m.domain, Keys: ring, Store: authority.NewFileStore(filepath.Join(m.o.Folder, "authority.json")), Log: m.o.Log,
		X509TTL: snap.Mesh.SVID.Lifetime.Std(), JWTTTL: snap.Mesh.SVID.JWTLifetime.Std(),
	})
	if err != nil {
		return err
	}
	m.source = workload.NewLocal(m.authority, "")
	key, err := ring.Signer(ctx, "transactions")
	if err != nil {
		return err
	}
	if m.users, err = token.NewTransactions(snap.TrustDomain, key); err != nil {
		return err
	}
	_, err = m.trust()
	return err
}

// keeper opens what wraps the keys: a key service, or a file beside them.
func (m *Mesh) keeper(ctx context.Context, url string) (keyring.Keeper, error) {
	if url != "" {
		return kms.Open(ctx, url)
	}
	return keyring.LocalKeeper(filepath.Join(m.o.Folder, "keys"))
}

// trust takes over the authority's bundle and what it has revoked, and returns how many connections that cut. The lock
// trusting is held.
func (m *Mesh) trust() (cut int, err error) {
	t, err := peer.NewTrust(m.authority.Bundle())
	if err != nil {
		return 0, err
	}
	m.verifier.SetTrust(t)
	peers, err := m.live.Deny(m.authority.Revoked())
	cut = len(peers)
	for _, h := range m.holders {
		cut += h.trust.Recheck()
	}
	return cut, unexpected(err)
}

// Run issues, renews and serves until ctx ends. Ready is called once all sidecars take calls.
func (m *Mesh) Run(ctx context.Context, ready func()) error {
	g, ctx := errgroup.WithContext(ctx)
	m.running, m.ctx = g, ctx
	g.Go(func() error { return m.authority.Run(ctx) })
	g.Go(func() error { return m.source.Run(ctx) })
	g.Go(func() error { return m.follow(ctx) })
	for _, h := range m.holders {
		g.Go(func() error { return h.run(ctx) })
	}
	for _, s := range m.sidecars {
		if err := s.serve(ctx, g); err != nil {
			return errors.Join(err, ctx.Err())
		}
	}
	ready()
	err := g.Wait()
	for _, s := range m.sidecars {
		s.in.engine.Close()
		s.out.engine.Close()
	}
	return err
}

// follow keeps trust up to date.
func (m *Mesh) follow(ctx context.Context) error {
	for {
		changed := m.authority.Watch()
		if err := m.followOnce(); err != nil {
			m.o.Log.ErrorContext(ctx, "trust goes on with what it has", "error", err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// reachAsEdge is how the edge reaches a service: through its sidecars.
func (m *Mesh) reachAsEdge(s *model.ResolvedService) gate.Reach { return m.reachAs(m.edge, s) }

func (m *Mesh) followOnce() error {
	m.trusting.Lock()
	defer m.trusting.Unlock()
	_, err := m.trust()
	return err
}

// Options are what makes tables of the edge part of the mesh.
func (m *Mesh) Options(snap *model.Snapshot) []gate.Option {
	return []gate.Option{gate.WithReach(m.reachAsEdge), gate.WithExchange(exchange.New(m.issue, model.EdgeID(snap.TrustDomain), snap.Fleet))}
}

// Prepared is a snapshot compiled for every sidecar.
type Prepared struct {
	m       *Mesh
	snap    *model.Snapshot
	in, out map[string]*gate.Gate
}

// Prepare compiles the slices of a snapshot. Nothing is in force before Apply.
func (m *Mesh) Prepare(ctx context.Context, snap *model.Snapshot) (*Prepared, []model.Finding, error) {
	p := &Prepared{m: m, snap: snap, in: map[string]*gate.Gate{}, out: map[string]*gate.Gate{}}
	slicer := model.NewSlicer(snap)
	var all []model.Finding
	for i := range snap.Services {
		name := snap.Services[i].Name
		s := m.sidecars[name]
		if s == nil {
			continue // it needs a restart, which whoever started the services says
		}
		slice := slicer.Service(name)
		users, err := jwt.NewTransactions(jwt.TransactionOptions{Fleet: snap.Fleet, TrustDomain: snap.TrustDomain, Providers: slice.Providers, Roles: slice.Roles, JWKS: m.users.JWKS()})
		if err != nil {
			return nil, all, fmt.Errorf("sidecar of %q: %w", name, err)
		}
		in, findings, err := s.in.builder.Build(ctx, slice, users)
		all = append(all, findings...)
		if err != nil {
			return nil, all, fmt.Errorf("sidecar of %q: %w", name, err)
		}
		out, findings, err := s.out.builder.Build(ctx, slice, nobody{})
		all = append(all, findings...)
		if err != nil {
			return nil, all, fmt.Errorf("sidecar of %q: %w", name, err)
		}
		in.Table.Version, out.Table.Version = snap.Version, snap.Version // all proxies of one process change at once
		p.in[name], p.out[name] = in, out
	}
	return p, all, nil
}

// Apply puts a prepared snapshot in force.
func (p *Prepared) Apply() {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	p.m.snap = p.snap
	for name, g := range p.in {
		s := p.m.sidecars[name]
		s.in.engine.Swap(g.Table)
		s.in.builder.Applied()
		s.out.engine.Swap(p.out[name].Table)
		s.out.builder.Applied()
		for _, c := range s.carried {
			s.rule(c, p.snap)
		}
	}
}

// Sidecar returns the sidecar of a service, or nil.
func (m *Mesh) Sidecar(service string) *Sidecar { return m.sidecars[service] }
