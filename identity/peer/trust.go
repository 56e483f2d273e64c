package peer

import (
	"crypto/x509"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Trust is the roots of each trust domain that is trusted: our own and those federated with. It is immutable.
// A root vouches for its own trust domain and for no other.
type Trust struct {
	domains map[spiffeid.TrustDomain]*x509.CertPool
}

// NewTrust collects the roots of bundles, each of another trust domain. A root that is no CA is an error: the
// standard library would take it as a peer's certificate. An empty bundle trusts nobody of its domain.
func NewTrust(bundles ...*spiffebundle.Bundle) (*Trust, error) {
	t := &Trust{domains: map[spiffeid.TrustDomain]*x509.CertPool{}}
	for _, bundle := range bundles {
		domain := bundle.TrustDomain()
		if t.domains[domain] != nil {
			return nil, fmt.Errorf("trusting %s: two bundles", domain)
		}
		pool := x509.NewCertPool()
		for _, cert := range bundle.X509Authorities() {
			if !cert.IsCA || !cert.BasicConstraintsValid || cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0 {
				return nil, fmt.Errorf("trusting %s: the root %.100q is no authority", domain, cert.Subject.String())
			}
			pool.AddCert(cert)
		}
		t.domains[domain] = pool
	}
	return t, nil
}

// Knows tells whether peers of a trust domain can be verified at all.
func (t *Trust) Knows(domain spiffeid.TrustDomain) bool { return t.roots(domain) != nil }

func (t *Trust) roots(domain spiffeid.TrustDomain) *x509.CertPool {
	if t == nil {
		return nil
	}
	return t.domains[domain]
}
