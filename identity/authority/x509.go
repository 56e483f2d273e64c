package authority

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/palisade-security/palisade/identity/revocation"
)

// Errors of issuing.
var (
	ErrRevoked  = errors.New("revoked")
	ErrNoIssuer = errors.New("no intermediate can sign now")
)

const maxDNSNames = 64

// X509Request asks for an X.509-SVID. Whoever asks must have proven that it holds the private key (a CSR) and
// that it is what ID says (attestation); the authority believes both.
type X509Request struct {
	ID       spiffeid.ID      // in our trust domain, with a path
	Public   crypto.PublicKey // ECDSA on P-256 or P-384, Ed25519, or RSA of 2048 bits or more
	DNSNames []string         // lower case
	TTL      time.Duration    // 0: the default; at most 24 h
	Node     string           // where the workload runs; written into the SVID, so that a node can be revoked
}

// X509SVID is an issued X.509-SVID.
type X509SVID struct {
	ID                  spiffeid.ID
	Chain               [][]byte // DER; the SVID first, then the intermediates, without the root
	Serial              string   // hexadecimal
	NotBefore, NotAfter time.Time
}

// SignX509 issues an X.509-SVID (SPIFFE X509-SVID, sections 2 to 4): one URI, no CA, digitalSignature, for
// servers and clients. It ends with its intermediate at the latest. The error wraps ErrRevoked if nothing is issued to the
// service or node, ErrNoIssuer if there is no intermediate.
func (a *Authority) SignX509(_ context.Context, r X509Request) (*X509SVID, error) {
	v, now := a.view.Load(), wall()
	if err := a.check(v, r.ID, r.Node); err != nil {
		return nil, fmt.Errorf("signing an X.509-SVID: %w", err)
	}
	ttl, err := lifetime(r.TTL, a.config.X509TTL)
	if err == nil {
		err = checkPublic(r.Public)
	}
	if err == nil {
		err = checkNames(r.DNSNames)
	}
	if err != nil {
		return nil, fmt.Errorf("signing an X.509-SVID for %s: %w", r.ID, err)
	}
	by := v.signing(now)
	if by == nil {
		return nil, fmt.Errorf("signing an X.509-SVID for %s: %w", r.ID, ErrNoIssuer)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               subject(r.Node),
		NotBefore:             now.Add(-Backdate).Truncate(time.Second),
		NotAfter:              now.Add(ttl).Truncate(time.Second),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:                  []*url.URL{r.ID.URL()},
		DNSNames:              r.DNSNames,
	}
	if template.NotAfter.After(by.cert.NotAfter) {
		template.NotAfter = by.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, r.Public, by.key)
	if err != nil {
		return nil, fmt.Errorf("signing an X.509-SVID for %s: %w", r.ID, err)
	}
	chain := make([][]byte, 0, 1+len(by.chain))
	return &X509SVID{
		ID: r.ID, Chain: append(append(chain, der), by.chain...), Serial: serial.Text(16),
		NotBefore: template.NotBefore, NotAfter: template.NotAfter,
	}, nil
}

// subject names the node; identity/peer reads it back.
func subject(node string) pkix.Name {
	name := pkix.Name{Organization: []string{organization}}
	if node != "" {
		name.OrganizationalUnit = []string{"node:" + node}
	}
	return name
}

// check holds that something may be issued to an identity at all.
func (a *Authority) check(v *view, id spiffeid.ID, node string) error {
	if !id.MemberOf(a.config.TrustDomain) || id.Path() == "" {
		return fmt.Errorf("%q is no identity of the trust domain %s", id, a.config.TrustDomain)
	}
	if node != "" {
		if _, err := revocation.Normal(a.config.TrustDomain, revocation.Node, node); err != nil {
			return err
		}
	}
	if entry, barred := v.revoked.Bars(id, node); barred {
		return fmt.Errorf("%s %s is %w since %s", entry.Kind, entry.Value, ErrRevoked, entry.Since.UTC().Format(time.RFC3339))
	}
	return nil
}

// lifetime bounds what a request asks for.
func lifetime(asked, standard time.Duration) (time.Duration, error) {
	if asked == 0 {
		return standard, nil
	}
	if asked < MinTTL || asked > MaxTTL {
		return 0, fmt.Errorf("a lifetime of %s is not from %s to %s", asked, MinTTL, MaxTTL)
	}
	return asked, nil
}

// checkPublic refuses keys that are too weak or that peers do not know.
func checkPublic(public crypto.PublicKey) error {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() || key.Curve == elliptic.P384() {
			return nil
		}
	case ed25519.PublicKey:
		if len(key) == ed25519.PublicKeySize {
			return nil
		}
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits >= 2048 && bits <= 8192 {
			return nil
		}
	}
	return errors.New("the public key is not ECDSA on P-256 or P-384, Ed25519, or RSA of 2048 bits or more")
}

// checkNames refuses what is no plain host name; wildcards too.
func checkNames(names []string) error {
	if len(names) > maxDNSNames {
		return fmt.Errorf("more than %d DNS names", maxDNSNames)
	}
	for _, name := range names {
		if len(name) > 253 || !hostName(name) {
			return fmt.Errorf("%q is no lower-case DNS name", name)
		}
	}
	return nil
}

// hostName tells whether a name consists of labels of letters, digits and hyphens (RFC 1123, section 2.1).
func hostName(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}
