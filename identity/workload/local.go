package workload

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/identity/authority"
)

// Local is a Source over an authority in this process: a Renewer that follows the authority's bundle and takes
// back what the authority revokes.
type Local struct {
	*Renewer
	signer *localSigner
}

// NewLocal issues for workloads on the named node; "" if nodes are not told apart. It works while Run does.
func NewLocal(a *authority.Authority, node string) *Local {
	s := &localSigner{authority: a, node: node, changed: make(chan struct{})}
	s.rebuild()
	return &Local{NewRenewer(s), s}
}

// Run follows the authority until ctx ends.
func (l *Local) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.Renewer.Run(ctx) })
	g.Go(func() error {
		for {
			changed := l.signer.authority.Watch()
			l.signer.rebuild()
			l.takeBack()
			select {
			case <-changed:
			case <-ctx.Done():
				return nil
			}
		}
	})
	return g.Wait()
}

// takeBack renews what is revoked, which the authority denies.
func (l *Local) takeBack() {
	revoked := l.signer.authority.Revoked()
	var ids []ID
	for _, held := range l.Held() {
		if _, barred := revoked.Bars(held.ID, l.signer.node); barred {
			ids = append(ids, held.ID)
		}
	}
	if len(ids) > 0 {
		l.Renew(ids...)
	}
}

// SetFederated replaces the bundles of other trust domains. One of our own domain is not taken.
func (l *Local) SetFederated(bundles ...*spiffebundle.Bundle) {
	l.signer.mu.Lock()
	l.signer.federated = bundles
	l.signer.mu.Unlock()
	l.signer.rebuild()
}

// localSigner is a Signer over an authority.
type localSigner struct {
	authority *authority.Authority
	node      string

	mu        sync.Mutex
	own       *spiffebundle.Bundle
	shown     []*spiffebundle.Bundle // the federated bundles that are in bundles
	federated []*spiffebundle.Bundle
	bundles   *Bundles
	changed   chan struct{}
}

// rebuild takes over what is new. What is the same stays the same value, so that nobody is told of nothing.
func (s *localSigner) rebuild() {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.authority.Bundle()
	if s.own != nil && s.own.Equal(own) && sameBundles(s.shown, s.federated) {
		return
	}
	s.own, s.shown = own, s.federated
	s.bundles = BundlesOf(own, s.federated...)
	close(s.changed)
	s.changed = make(chan struct{})
}

func sameBundles(a, b []*spiffebundle.Bundle) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

// BundlesOf collects our own bundle and those federated with. Another one of our own domain does not count.
func BundlesOf(own *spiffebundle.Bundle, federated ...*spiffebundle.Bundle) *Bundles {
	out := &Bundles{Own: own.TrustDomain(), All: map[TrustDomain]Bundle{}}
	for _, b := range federated {
		out.All[b.TrustDomain()] = bundleOf(b)
	}
	out.All[out.Own] = bundleOf(own)
	return out
}

func bundleOf(b *spiffebundle.Bundle) Bundle {
	return Bundle{X509: b.X509Authorities(), JWT: maps.Clone(b.JWTAuthorities())}
}

// Bundles returns the bundles in force.
func (s *localSigner) Bundles(context.Context) (*Bundles, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bundles, s.changed, nil
}

// SignX509 asks the authority.
func (s *localSigner) SignX509(ctx context.Context, id ID, public crypto.PublicKey) ([]*x509.Certificate, error) {
	svid, err := s.authority.SignX509(ctx, authority.X509Request{ID: id, Public: public, Node: s.node})
	if err != nil {
		return nil, denial(err)
	}
	chain := make([]*x509.Certificate, len(svid.Chain))
	for i, raw := range svid.Chain {
		if chain[i], err = x509.ParseCertificate(raw); err != nil {
			return nil, fmt.Errorf("reading the SVID of %s: %w", id, err)
		}
	}
	return chain, nil
}

// SignJWT asks the authority.
func (s *localSigner) SignJWT(ctx context.Context, id ID, audience []string) (string, error) {
	svid, err := s.authority.SignJWT(ctx, authority.JWTRequest{ID: id, Audiences: audience, Node: s.node})
	if err != nil {
		return "", denial(err)
	}
	return svid.Token, nil
}

// denial marks what the authority refuses for good.
func denial(err error) error {
	if errors.Is(err, authority.ErrRevoked) {
		return errors.Join(ErrDenied, err)
	}
	return err
}
