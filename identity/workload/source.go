// Package workload gives local processes their identity: the SPIFFE Workload API and Envoy's secret discovery
// service (SDS) on one Unix socket, in front of any Source. A Renewer is the Source over an authority, External
// the one over another Workload API. Who a caller is, is decided by attestation, never by what it sends. Not
// for callers on other hosts: a socket's peer credentials end at the host.
package workload

import (
	"context"
	"crypto"
	"crypto/x509"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/palisade-security/palisade/identity/attest"
)

// ID is a SPIFFE ID (SPIFFE-ID, section 2), always valid unless zero.
type ID = spiffeid.ID

// TrustDomain is the authority part of an ID.
type TrustDomain = spiffeid.TrustDomain

// ParseID reads "spiffe://trust.domain/path".
func ParseID(s string) (ID, error) { return spiffeid.FromString(s) }

// ErrDenied says that an identity is not to be had: it is not declared, or it is revoked. Asking again changes
// nothing until somebody changes the model.
var ErrDenied error = denied{}

type denied struct{}

func (denied) Error() string { return "no identity for this workload" }

// ReasonCode is how the record of a call says that who calls has no identity any more.
func (denied) ReasonCode() string { return "own-identity-revoked" }

// SVID is an X.509-SVID with its key. It is immutable.
type SVID struct {
	ID    ID
	Chain []*x509.Certificate // leaf first, without the root
	Key   crypto.Signer
}

// Bundle is what one trust domain's SVIDs are verified with.
type Bundle struct {
	X509 []*x509.Certificate
	JWT  map[string]crypto.PublicKey // by key id
}

// Bundles are the bundles of our own trust domain and of those it is federated with. Immutable.
type Bundles struct {
	Own TrustDomain
	All map[TrustDomain]Bundle // Own included
}

// SPIFFEBundle is a bundle as it is handed on to others (SPIFFE Trust Domain and Bundle, section 4).
type SPIFFEBundle = spiffebundle.Bundle

// OwnBundle returns the bundle of our own trust domain.
func (b *Bundles) OwnBundle() *SPIFFEBundle { return b.bundle(b.Own) }

// Federated returns the bundles of the other trust domains, in no order.
func (b *Bundles) Federated() []*SPIFFEBundle {
	var out []*SPIFFEBundle
	for domain := range b.All {
		if domain != b.Own {
			out = append(out, b.bundle(domain))
		}
	}
	return out
}

func (b *Bundles) bundle(domain TrustDomain) *SPIFFEBundle {
	out := spiffebundle.FromX509Authorities(domain, b.All[domain].X509)
	out.SetJWTAuthorities(b.All[domain].JWT)
	return out
}

// Source gives out identities. It is safe for concurrent use. ErrDenied means what it says; any other error
// means that the answer is not known now and may be asked for again. A channel is closed once the value beside
// it is no longer the newest.
type Source interface {
	X509SVID(ctx context.Context, id ID) (svid *SVID, changed <-chan struct{}, err error)
	JWTSVID(ctx context.Context, id ID, audience []string) (token string, err error)
	Bundles(ctx context.Context) (bundles *Bundles, changed <-chan struct{}, err error)
}

// Identity is what a caller may be. Hint tells a caller with several which is for what (SPIFFE Workload API,
// section 5.2.1).
type Identity struct {
	ID   ID
	Hint string
}

// Entitle tells which identities a caller may have, the default first. An *attest.Refusal or ErrDenied: none;
// another error: not known now. Changed is closed, error or not, once the answer may be another. It is asked
// again for every message to the caller, so what it proved once it must prove again.
type Entitle func(ctx context.Context, caller *attest.Peer) (ids []Identity, changed <-chan struct{}, err error)
