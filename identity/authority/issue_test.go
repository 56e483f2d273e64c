package authority

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	"github.com/palisade-security/palisade/identity/revocation"
)

// TestX509SVID holds the form of an SVID (SPIFFE X509-SVID, sections 2 to 4).
func TestX509SVID(t *testing.T) {
	a := newPlace(t).open(t)
	svid, err := a.SignX509(t.Context(), X509Request{ID: serviceID("catalog"), Public: newPublic(t), DNSNames: []string{"catalog", "catalog.mesh.internal"}, Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(svid.Chain[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != "spiffe://shop.example/service/catalog" || !slices.Equal(leaf.DNSNames, []string{"catalog", "catalog.mesh.internal"}) {
		t.Errorf("names %v %v", leaf.URIs, leaf.DNSNames)
	}
	if leaf.IsCA || !leaf.BasicConstraintsValid || leaf.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("CA %v, usage %b", leaf.IsCA, leaf.KeyUsage)
	}
	if !slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}) {
		t.Errorf("extended usage %v", leaf.ExtKeyUsage)
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore); life < time.Hour || life > time.Hour+2*Backdate || leaf.SerialNumber.BitLen() < 64 || leaf.SerialNumber.Text(16) != svid.Serial {
		t.Errorf("life %s, serial %s", life, svid.Serial)
	}
	if leaf.Subject.OrganizationalUnit[0] != "node:n1" || !svid.NotAfter.Equal(leaf.NotAfter) {
		t.Errorf("subject %s, end %s", leaf.Subject, svid.NotAfter)
	}
	middle, err := x509.ParseCertificate(svid.Chain[1])
	if err != nil || len(svid.Chain) != 2 {
		t.Fatalf("chain of %d: %v", len(svid.Chain), err)
	}
	if !middle.IsCA || !middle.MaxPathLenZero || middle.URIs[0].String() != "spiffe://shop.example" || middle.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("the intermediate: %+v", middle)
	}
	issue(t, a, "orders")
}

