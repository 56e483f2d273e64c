// Package mesh runs sidecars: what proves who their service is, mutual TLS with others, and the tables that decide
// about calls. A Mesh is all of them for a fleet on one machine, with an authority of its own, as "palisade up" has
// it; a Remote is one that a control feeds. It knows no model files and starts no services.
package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/keyring/kms"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/filter/jwt"
	"github.com/palisade-security/palisade/proxy/gate"
	"github.com/palisade-security/palisade/token"
)

// Options are what a mesh stands on.
type Options struct {
	Folder   string // of keys and of the authority's state
	Recorder Recorder
	Log      *slog.Logger
}

// Mesh is the identities and sidecars of one process.
type Mesh struct {
	o         Options
	domain    workload.TrustDomain
	authority *authority.Authority // with another issuer it signs nothing, and keeps what is revoked
	source    workload.Source
	issue     func(ctx context.Context) error // keeps source up to date
	external  *external                       // nil: we issue
	live      peer.Live
	verifier  *peer.Verifier
	users     *token.Transactions
	places    places
	edge      *holder
	control   *holder   // nil: nothing is shown under it
	holders   []*holder // of all identities
	sidecars  map[string]*Sidecar
	trusting  sync.Mutex // held while what is trusted changes, so that a revocation counts what it cuts itself
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
	if snap.Mesh.Server.PublishLedger {
		if id, err = workload.ParseID(model.ControlID(snap.TrustDomain)); err != nil {
			return nil, fmt.Errorf("naming control: %w", err)
		}
		m.control = m.hold(id)
	}
	for i := range snap.Services {
		if err := m.add(&snap.Services[i]); err != nil {
			return nil, err
		}
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
	if at := snap.Mesh.WorkloadAPI; at != "" {
		if m.external, err = openExternal(ctx, at); err != nil {
			return fmt.Errorf("mesh.issuer.workload_api: %w", err)
		}
		m.source, m.issue = m.external, m.external.Run
	} else {
		local := workload.NewLocal(m.authority, "")
		m.source, m.issue = local, local.Run
	}
	key, err := ring.Signer(ctx, "transactions")
	if err != nil {
		return err
	}
	if m.users, err = token.NewTransactions(snap.TrustDomain, key); err != nil {
		return err
	}
	if m.external == nil { // the other is asked once it is followed
		_, err = m.trust(ctx)
	}
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
func (m *Mesh) trust(ctx context.Context) (cut int, err error) {
	var t *peer.Trust
	if m.external != nil {
		t, err = m.external.trust(ctx)
	} else {
		t, err = peer.NewTrust(m.authority.Bundle())
	}
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

// add prepares the identity and the sidecar of a service.
func (m *Mesh) add(svc *model.ResolvedService) error {
	id, err := workload.ParseID(svc.ID)
	if err != nil {
		return fmt.Errorf("naming the service %q: %w", svc.Name, err)
	}
	h := m.hold(id)
	s, err := NewSidecar(m.ground(h), svc)
	if err != nil {
		return err
	}
	m.sidecars[svc.Name], h.sidecar = s, s
	return nil
}

// ground is what a proxy with one of the identities stands on.
func (m *Mesh) ground(h *holder) Ground {
	return Ground{
		ID: h.id, Identity: h.certificate, Trust: &h.trust, Verifier: m.verifier, Live: &m.live, Places: m.places.of,
		Recorder: m.o.Recorder, Log: m.o.Log,
	}
}

// Run issues, renews and serves until ctx ends. Ready is called once all sidecars take calls.
func (m *Mesh) Run(ctx context.Context, ready func()) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.authority.Run(ctx) })
	g.Go(func() error { return m.issue(ctx) })
	g.Go(func() error { return m.follow(ctx) })
	g.Go(func() error { return watchSVIDs(ctx, m.held, m.o.Recorder.Act) })
	for _, h := range m.holders {
		g.Go(func() error { return h.run(ctx) })
	}
	for _, s := range m.sidecars {
		g.Go(func() error { return s.Run(ctx) })
	}
	for _, h := range m.holders {
		if err := m.begin(ctx, h); err != nil {
			g.Go(func() error { return err })
			return g.Wait()
		}
	}
	ready()
	return g.Wait()
}

