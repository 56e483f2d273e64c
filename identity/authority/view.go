package authority

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"

	"github.com/palisade-security/palisade/identity/revocation"
)

// view is a state with everything parsed and the keys at hand. It is immutable.
type view struct {
	state    *state
	revision uint64
	issuers  map[int]*issuer // by number of the generation; one whose keys are missing is not in it
	bundle   *spiffebundle.Bundle
	revoked  *revocation.List
}

// issuer is a generation that can sign.
type issuer struct {
	cert  *x509.Certificate
	chain [][]byte
	key   crypto.Signer
	jwt   jose.Signer
}

// usable tells whether a generation's keys are at hand.
func (v *view) usable(g *generation) bool { return v.issuers[g.Number] != nil }

// signing returns what signs at a time, or nil.
func (v *view) signing(now time.Time) *issuer {
	g := signing(v.state.Generations, now, v.usable)
	if g == nil {
		return nil
	}
	return v.issuers[g.Number]
}

// compile makes the view of a state. Keys that are missing or do not open make their generation useless, not
// the authority: a new one takes over.
func (a *Authority) compile(ctx context.Context, s *state, revision uint64) (*view, error) {
	v := &view{state: s, revision: revision, issuers: map[int]*issuer{}}
	var before map[int]*issuer
	if old := a.view.Load(); old != nil {
		before = old.issuers
	}
	domain := a.config.TrustDomain
	v.bundle = spiffebundle.New(domain)
	v.bundle.SetSequenceNumber(s.Sequence)
	v.bundle.SetRefreshHint(a.config.RefreshHint)
	for _, r := range s.Roots {
		cert, err := x509.ParseCertificate(r.Chain[len(r.Chain)-1])
		if err != nil {
			return nil, fmt.Errorf("reading a root: %w", err)
		}
		if r.Listed {
			v.bundle.AddX509Authority(cert)
		}
	}
	for i := range s.Generations {
		g := &s.Generations[i]
		public, err := x509.ParsePKIXPublicKey(g.JWTPublic)
		if err == nil {
			err = v.bundle.AddJWTAuthority(g.KeyID, public)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the key of JWT-SVIDs %d: %w", g.Number, err)
		}
		if known := before[g.Number]; known != nil && string(known.chain[0]) == string(g.Chain[0]) {
			v.issuers[g.Number] = known
			continue
		}
		made, err := a.issuer(ctx, g, public)
		if err != nil {
			a.config.Log.ErrorContext(ctx, "an intermediate cannot be used", "generation", g.Number, "error", err)
			continue
		}
		v.issuers[g.Number] = made
	}
	var err error
	v.revoked, err = revocation.New(domain, s.RevokedSequence, s.Revoked)
	return v, err
}

// issuer finds the keys of a generation.
func (a *Authority) issuer(ctx context.Context, g *generation, jwtPublic crypto.PublicKey) (*issuer, error) {
	cert, err := x509.ParseCertificate(g.Chain[0])
	if err != nil {
		return nil, err
	}
	key, err := a.config.Keys.Lookup(ctx, g.Key)
	if err != nil {
		return nil, err
	}
	jwtKey, err := a.config.Keys.Lookup(ctx, g.JWTKey)
	if err != nil {
		return nil, err
	}
	if !equalKeys(key.Public(), cert.PublicKey) || !equalKeys(jwtKey.Public(), jwtPublic) {
		return nil, fmt.Errorf("the keys %q and %q are not those of generation %d", g.Key, g.JWTKey, g.Number)
	}
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", g.KeyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: cryptosigner.Opaque(jwtKey)}, options)
	if err != nil {
		return nil, err
	}
	return &issuer{cert: cert, chain: g.Chain, key: key, jwt: signer}, nil
}

// keyID names a public key by the hash of what it is (as RFC 7638 does, over the PKIX form).
func keyID(sum [32]byte) string { return base64.RawURLEncoding.EncodeToString(sum[:]) }

// Bundle returns a copy of the trust bundle: roots and keys of JWT-SVIDs, with sequence number and refresh hint.
// The sequence number grows with every change of the contents, and only then.
func (a *Authority) Bundle() *spiffebundle.Bundle { return a.view.Load().bundle.Clone() }

// Revoked returns the list of what is refused.
func (a *Authority) Revoked() *revocation.List { return a.view.Load().revoked }
