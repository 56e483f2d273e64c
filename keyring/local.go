package keyring

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// serialLimit bounds serial numbers to 127 random bits: positive and within 20 octets (RFC 5280, 4.1.2.2).
func serialLimit() *big.Int { return new(big.Int).Lsh(big.NewInt(1), 127) }

// LocalCertificates shows one certificate of a local CA for a fixed set of hosts. It is kept in memory, is
// valid for 30 days and is made anew when a third of that is left. It is safe for concurrent use.
type LocalCertificates struct {
	ca    *LocalCA
	hosts []string
	ips   []net.IP

	mu      sync.Mutex
	current *tls.Certificate
}

// Certificates makes a certificate for hosts, "localhost" and the loopback addresses. A host is a DNS name
// under LocalDomains, a wildcard of one label under such a name (*.shop.localhost), or a loopback address.
// Others are refused: clients that trust the CA would not believe it.
func (ca *LocalCA) Certificates(hosts []string) (*LocalCertificates, error) {
	l := &LocalCertificates{
		ca:    ca,
		hosts: []string{"localhost"},
		ips:   []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback},
	}
	var errs []error
	for _, host := range hosts {
		if err := l.add(host); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("making a local certificate: %w", err)
	}
	if _, err := l.certificate(time.Now()); err != nil {
		return nil, err
	}
	return l, nil
}

// CheckLocal reports why the local CA would not name host, or nil.
func CheckLocal(host string) error { return new(LocalCertificates).add(host) }

// add checks a host and adds it to the names of the certificate.
func (l *LocalCertificates) add(host string) error {
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		if !addr.IsLoopback() || addr.Zone() != "" {
			return fmt.Errorf("%q is not a loopback address", host)
		}
		ip := net.IP(addr.Unmap().AsSlice())
		if !slices.ContainsFunc(l.ips, ip.Equal) {
			l.ips = append(l.ips, ip)
		}
		return nil
	}
	name := strings.ToLower(host)
	base := strings.TrimPrefix(name, "*.")
	under := func(suffix string) bool { return base == suffix || strings.HasSuffix(base, "."+suffix) }
	if base == "" || strings.ContainsAny(base, "*:/ ") || !slices.ContainsFunc(LocalDomains(), under) {
		return fmt.Errorf("%q is not a local name; the local CA names only %s and below, use certificate files for others",
			host, strings.Join(LocalDomains(), ", "))
	}
	if !slices.Contains(l.hosts, name) {
		l.hosts = append(l.hosts, name)
	}
	return nil
}

// GetCertificate is a tls.Config's GetCertificate. A client that asks for another name gets the same
// certificate and finds out by itself; the edge answers 421 to what it does not serve.
func (l *LocalCertificates) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return l.certificate(time.Now())
}

// certificate returns the current certificate, made anew when a third of its life is left.
func (l *LocalCertificates) certificate(now time.Time) (*tls.Certificate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != nil {
		end := l.current.Leaf.NotAfter
		// One that lasts as long as the CA cannot be bettered; without this the CA's last days would see a
		// signature for each handshake.
		if end.Sub(now) > serverLifetime/3 || end.Equal(l.ca.cert.NotAfter) && now.Before(end) {
			return l.current, nil
		}
	}
	made, err := l.issue(now)
	if err != nil {
		if l.current != nil && now.Before(l.current.Leaf.NotAfter) {
			return l.current, nil
		}
		return nil, fmt.Errorf("making a local certificate: %w", err)
	}
	l.current = made
	return made, nil
}

// issue signs a new key for the hosts.
func (l *LocalCertificates) issue(now time.Time) (*tls.Certificate, error) {
	if !now.Before(l.ca.cert.NotAfter) {
		return nil, fmt.Errorf("the local CA ended on %s; start again to make a new one", l.ca.cert.NotAfter.Format(time.DateOnly))
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, serialLimit())
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	end := now.Add(serverLifetime)
	if end.After(l.ca.cert.NotAfter) {
		end = l.ca.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"Palisade"}, OrganizationalUnit: []string{"local certificate"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              end,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:              l.hosts,
		IPAddresses:           l.ips,
	}, l.ca.cert, &key.PublicKey, l.ca.key)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parsing what was signed: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, l.ca.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}
