package workload

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// ca is a small authority: a root that signs, one JWT key, one federated domain.
type ca struct {
	domain, friend TrustDomain
	life           time.Duration
	key, jwtKey    *ecdsa.PrivateKey

	mu      sync.Mutex
	serial  int64
	signed  map[ID]int
	fail    error
	deny    map[ID]bool
	bundles *Bundles
	changed chan struct{}
}

func newCA(t testing.TB, domain string) *ca {
	t.Helper()
	c := &ca{
		domain: spiffeid.RequireTrustDomainFromString(domain), friend: spiffeid.RequireTrustDomainFromString("friend.example"),
		life: time.Hour, key: p256(t), jwtKey: p256(t), signed: map[ID]int{}, deny: map[ID]bool{}, changed: make(chan struct{}),
	}
	c.bundles = &Bundles{Own: c.domain, All: map[TrustDomain]Bundle{
		c.domain: {X509: []*x509.Certificate{root(t, c.domain, c.key)}, JWT: map[string]crypto.PublicKey{"k1": c.jwtKey.Public()}},
		c.friend: {X509: []*x509.Certificate{root(t, c.friend, p256(t))}, JWT: map[string]crypto.PublicKey{"f1": p256(t).Public()}},
	}}
	return c
}

func p256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func root(t testing.TB, domain TrustDomain, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: domain.Name()}, URIs: []*url.URL{domain.ID().URL()},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * 365 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (c *ca) SignX509(_ context.Context, id ID, public crypto.PublicKey) ([]*x509.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signed[id]++
	if c.fail != nil {
		return nil, c.fail
	}
	if c.deny[id] {
		return nil, ErrDenied
	}
	c.serial++
	parent := c.bundles.All[c.domain].X509[0]
	raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(c.serial), URIs: []*url.URL{id.URL()}, NotBefore: time.Now().Add(-10 * time.Second),
		NotAfter: time.Now().Add(c.life), KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, parent, public, c.key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(raw)
	return []*x509.Certificate{cert}, err
}

func (c *ca) SignJWT(_ context.Context, id ID, audience []string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deny[id] {
		return "", ErrDenied
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: c.jwtKey, KeyID: "k1"}}, nil)
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(jwt.Claims{
		Subject: id.String(), Audience: audience, Expiry: jwt.NewNumericDate(time.Now().Add(5 * time.Minute)), IssuedAt: jwt.NewNumericDate(time.Now()),
	}).Serialize()
}

func (c *ca) Bundles(context.Context) (*Bundles, <-chan struct{}, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bundles, c.changed, nil
}

// defederate ends the federation with the friend.
func (c *ca) defederate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bundles = &Bundles{Own: c.domain, All: map[TrustDomain]Bundle{c.domain: c.bundles.All[c.domain]}}
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *ca) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *ca) times(id ID) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.signed[id]
}