// TestX509Refused holds what is not signed.
func TestX509Refused(t *testing.T) {
	a := newPlace(t).open(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := X509Request{ID: serviceID("catalog"), Public: edwards}
	if _, err := a.SignX509(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*X509Request){
		"no identity":        func(r *X509Request) { r.ID = spiffeid.ID{} },
		"other trust domain": func(r *X509Request) { r.ID = spiffeid.RequireFromString("spiffe://evil.example/service/catalog") },
		"no path":            func(r *X509Request) { r.ID = a.config.TrustDomain.ID() },
		"no key":             func(r *X509Request) { r.Public = nil },
		"weak RSA key":       func(r *X509Request) { r.Public = weak.Public() },
		"P-224":              func(r *X509Request) { r.Public = small.Public() },
		"broken Ed25519 key": func(r *X509Request) { r.Public = ed25519.PublicKey{1} },
		"too short":          func(r *X509Request) { r.TTL = time.Second },
		"too long":           func(r *X509Request) { r.TTL = MaxTTL + time.Second },
		"negative":           func(r *X509Request) { r.TTL = -time.Hour },
		"wildcard":           func(r *X509Request) { r.DNSNames = []string{"*.example"} },
		"upper case name":    func(r *X509Request) { r.DNSNames = []string{"Catalog"} },
		"empty name":         func(r *X509Request) { r.DNSNames = []string{""} },
		"a URI as name":      func(r *X509Request) { r.DNSNames = []string{"spiffe://shop.example/service/orders"} },
		"too many names":     func(r *X509Request) { r.DNSNames = slices.Repeat([]string{"a"}, 65) },
		"node with a line":   func(r *X509Request) { r.Node = "a\nb" },
	} {
		r := good
		change(&r)
		if _, err := a.SignX509(t.Context(), r); err == nil {
			t.Errorf("%s is signed", name)
		}
	}
}

// TestJWTSVID holds that go-spiffe takes our tokens for their audience and for no other.
func TestJWTSVID(t *testing.T) {
	a := newPlace(t).open(t)
	svid, err := a.SignJWT(t.Context(), JWTRequest{ID: serviceID("catalog"), Audiences: []string{"orders", "web"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := jwtsvid.ParseAndValidate(svid.Token, a.Bundle(), []string{"web"})
	if err != nil || got.ID != svid.ID || !slices.Equal(got.Audience, []string{"orders", "web"}) || !got.Expiry.Equal(svid.Expires) {
		t.Fatalf("%+v, %v", got, err)
	}
	if life := svid.Expires.Sub(svid.Issued); life != 5*time.Minute {
		t.Errorf("life %s", life)
	}
	if _, err := jwtsvid.ParseAndValidate(svid.Token, a.Bundle(), []string{"payments"}); err == nil {
		t.Error("another audience takes it")
	}
	if _, err := jwtsvid.ParseAndValidate(svid.Token, newPlace(t).open(t).Bundle(), []string{"web"}); err == nil {
		t.Error("another authority's bundle takes it")
	}
	for name, r := range map[string]JWTRequest{
		"no audience":    {ID: serviceID("a")},
		"empty audience": {ID: serviceID("a"), Audiences: []string{""}},
		"too many":       {ID: serviceID("a"), Audiences: slices.Repeat([]string{"a"}, 33)},
		"too long":       {ID: serviceID("a"), Audiences: []string{"a"}, TTL: 25 * time.Hour},
		"no path":        {ID: a.config.TrustDomain.ID(), Audiences: []string{"a"}},
	} {
		if _, err := a.SignJWT(t.Context(), r); err == nil {
			t.Errorf("%s is signed", name)
		}
	}
}

// TestRevoke follows an identity from revocation to restoration, through a restart.
func TestRevoke(t *testing.T) {
	p := newPlace(t)
	a := p.open(t)
	old, leaf := issue(t, a, "payments")
	changed := a.Watch()
	if err := a.Revoke(t.Context(), revocation.Service, "service/payments", "key stolen", "admin"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	default:
		t.Error("nobody is told")
	}
	a = p.open(t)
	_, err := a.SignX509(t.Context(), X509Request{ID: serviceID("payments"), Public: newPublic(t)})
	if !errors.Is(err, ErrRevoked) || !strings.Contains(err.Error(), "service/payments") {
		t.Errorf("an SVID for a revoked service: %v", err)
	}
	if _, err := a.SignJWT(t.Context(), JWTRequest{ID: serviceID("payments"), Audiences: []string{"a"}}); !errors.Is(err, ErrRevoked) {
		t.Errorf("a token for a revoked service: %v", err)
	}
	about := revocation.Subject{ID: old.ID, Serial: old.Serial, Begins: leaf.NotBefore}
	if _, refused := a.Revoked().Refuses(about); !refused {
		t.Error("the old SVID is not refused")
	}
	sequence := a.Revoked().Sequence()
	if err := a.Revoke(t.Context(), revocation.Service, "service/payments", "again", "admin"); err != nil || a.Revoked().Sequence() != sequence {
		t.Errorf("revoked twice: %v", err)
	}
	if err := a.Restore(t.Context(), revocation.Service, "service/payments"); err != nil {
		t.Fatal(err)
	}
	fresh, leaf := issue(t, a, "payments")
	if _, refused := a.Revoked().Refuses(revocation.Subject{ID: fresh.ID, Serial: fresh.Serial, Begins: leaf.NotBefore}); refused {
		t.Error("a new SVID is refused after it was restored")
	}
	if err := a.Restore(t.Context(), revocation.Service, "service/payments"); !errors.Is(err, ErrNotRevoked) {
		t.Errorf("restored twice: %v", err)
	}
	if err := a.Revoke(t.Context(), revocation.Node, "n1", "", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := a.SignX509(t.Context(), X509Request{ID: serviceID("web"), Public: newPublic(t), Node: "n1"}); !errors.Is(err, ErrRevoked) {
		t.Errorf("an SVID on a revoked node: %v", err)
	}
	if err := a.Revoke(t.Context(), revocation.Serial, fresh.Serial, "", ""); err != nil {
		t.Fatal(err)
	}
	if err := a.Restore(t.Context(), revocation.Serial, fresh.Serial); err != nil || len(a.Revoked().Entries()) != 2 {
		t.Errorf("%v, %v", err, a.Revoked().Entries())
	}
	for _, bad := range []string{"", "spiffe://evil.example/service/a", "spiffe://shop.example"} {
		if err := a.Revoke(t.Context(), revocation.Service, bad, "", ""); err == nil {
			t.Errorf("%q is revoked", bad)
		}
	}
}

// TestRevokeOnFullDisk holds that a revocation is in force although it cannot be stored, survives another's
// change, and is stored when there is room.
func TestRevokeOnFullDisk(t *testing.T) {
	p := newPlace(t)
	a, other := p.open(t), p.open(t)
	p.store.full.Store(true)
	if err := a.Revoke(t.Context(), revocation.Service, "service/payments", "", ""); !errors.Is(err, ErrNotDurable) || !errors.Is(err, errFull) {
		t.Fatal(err)
	}
	if _, barred := a.Revoked().Bars(serviceID("payments"), ""); !barred {
		t.Error("not in force")
	}
	if err := a.tick(t.Context(), a.now()); !errors.Is(err, errFull) {
		t.Errorf("the disk is still full: %v", err)
	}
	p.store.full.Store(false)
	if err := other.Revoke(t.Context(), revocation.Node, "n1", "", ""); err != nil {
		t.Fatal(err)
	}
	if err := a.tick(t.Context(), a.now()); err != nil {
		t.Fatal(err)
	}
	if entries := p.open(t).Revoked().Entries(); len(entries) != 2 {
		t.Errorf("stored: %v", entries)
	}
}

// TestStore holds that a state of another is not overwritten and that a damaged one is no first start.
func TestStore(t *testing.T) {
	p := newPlace(t)
	a, other := p.open(t), p.open(t)
	if err := a.Revoke(t.Context(), revocation.Node, "n1", "", ""); err != nil {
		t.Fatal(err)
	}
	if err := other.Revoke(t.Context(), revocation.Node, "n2", "", ""); err != nil {
		t.Fatal(err)
	}
	if got := len(p.open(t).Revoked().Entries()); got != 2 {
		t.Errorf("%d entries of two", got)
	}
	data, revision, err := p.store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.store.Save(t.Context(), data, revision-1); !errors.Is(err, ErrConflict) {
		t.Errorf("an old revision: %v", err)
	}
	for name, damage := range map[string][]byte{
		"empty": []byte("{}"), "another domain": bytes.ReplaceAll(data, []byte("shop.example"), []byte("evil.example")),
		"no roots": []byte(`{"format":1,"trust_domain":"shop.example"}`), "later format": []byte(`{"format":2}`),
	} {
		if err := p.store.Save(t.Context(), damage, revision); err != nil {
			t.Fatal(err)
		}
		revision++
		if _, err := Open(t.Context(), p.config()); err == nil {
			t.Errorf("%s: the authority opens", name)
		}
	}
}

// BenchmarkSignX509 shows SVIDs issued per second and core.
func BenchmarkSignX509(b *testing.B) {
	a := newPlace(b).open(b)
	r := X509Request{ID: serviceID("catalog"), Public: newPublic(b), DNSNames: []string{"catalog"}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.SignX509(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "svid/s")
}

// BenchmarkSignJWT shows JWT-SVIDs issued per second and core.
func BenchmarkSignJWT(b *testing.B) {
	a := newPlace(b).open(b)
	r := JWTRequest{ID: serviceID("catalog"), Audiences: []string{"orders"}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.SignJWT(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "svid/s")
}
