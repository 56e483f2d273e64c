package peer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// ca is an authority of a test that signs whatever it is told.
type ca struct {
	tb   testing.TB
	cert *x509.Certificate
	key  crypto.Signer
	up   *ca // nil: a root
}

func newKey(tb testing.TB) crypto.Signer {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func mustURL(tb testing.TB, text string) *url.URL {
	tb.Helper()
	u, err := url.Parse(text)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

func serial(tb testing.TB) *big.Int {
	tb.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		tb.Fatal(err)
	}
	return n.Add(n, big.NewInt(1))
}

// authority makes a CA below up (nil: a root) of a trust domain.
func authority(tb testing.TB, domain string, up *ca, change func(*x509.Certificate)) *ca {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(tb), Subject: pkix.Name{CommonName: serial(tb).Text(16)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		URIs: []*url.URL{mustURL(tb, "spiffe://"+domain)},
	}
	if change != nil {
		change(template)
	}
	key := newKey(tb)
	parent, parentKey := template, key
	if up != nil {
		parent, parentKey = up.cert, up.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &ca{tb: tb, cert: cert, key: key, up: up}
}

// leaf signs an SVID that change may spoil, and returns its chain without the root, and its key.
func (c *ca) leaf(id string, change func(*x509.Certificate)) ([]*x509.Certificate, crypto.Signer) {
	key := newKey(c.tb)
	return c.leafFor(id, key, change), key
}

func (c *ca) leafFor(id string, key crypto.Signer, change func(*x509.Certificate)) []*x509.Certificate {
	c.tb.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(c.tb), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if id != "" {
		template.ExtraExtensions = []pkix.Extension{names(c.tb, uri(id))}
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, key.Public(), c.key)
	if err != nil {
		c.tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil // the standard library does not parse it: TLS ends before anybody is asked
	}
	out := []*x509.Certificate{leaf}
	for at := c; at.up != nil; at = at.up {
		out = append(out, at.cert)
	}
	return out
}

// name is one subject alternative name as it stands in the certificate, whatever it says.
type name struct {
	tag  int
	text string
}

func uri(text string) name { return name{tagURI, text} }

// names makes the extension of subject alternative names out of raw bytes.
func names(tb testing.TB, list ...name) pkix.Extension {
	tb.Helper()
	var raw []asn1.RawValue
	for _, n := range list {
		raw = append(raw, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: n.tag, Bytes: []byte(n.text)})
	}
	der, err := asn1.Marshal(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: der}
}

// bundle is the bundle of a trust domain with the given roots.
func bundle(domain string, roots ...*ca) *spiffebundle.Bundle {
	b := spiffebundle.New(spiffeid.RequireTrustDomainFromString(domain))
	for _, root := range roots {
		b.AddX509Authority(root.cert)
	}
	return b
}

// trusting makes a verifier of bundles.
func trusting(tb testing.TB, bundles ...*spiffebundle.Bundle) (*Verifier, *Live) {
	tb.Helper()
	trust, err := NewTrust(bundles...)
	if err != nil {
		tb.Fatal(err)
	}
	live := new(Live)
	v := NewVerifier(live)
	v.SetTrust(trust)
	return v, live
}

// showing is an identity for a tls.Config.
func showing(chain []*x509.Certificate, key crypto.Signer) Identity {
	cert := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return func() (*tls.Certificate, error) { return cert, nil }
}
