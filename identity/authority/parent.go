package authority

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// ErrParentAway tells that the key above the intermediates is not at hand: the root is kept offline, or the
// upstream authority gave a chain only. What is signed today goes on; a new intermediate needs Request and
// Install.
var ErrParentAway = errors.New("the key that signs intermediates is not at hand")

const (
	blockCertificate = "CERTIFICATE"
	blockRequest     = "CERTIFICATE REQUEST"
	organization     = "Palisade"
	maxPEM           = 1 << 20
	serialBits       = 127 // random, positive and within 20 octets (RFC 5280, section 4.1.2.2)
)

// Parent signs intermediates: our own root, or an upstream authority that lent us a CA certificate.
type Parent struct {
	chain []*x509.Certificate // the signing certificate first, the root last
	key   crypto.Signer       // nil: not at hand
}

// ReadParent reads an upstream authority: a PEM chain that begins with the CA certificate which signs our
// intermediates and ends with the self-signed root that everyone trusts. key belongs to the first; nil if it is
// kept elsewhere.
func ReadParent(chainPEM []byte, key crypto.Signer) (*Parent, error) {
	chain, err := readCertificates(chainPEM)
	if err != nil {
		return nil, fmt.Errorf("reading an upstream authority: %w", err)
	}
	p := &Parent{chain: chain, key: key}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("reading an upstream authority: %w", err)
	}
	return p, nil
}

// check holds that the chain is one, that it may sign intermediates, and that the key is its own.
func (p *Parent) check() error {
	for i, cert := range p.chain {
		if !cert.IsCA || !cert.BasicConstraintsValid || cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0 {
			return fmt.Errorf("certificate %d of the chain (%q) is no authority", i+1, cert.Subject)
		}
		// Below certificate i stand i others of the chain and our intermediate (RFC 5280, section 4.2.1.9).
		if cert.MaxPathLen >= 0 && cert.MaxPathLen < i+1 {
			return fmt.Errorf("certificate %d of the chain (%q) allows no further intermediate (path length %d)", i+1, cert.Subject, cert.MaxPathLen)
		}
		if i > 0 {
			if err := p.chain[i-1].CheckSignatureFrom(cert); err != nil {
				return fmt.Errorf("certificate %d of the chain is not signed by the next one: %w", i, err)
			}
		}
	}
	root := p.root()
	if !bytes.Equal(root.RawSubject, root.RawIssuer) || root.CheckSignatureFrom(root) != nil {
		return errors.New("the chain does not end with a self-signed root")
	}
	if p.key != nil && !equalKeys(p.key.Public(), p.chain[0].PublicKey) {
		return errors.New("the key does not belong to the first certificate of the chain")
	}
	return nil
}

// root returns the certificate that everyone trusts.
func (p *Parent) root() *x509.Certificate { return p.chain[len(p.chain)-1] }

// ends returns when the first certificate of the chain ends to be valid.
func (p *Parent) ends() time.Time {
	end := p.chain[0].NotAfter
	for _, cert := range p.chain {
		if cert.NotAfter.Before(end) {
			end = cert.NotAfter
		}
	}
	return end
}

// Sign signs the intermediate that a PEM request (Authority.Request) asks for and returns it with the chain
// above it, without the root, as PEM for Authority.Install. This is what the holder of an offline root does; the
// trust domain is theirs to say, not the request's.
func (p *Parent) Sign(request []byte, domain spiffeid.TrustDomain, lifetime time.Duration, now time.Time) ([]byte, error) {
	block, _ := pem.Decode(request)
	if block == nil || block.Type != blockRequest {
		return nil, fmt.Errorf("signing an intermediate: no %q block found", blockRequest)
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return nil, fmt.Errorf("signing an intermediate: reading the request: %w", err)
	}
	chain, err := p.sign(csr.PublicKey, domain, lifetime, now)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, der := range chain {
		_ = pem.Encode(&out, &pem.Block{Type: blockCertificate, Bytes: der})
	}
	return out.Bytes(), nil
}

// sign signs an intermediate for a public key. The chain begins with it and ends below the root.
func (p *Parent) sign(public crypto.PublicKey, domain spiffeid.TrustDomain, lifetime time.Duration, now time.Time) ([][]byte, error) {
	if p.key == nil {
		return nil, fmt.Errorf("signing an intermediate: %w", ErrParentAway)
	}
	template, err := caTemplate(domain, "intermediate", now, lifetime)
	if err != nil {
		return nil, err
	}
	if end := p.ends(); template.NotAfter.After(end) {
		template.NotAfter = end
	}
	if !now.Before(template.NotAfter) {
		return nil, fmt.Errorf("signing an intermediate: the authority above it ended on %s", template.NotAfter.Format(time.DateOnly))
	}
	template.MaxPathLenZero = true // it signs SVIDs and nothing that signs
	der, err := x509.CreateCertificate(rand.Reader, template, p.chain[0], public, p.key)
	if err != nil {
		return nil, fmt.Errorf("signing an intermediate: %w", err)
	}
	out := [][]byte{der}
	for _, cert := range p.chain[:len(p.chain)-1] {
		out = append(out, cert.Raw)
	}
	return out, nil
}

// makeRoot signs a new root of a trust domain with its own key.
func makeRoot(domain spiffeid.TrustDomain, key crypto.Signer, lifetime time.Duration, now time.Time) ([]byte, error) {
	template, err := caTemplate(domain, "root", now, lifetime)
	if err != nil {
		return nil, err
	}
	template.MaxPathLen = 1
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making a root: %w", err)
	}
	return der, nil
}

// caTemplate describes a signing certificate (X509-SVID, sections 2 and 4.3): the trust domain as its one URI,
// without a path.
func caTemplate(domain spiffeid.TrustDomain, role string, now time.Time, lifetime time.Duration) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial,
		// The serial number in the name tells apart two certificates of one authority wherever names are compared.
		Subject:               pkix.Name{Organization: []string{organization}, CommonName: domain.Name() + " " + role, SerialNumber: serial.Text(16)},
		NotBefore:             now.Add(-Backdate),
		NotAfter:              now.Add(lifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		URIs:                  []*url.URL{domain.ID().URL()},
	}, nil
}

// newSerial returns a random serial number.
func newSerial() (*big.Int, error) {
	for {
		n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
		if err != nil {
			return nil, fmt.Errorf("making a serial number: %w", err)
		}
		if n.Sign() > 0 {
			return n, nil
		}
	}
}

// readCertificates reads PEM that holds certificates and nothing else.
func readCertificates(data []byte) ([]*x509.Certificate, error) {
	if len(data) > maxPEM {
		return nil, errors.New("the PEM is too large")
	}
	var out []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != blockCertificate {
			return nil, fmt.Errorf("the PEM holds a %q beside certificates", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(out)+1, err)
		}
		out = append(out, cert)
	}
	if len(out) == 0 {
		return nil, errors.New("the PEM holds no certificate")
	}
	return out, nil
}

// equalKeys compares public keys of any kind.
func equalKeys(a, b crypto.PublicKey) bool {
	x, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && x.Equal(b)
}