// begin takes calls of others under an identity.
func (m *Mesh) begin(ctx context.Context, h *holder) error {
	if m.external != nil {
		if err := m.external.has(ctx, h); err != nil {
			return err
		}
	}
	if h == m.control {
		if _, err := h.fetch(ctx); err != nil {
			return fmt.Errorf("fetching the SVID under which the ledger is shown: %w", err)
		}
	}
	s := h.sidecar
	if s == nil {
		return nil
	}
	if _, err := h.fetch(ctx); errors.Is(err, workload.ErrDenied) {
		m.o.Log.WarnContext(ctx, "the service is revoked and takes no calls until it is restored", "service", s.name, "mend", "palisade restore service/"+s.name)
	} else if err != nil {
		return fmt.Errorf("sidecar of %q: fetching its SVID: %w", s.name, err)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("sidecar of %q: %w", s.name, err)
	}
	m.places.set(s.name, ln.Addr().String())
	return s.Take(ctx, ln)
}

// follow keeps trust up to date.
func (m *Mesh) follow(ctx context.Context) error {
	for {
		changed := m.authority.Watch()
		var replaced <-chan struct{}
		if m.external != nil {
			_, replaced, _ = m.external.Bundles(ctx) // followOnce says what is wrong
		}
		if err := m.followOnce(ctx); err != nil && ctx.Err() == nil {
			m.o.Log.ErrorContext(ctx, "trust goes on with what it has", "error", err)
		}
		select {
		case <-changed:
		case <-replaced:
		case <-ctx.Done():
			return nil
		}
	}
}

func (m *Mesh) followOnce(ctx context.Context) error {
	m.trusting.Lock()
	defer m.trusting.Unlock()
	_, err := m.trust(ctx)
	return err
}

// Options are what makes tables of the edge part of the mesh.
func (m *Mesh) Options(snap *model.Snapshot) []gate.Option {
	g := m.ground(m.edge)
	return g.Edge(Issue(m.users), snap.Fleet)
}

// Prepared is a snapshot compiled for every sidecar.
type Prepared []*Change

// Prepare compiles the slices of a snapshot. Nothing is in force before Apply.
func (m *Mesh) Prepare(ctx context.Context, snap *model.Snapshot) (Prepared, []model.Finding, error) {
	var p Prepared
	slicer := model.NewSlicer(snap)
	var all []model.Finding
	for i := range snap.Services {
		name := snap.Services[i].Name
		s := m.sidecars[name]
		if s == nil {
			continue // it needs a restart, which whoever started the services says
		}
		slice := slicer.Service(name)
		slice.Version = snap.Version // all proxies of one process change at once
		users, err := jwt.NewTransactions(jwt.TransactionOptions{Fleet: snap.Fleet, TrustDomain: snap.TrustDomain, Providers: slice.Providers, Roles: slice.Roles, JWKS: m.users.JWKS()})
		if err != nil {
			return nil, all, fmt.Errorf("sidecar of %q: %w", name, err)
		}
		c, findings, err := s.Prepare(ctx, slice, users)
		all = append(all, findings...)
		if err != nil {
			return nil, all, err
		}
		p = append(p, c)
	}
	return p, all, nil
}

// Apply puts a prepared snapshot in force.
func (p Prepared) Apply() {
	for _, c := range p {
		c.Apply()
	}
}

// Source gives out the identities of all services.
func (m *Mesh) Source() workload.Source { return m.source }

// held are the identities, and how they stand.
func (m *Mesh) held() []workload.Held {
	if local, ok := m.source.(*workload.Local); ok {
		return local.Held()
	}
	out := make([]workload.Held, 0, len(m.holders))
	for _, h := range m.holders {
		cert, err := h.certificate()
		one := workload.Held{ID: h.id, Err: err}
		if err == nil {
			one.Expires = cert.Leaf.NotAfter
		}
		out = append(out, one)
	}
	return out
}

// Expires says when the SVID of each identity ends.
func (m *Mesh) Expires() map[string]time.Time { return expires(m.held()) }

func expires(all []workload.Held) map[string]time.Time {
	out := map[string]time.Time{}
	for _, held := range all {
		if !held.Expires.IsZero() {
			out[held.ID.String()] = held.Expires
		}
	}
	return out
}

// Sidecar returns the sidecar of a service, or nil.
func (m *Mesh) Sidecar(service string) *Sidecar { return m.sidecars[service] }

// Verifier tells which peers are services of the fleet.
func (m *Mesh) Verifier() *peer.Verifier { return m.verifier }
