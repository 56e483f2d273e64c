package federation

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/palisade-security/palisade/identity/peer"
)

const (
	maxBundle    = 1 << 20 // bytes; hundreds of roots
	fetchTimeout = 30 * time.Second
)

// ErrRollback tells that an endpoint shows an older bundle than it did before.
var ErrRollback = errors.New("an older bundle than before")

// Relation is another trust domain and where its bundle is to be had.
type Relation struct {
	TrustDomain spiffeid.TrustDomain
	URL         string // https
	// EndpointID is whom the endpoint must prove to be in profile https_spiffe; zero is profile https_web.
	EndpointID spiffeid.ID
	// Bundle is the first bundle, brought by other means: https_spiffe needs one to recognise an endpoint of the
	// domain itself. One that was fetched and kept takes its place.
	Bundle *spiffebundle.Bundle
}

// check holds that a relation is whole and not with ourselves.
func (r *Relation) check(own spiffeid.TrustDomain) error {
	if _, err := peer.ParseID(r.TrustDomain.IDString() + "/x"); err != nil {
		return fmt.Errorf("%q is no trust domain: %w", r.TrustDomain, err)
	}
	if r.TrustDomain == own {
		return fmt.Errorf("%s is our own trust domain; nobody else may say who its members are", own)
	}
	u, err := url.Parse(r.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%s: the URL must be https, with a host and without user info", r.TrustDomain)
	}
	if !r.EndpointID.IsZero() {
		if _, err := peer.ParseID(r.EndpointID.String()); err != nil {
			return fmt.Errorf("%s: the endpoint's SPIFFE ID: %w", r.TrustDomain, err)
		}
	}
	if r.Bundle != nil && r.Bundle.TrustDomain() != r.TrustDomain {
		return fmt.Errorf("%s: the first bundle is that of %s", r.TrustDomain, r.Bundle.TrustDomain())
	}
	return nil
}

// fetch gets a relation's bundle. known are the bundles by which an endpoint of profile https_spiffe is
// recognised, web the roots for https_web (nil: the system's).
func fetch(ctx context.Context, r *Relation, known []*spiffebundle.Bundle, web *x509.CertPool) (*spiffebundle.Bundle, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: web}
	if !r.EndpointID.IsZero() {
		trust, err := peer.NewTrust(known...)
		if err != nil {
			return nil, err
		}
		verifier := peer.NewVerifier(new(peer.Live))
		verifier.SetTrust(trust)
		nobody := func() (*tls.Certificate, error) { return new(tls.Certificate), nil } // we show no SVID
		config = peer.ClientConfig(nobody, verifier, peer.OneOf(r.EndpointID))
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, DisableKeepAlives: true, ForceAttemptHTTP2: true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	client := &http.Client{
		Transport: transport,
		// The endpoint is the one that is declared (SPIFFE Federation, section 5.2: redirects are not followed).
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the endpoint answers %d", answer.StatusCode)
	}
	var body bytes.Buffer
	n, err := body.ReadFrom(io.LimitReader(answer.Body, maxBundle+1))
	if err != nil {
		return nil, err
	}
	if n > maxBundle {
		return nil, fmt.Errorf("the bundle is larger than %d bytes", maxBundle)
	}
	return parse(r.TrustDomain, body.Bytes())
}

// Parse reads a bundle of a trust domain as an endpoint shows it (SPIFFE Trust Domain and Bundle, section 4). It has at
// least one root, and none that is no authority.
func Parse(domain spiffeid.TrustDomain, data []byte) (*spiffebundle.Bundle, error) {
	if len(data) > maxBundle {
		return nil, fmt.Errorf("reading a bundle of %s: it is larger than %d bytes", domain, maxBundle)
	}
	bundle, err := parse(domain, data)
	if err != nil {
		return nil, fmt.Errorf("reading a bundle of %s: %w", domain, err)
	}
	return bundle, nil
}

// ParseAll reads the bundles of several trust domains by their names: our own, which must be there, and others.
func ParseAll(domain spiffeid.TrustDomain, all map[string]json.RawMessage) (own *spiffebundle.Bundle, others []*spiffebundle.Bundle, err error) {
	for name, data := range all {
		td, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the bundle of %q: %w", name, err)
		}
		b, err := Parse(td, data)
		if err != nil {
			return nil, nil, err
		}
		if td == domain {
			own = b
		} else {
			others = append(others, b)
		}
	}
	if own == nil {
		return nil, nil, fmt.Errorf("reading bundles: there is none of %s itself", domain)
	}
	return own, others, nil
}

// parse reads a bundle and holds that it can be used: at least one root, and none that is no authority.
func parse(domain spiffeid.TrustDomain, data []byte) (*spiffebundle.Bundle, error) {
	bundle, err := spiffebundle.Parse(domain, data)
	if err != nil {
		return nil, err
	}
	if len(bundle.X509Authorities()) == 0 {
		return nil, errors.New("the bundle has no root")
	}
	if _, err := peer.NewTrust(bundle); err != nil {
		return nil, err
	}
	return bundle, nil
}

// supersedes tells whether a fetched bundle takes the place of the one before, or that it must not.
func supersedes(old, fetched *spiffebundle.Bundle) (bool, error) {
	if old == nil {
		return true, nil
	}
	before, hadOne := old.SequenceNumber()
	now, hasOne := fetched.SequenceNumber()
	if hadOne && hasOne && now < before {
		return false, fmt.Errorf("sequence number %d after %d: %w", now, before, ErrRollback)
	}
	return !old.Equal(fetched), nil
}
