package authority

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Request returns a PEM certificate request for the next intermediate, to be signed where the key above it is
// kept (Parent.Sign) and brought back with Install. Asking again gives the same key until Install.
func (a *Authority) Request(ctx context.Context) ([]byte, error) {
	var number int
	err := a.mutate(ctx, func(s *state) (bool, error) {
		if number = s.Pending; number != 0 {
			return false, nil
		}
		number, s.Pending = s.Next, s.Next
		s.Next++
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("requesting an intermediate: %w", err)
	}
	key, err := a.config.Keys.Signer(ctx, keyName("x509", number))
	if err != nil {
		return nil, fmt.Errorf("requesting an intermediate: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{Organization: []string{organization}, CommonName: a.config.TrustDomain.Name() + " intermediate"},
		URIs:    []*url.URL{a.config.TrustDomain.ID().URL()},
	}, key)
	if err != nil {
		return nil, fmt.Errorf("requesting an intermediate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockRequest, Bytes: der}), nil
}

// Install takes the intermediate that Request asked for: a PEM chain that begins with it and leads to a root of
// the bundle. It signs at once if nothing else can, otherwise after it has been published for a while.
func (a *Authority) Install(ctx context.Context, chainPEM []byte) error {
	certs, err := readCertificates(chainPEM)
	if err != nil {
		return fmt.Errorf("installing an intermediate: %w", err)
	}
	err = a.mutate(ctx, func(s *state) (bool, error) {
		if s.Pending == 0 {
			return false, errors.New("none was requested")
		}
		now := wall()
		chain, err := a.checkInstall(ctx, s, certs, now)
		if err != nil {
			return false, err
		}
		if err := a.addGeneration(ctx, s, s.Pending, chain, now); err != nil {
			return false, err
		}
		s.Pending = 0
		s.Sequence++
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("installing an intermediate: %w", err)
	}
	return nil
}

// checkInstall holds that the first certificate is a CA for the requested key that a root of ours vouches for,
// and returns the chain without the root.
func (a *Authority) checkInstall(ctx context.Context, s *state, certs []*x509.Certificate, now time.Time) ([][]byte, error) {
	cert := certs[0]
	key, err := a.config.Keys.Lookup(ctx, keyName("x509", s.Pending))
	if err != nil {
		return nil, err
	}
	switch {
	case !equalKeys(key.Public(), cert.PublicKey):
		return nil, errors.New("the first certificate is not for the key that was requested")
	case !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, errors.New("the first certificate may not sign others")
	case len(cert.URIs) > 1 || len(cert.URIs) == 1 && cert.URIs[0].String() != a.config.TrustDomain.IDString():
		return nil, fmt.Errorf("the first certificate names another than the trust domain %s", a.config.TrustDomain)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for i := range s.Roots {
		if r := &s.Roots[i]; r.Listed {
			if c := r.certificate(); c != nil {
				roots.AddCert(c)
			}
		}
	}
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	chains, err := cert.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, fmt.Errorf("no root of the bundle vouches for it: %w", err)
	}
	var out [][]byte
	for _, c := range chains[0][:len(chains[0])-1] {
		out = append(out, c.Raw)
	}
	return out, nil
}
