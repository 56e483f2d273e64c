// Package peer decides who is at the other end of a TLS connection: it verifies chains of X.509-SVIDs, builds
// tls.Configs that accept expected SPIFFE IDs alone, holds the list of what is revoked and cuts the live
// connections that it names. It issues nothing (identity/authority), and authorises nothing beyond "is it the peer
// we expect" (proxy/gate does).
package peer

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/palisade-security/palisade/identity/revocation"
)

const (
	maxChain   = 8
	nodePrefix = "node:" // as identity/authority writes it
)

// Role is what the peer does in the handshake.
type Role int

// The roles.
const (
	AsServer Role = iota
	AsClient
)

// Peer is a verified peer.
type Peer struct {
	ID     spiffeid.ID
	Serial string // lower-case hexadecimal
	Node   string // "" if its issuer does not say
	Begins time.Time
	Ends   time.Time
}

// subject returns what the revocation list is asked about.
func (p Peer) subject() revocation.Subject {
	return revocation.Subject{ID: p.ID, Serial: p.Serial, Node: p.Node, Begins: p.Begins}
}

// Verifier verifies peers against what is trusted and revoked now. It is safe for concurrent use; both may change
// at any time, for handshakes that begin later. Without SetTrust it refuses everybody.
type Verifier struct {
	trust   atomic.Pointer[Trust]
	live    *Live
	lenient atomic.Pointer[func() time.Time]
}

// NewVerifier makes a verifier that refuses what live's list names.
func NewVerifier(live *Live) *Verifier { return &Verifier{live: live} }

// SetTrust replaces the roots. Connections that are up stay; see Live.Cut.
func (v *Verifier) SetTrust(t *Trust) { v.trust.Store(t) }

// Trust returns the roots in force.
func (v *Verifier) Trust() *Trust { return v.trust.Load() }

// Lenient makes peers pass whose SVIDs have expired, but were valid at the moment that since returns: the last time
// that those who renew SVIDs were heard of. A fleet that is told to serve on without them needs this. Nothing else
// is forgiven; nil ends it.
func (v *Verifier) Lenient(since func() time.Time) {
	if since == nil {
		v.lenient.Store(nil)
		return
	}
	v.lenient.Store(&since)
}

// Verify verifies a chain, the SVID first, as the peer sent it (SPIFFE X509-SVID, section 5; RFC 5280, section
// 6). The error is a *Refusal. It keeps nothing between calls: a resumed session is verified like a new one.
func (v *Verifier) Verify(chain []*x509.Certificate, role Role, now time.Time) (Peer, error) {
	if len(chain) == 0 {
		return Peer{}, refuse(NoCertificate, "the peer shows no certificate")
	}
	if len(chain) > maxChain {
		return Peer{}, refuse(LongChain, "the peer shows %d certificates, more than %d", len(chain), maxChain)
	}
	leaf := chain[0]
	id, refusal := identity(leaf)
	if refusal == nil {
		refusal = checkLeaf(leaf)
	}
	if refusal == nil {
		refusal = v.checkChain(id, chain, role, now)
	}
	if since := v.lenient.Load(); refusal != nil && refusal.Reason == Expired && since != nil {
		if v.checkChain(id, chain, role, (*since)()) == nil {
			refusal = nil
		}
	}
	if refusal != nil {
		refusal.Peer = id.String()
		return Peer{}, refusal
	}
	p := read(leaf, id)
	if entry, refused := v.live.Denied().Refuses(p.subject()); refused {
		return Peer{}, revoked(p, entry)
	}
	return p, nil
}

func revoked(p Peer, entry revocation.Entry) *Refusal {
	return &Refusal{Reason: Revoked, Peer: p.ID.String(), Since: entry.Since, Text: string(entry.Kind) + " " + entry.Value + " is revoked since " + entry.Since.UTC().Format(time.RFC3339)}
}

// read returns what a verified leaf says.
func read(leaf *x509.Certificate, id spiffeid.ID) Peer {
	return Peer{ID: id, Serial: leaf.SerialNumber.Text(16), Node: NodeOf(leaf), Begins: leaf.NotBefore, Ends: leaf.NotAfter}
}

// NodeOf returns the node that an SVID was issued for; "" if its issuer does not say.
func NodeOf(leaf *x509.Certificate) (out string) {
	for _, unit := range leaf.Subject.OrganizationalUnit {
		if node, ok := strings.CutPrefix(unit, nodePrefix); ok {
			out = node
		}
	}
	return out
}

// checkLeaf holds what the leaf itself must be (X509-SVID, sections 4.1 to 4.3).
func checkLeaf(leaf *x509.Certificate) *Refusal {
	switch {
	case leaf.IsCA:
		return refuse(LeafIsCA, "an SVID of a workload is no CA certificate")
	case leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return refuse(LeafSigns, "an SVID of a workload may not sign certificates or CRLs")
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return refuse(BadKeyUsage, "the key usage lacks digitalSignature")
	case !strong(leaf.PublicKey):
		return refuse(WeakKey, "the key is not ECDSA on P-256, P-384 or P-521, Ed25519, or RSA of 2048 to 8192 bits")
	}
	return nil
}

// strong tells whether a peer's key is of a kind and size that is taken.
func strong(public any) bool {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		return key.Curve == elliptic.P256() || key.Curve == elliptic.P384() || key.Curve == elliptic.P521()
	case ed25519.PublicKey:
		return true
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		return bits >= 2048 && bits <= 8192
	}
	return false
}

// checkChain holds that a chain leads to a root of the leaf's own trust domain, and stays inside it.
func (v *Verifier) checkChain(id spiffeid.ID, chain []*x509.Certificate, role Role, now time.Time) *Refusal {
	roots := v.trust.Load().roots(id.TrustDomain())
	if roots == nil {
		return refuse(UnknownDomain, "there is no bundle of the trust domain %s", id.TrustDomain())
	}
	chains, err := build(chain, roots, role, now)
	if err != nil {
		var invalid x509.CertificateInvalidError
		if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
			if now.Before(invalid.Cert.NotBefore) {
				return refuse(NotYetValid, "%v", err)
			}
			return refuse(Expired, "%v", err)
		}
		return refuse(Untrusted, "%v", err)
	}
	inside := func(found []*x509.Certificate) bool {
		return !slices.ContainsFunc(found[1:], func(cert *x509.Certificate) bool { return !signsFor(cert, id.TrustDomain()) })
	}
	if !slices.ContainsFunc(chains, inside) {
		return refuse(ForeignIssuer, "a certificate above the SVID names another trust domain, or a workload")
	}
	return nil
}

// build finds the chains from the first certificate to roots. Extended key usages, path lengths and name
// constraints are the standard library's business.
func build(chain []*x509.Certificate, roots *x509.CertPool, role Role, now time.Time) ([][]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	usage := x509.ExtKeyUsageServerAuth
	if role == AsClient {
		usage = x509.ExtKeyUsageClientAuth
	}
	return chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
}

// signsFor tells whether a signing certificate may stand above SVIDs of a trust domain: if it names SPIFFE IDs at
// all, then this trust domain, without a path (X509-SVID, section 2; SPIFFE-ID, section 2.2).
func signsFor(cert *x509.Certificate, domain spiffeid.TrustDomain) bool {
	if len(cert.URIs) == 0 {
		return true
	}
	uris, err := uriNames(cert)
	if err != nil {
		return false
	}
	for _, uri := range uris {
		if strings.HasPrefix(strings.ToLower(uri), "spiffe:") && uri != domain.IDString() {
			return false
		}
	}
	return true
}
