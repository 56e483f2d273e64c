package keyring

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Pair names the files of one certificate: a PEM chain, leaf first, and its PEM key.
type Pair struct{ Cert, Key string }

// FileCertificates shows certificates read from files. A reload replaces all of them at once or none. It is
// safe for concurrent use; handshakes in progress keep what they began with.
type FileCertificates struct {
	pairs  []Pair
	reload sync.Mutex
	set    atomic.Pointer[certificateSet]
}

// certificateSet is what one load found. It is immutable.
type certificateSet struct {
	all      []*tls.Certificate
	exact    map[string][]*tls.Certificate // by lower-case name
	wildcard map[string][]*tls.Certificate // by what follows "*."
	exposed  []string                      // key files that others may read
}

// LoadCertificates reads every pair. At least one is needed; the first is shown to clients that name no host
// or one that no certificate names. A key that does not belong to its certificate is an error; dates are not,
// see Warnings.
func LoadCertificates(pairs []Pair) (*FileCertificates, error) {
	f := &FileCertificates{pairs: slices.Clone(pairs)}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Reload reads the files again. On error, which names every file at fault, the last good certificates stay.
func (f *FileCertificates) Reload() error {
	f.reload.Lock()
	defer f.reload.Unlock()
	if len(f.pairs) == 0 {
		return errors.New("loading certificates: none given")
	}
	set := &certificateSet{exact: map[string][]*tls.Certificate{}, wildcard: map[string][]*tls.Certificate{}}
	var errs []error
	for _, pair := range f.pairs {
		// LoadX509KeyPair checks that the key belongs to the certificate and sets Leaf.
		cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			errs = append(errs, fmt.Errorf("loading certificate %s with key %s: %w", pair.Cert, pair.Key, err))
			continue
		}
		if info, err := os.Stat(pair.Key); err == nil && info.Mode().Perm()&0o007 != 0 {
			set.exposed = append(set.exposed, pair.Key)
		}
		set.add(&cert)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	f.set.Store(set)
	return nil
}

// add indexes a certificate by its names.
func (s *certificateSet) add(cert *tls.Certificate) {
	s.all = append(s.all, cert)
	for _, name := range cert.Leaf.DNSNames {
		name = strings.ToLower(name)
		if parent, ok := strings.CutPrefix(name, "*."); ok {
			s.wildcard[parent] = append(s.wildcard[parent], cert)
		} else {
			s.exact[name] = append(s.exact[name], cert)
		}
	}
}

// GetCertificate is a tls.Config's GetCertificate. It chooses by server name (RFC 6066, section 3): the exact
// name, then a wildcard for the first label (RFC 9525, section 6.3), then the first certificate. Of several
// for one name it takes the first that the client supports, so that RSA and ECDSA can stand side by side.
func (f *FileCertificates) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	set := f.set.Load()
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	found := set.exact[name]
	if len(found) == 0 {
		if _, parent, ok := strings.Cut(name, "."); ok {
			found = set.wildcard[parent]
		}
	}
	if len(found) == 0 {
		return set.all[0], nil
	}
	if len(found) > 1 {
		for _, cert := range found {
			if hello.SupportsCertificate(cert) == nil {
				return cert, nil
			}
		}
	}
	return found[0], nil
}

// Warnings tells, for people, what is wrong with the certificates in force but does not stop them from being
// shown: dates that are past, to come or near (14 days), and key files that everyone may read.
func (f *FileCertificates) Warnings(now time.Time) []string {
	set := f.set.Load()
	var out []string
	for i, cert := range set.all {
		leaf, file := cert.Leaf, f.pairs[i].Cert
		switch left := leaf.NotAfter.Sub(now); {
		case now.Before(leaf.NotBefore):
			out = append(out, fmt.Sprintf("certificate %s is not valid before %s", file, leaf.NotBefore.UTC().Format(time.RFC3339)))
		case left <= 0:
			out = append(out, fmt.Sprintf("certificate %s expired on %s", file, leaf.NotAfter.UTC().Format(time.RFC3339)))
		case left < 14*24*time.Hour:
			out = append(out, fmt.Sprintf("certificate %s expires on %s", file, leaf.NotAfter.UTC().Format(time.RFC3339)))
		}
		if len(leaf.DNSNames) == 0 && len(leaf.IPAddresses) == 0 {
			out = append(out, fmt.Sprintf("certificate %s names no host (subjectAltName is empty)", file))
		}
	}
	for _, file := range set.exposed {
		out = append(out, fmt.Sprintf("key %s is readable by everyone", file))
	}
	return out
}

// Files returns every file to watch for changes.
func (f *FileCertificates) Files() []string {
	out := make([]string, 0, 2*len(f.pairs))
	for _, pair := range f.pairs {
		out = append(out, pair.Cert, pair.Key)
	}
	return out
}
