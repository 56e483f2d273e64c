package authority

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/palisade-security/palisade/keyring"
)

// place is where an authority lives in a test: it can be opened again there.
type place struct {
	ring  *keyring.Ring
	store *fullStore
	log   *bytes.Buffer
}

func newPlace(tb testing.TB) *place {
	tb.Helper()
	dir := tb.TempDir()
	keeper, err := keyring.LocalKeeper(dir)
	if err != nil {
		tb.Fatal(err)
	}
	ring, err := keyring.OpenRing(tb.Context(), dir, keeper)
	if err != nil {
		tb.Fatal(err)
	}
	return &place{ring: ring, store: &fullStore{Store: NewFileStore(filepath.Join(dir, "authority.json"))}, log: new(bytes.Buffer)}
}

func (p *place) config() Config {
	return Config{
		TrustDomain: spiffeid.RequireTrustDomainFromString("shop.example"), Keys: p.ring, Store: p.store,
		Log: slog.New(slog.NewTextHandler(p.log, nil)),
	}
}

func (p *place) open(tb testing.TB, changes ...func(*Config)) *Authority {
	tb.Helper()
	config := p.config()
	for _, c := range changes {
		c(&config)
	}
	a, err := Open(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// fullStore is a store whose disk can be full.
type fullStore struct {
	Store
	full atomic.Bool
}

var errFull = errors.New("no space left on device")

func (s *fullStore) Save(ctx context.Context, state []byte, revision uint64) error {
	if s.full.Load() {
		return errFull
	}
	return s.Store.Save(ctx, state, revision)
}

func newPublic(tb testing.TB) crypto.PublicKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key.Public()
}

func serviceID(name string) spiffeid.ID {
	return spiffeid.RequireFromString("spiffe://shop.example/service/" + name)
}

// issue signs an SVID for a service and verifies it with go-spiffe and a bundle.
func issue(tb testing.TB, a *Authority, name string) (*X509SVID, *x509.Certificate) {
	tb.Helper()
	svid, err := a.SignX509(tb.Context(), X509Request{ID: serviceID(name), Public: newPublic(tb)})
	if err != nil {
		tb.Fatal(err)
	}
	if _, _, err := x509svid.ParseAndVerify(svid.Chain, a.Bundle(), x509svid.WithTime(time.Now())); err != nil {
		tb.Fatalf("the SVID does not verify: %v", err)
	}
	leaf, err := x509.ParseCertificate(svid.Chain[0])
	if err != nil {
		tb.Fatal(err)
	}
	return svid, leaf
}

// outside makes an upstream authority: its PEM chain (intermediate, root) and the key of the intermediate.
func outside(tb testing.TB, lifetime time.Duration, change func(*x509.Certificate)) ([]byte, crypto.Signer) {
	tb.Helper()
	domain := spiffeid.RequireTrustDomainFromString("corp.example")
	sign := func(role string, parent *x509.Certificate, parentKey crypto.Signer, pathLen int) (*x509.Certificate, crypto.Signer) {
		key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		template, err := caTemplate(domain, role, time.Now(), lifetime)
		if err != nil {
			tb.Fatal(err)
		}
		template.URIs, template.MaxPathLen = nil, pathLen
		if parent == nil {
			parent, parentKey = template, key
		} else {
			change(template)
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
		if err != nil {
			tb.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			tb.Fatal(err)
		}
		return cert, key
	}
	root, rootKey := sign("root", nil, nil, 2)
	middle, key := sign("issuing", root, rootKey, 1)
	var chain bytes.Buffer
	for _, cert := range []*x509.Certificate{middle, root} {
		_ = pem.Encode(&chain, &pem.Block{Type: blockCertificate, Bytes: cert.Raw})
	}
	return chain.Bytes(), key
}

// verify verifies an SVID with go-spiffe and somebody's bundle, now.
func verify(svid *X509SVID, bundle x509bundle.Source) (spiffeid.ID, error) {
	id, _, err := x509svid.ParseAndVerify(svid.Chain, bundle, x509svid.WithTime(time.Now()))
	return id, err
}
