package keyring

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	caName     = "Palisade local CA"
	caKeyFile  = "local-ca-key.pem" // the key and its certificate in one file, so that the two cannot disagree
	caCertFile = "local-ca.pem"     // the certificate alone, to be trusted by clients

	caLifetime     = 365 * 24 * time.Hour
	caRenewal      = serverLifetime + 24*time.Hour // a root with less left could not cover a new server certificate
	serverLifetime = 30 * 24 * time.Hour
	backdate       = time.Hour // clocks of virtual machines lag
)

// LocalDomains returns the DNS suffixes that a local CA may name: the special-use names that never belong to
// anyone on the Internet (RFC 2606, RFC 6761, RFC 6762, RFC 8375, ICANN's "internal"). The root carries them
// as critical name constraints (RFC 5280, section 4.2.1.10), so that a stolen key fakes no real site.
func LocalDomains() []string {
	return []string{
		"localhost", "test", "example", "example.com", "example.net", "example.org",
		"local", "internal", "home.arpa",
	}
}

// LocalCA is a certificate authority for one laptop. It is safe for concurrent use.
type LocalCA struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	path string
}

// OpenCA reads the local CA kept in dir and makes it if there is none, or if it ends within 31 days. The key
// is kept in a file of mode 0600; one that others may read is refused (ErrExposed).
func OpenCA(dir string) (*LocalCA, error) {
	keyPath := filepath.Join(dir, caKeyFile)
	ca, err := loadCA(keyPath)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making the folder of the local CA: %w", err)
		}
		ca, err = makeCA(keyPath, createPrivate)
	case err == nil && time.Until(ca.cert.NotAfter) < caRenewal:
		ca, err = makeCA(keyPath, func(path string, data []byte) error { return replaceFile(path, data, 0o600) })
	}
	if err != nil {
		return nil, fmt.Errorf("opening the local CA: %w", err)
	}
	ca.path = filepath.Join(dir, caCertFile)
	if err := ca.export(); err != nil {
		return nil, fmt.Errorf("writing the local CA's certificate: %w", err)
	}
	return ca, nil
}

// CertificatePEM returns the root certificate for clients to trust.
func (ca *LocalCA) CertificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: ca.cert.Raw})
}

// CertificatePath returns where the root certificate lies, for curl --cacert.
func (ca *LocalCA) CertificatePath() string { return ca.path }

// Certificate returns the root certificate. It must not be changed.
func (ca *LocalCA) Certificate() *x509.Certificate { return ca.cert }

// export keeps the certificate file equal to the certificate in use.
func (ca *LocalCA) export() error {
	want := ca.CertificatePEM()
	if have, err := os.ReadFile(filepath.Clean(ca.path)); err == nil && bytes.Equal(have, want) {
		return nil
	}
	return replaceFile(ca.path, want, 0o644)
}

// loadCA reads key and certificate and checks that they belong together and are a root.
func loadCA(path string) (*LocalCA, error) {
	data, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	key, err := decodeKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != blockCertificate {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: parsing the certificate: %w", path, err)
		}
		if !key.PublicKey.Equal(cert.PublicKey) || !cert.IsCA || !cert.PermittedDNSDomainsCritical {
			return nil, fmt.Errorf("%s: the certificate is not the local CA of its key", path)
		}
		return &LocalCA{key: key, cert: cert}, nil
	}
	return nil, fmt.Errorf("%s: no %q block found", path, blockCertificate)
}

// makeCA makes a root, stores it and reads back what is stored: in a race that may be another's.
func makeCA(path string, store func(string, []byte) error) (*LocalCA, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template, err := caTemplate(time.Now())
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("making the certificate: %w", err)
	}
	data, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	data = append(data, pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: der})...)
	if err := store(path, data); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return loadCA(path)
}

// caTemplate describes a root that can sign server certificates for local names only.
func caTemplate(now time.Time) (*x509.Certificate, error) {
	name := pkix.Name{CommonName: caName, Organization: []string{caName}}
	if host, err := os.Hostname(); err == nil && host != "" {
		name.OrganizationalUnit = []string{host} // two laptops' roots can be told apart in a trust store
	}
	serial, err := rand.Int(rand.Reader, serialLimit())
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber:                serial,
		Subject:                     name,
		NotBefore:                   now.Add(-backdate),
		NotAfter:                    now.Add(caLifetime),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         LocalDomains(),
		PermittedIPRanges: []*net.IPNet{
			{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
			{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
		},
	}, nil
}
