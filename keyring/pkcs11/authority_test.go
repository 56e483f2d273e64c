//go:build pkcs11 && cgo

package pkcs11

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/palisade-security/palisade/identity/authority"
)

// TestAuthority runs an authority all of whose keys are in the token: root, intermediate, JWT-SVIDs.
func TestAuthority(t *testing.T) {
	uri := softHSM(t)
	keys, err := Open(uri)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = keys.Close() }()
	a, err := authority.Open(t.Context(), authority.Config{
		TrustDomain: spiffeid.RequireTrustDomainFromString("shop.example"), Keys: keys, Log: slog.New(slog.DiscardHandler),
		Store: authority.NewFileStore(filepath.Join(t.TempDir(), "authority.json")),
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := spiffeid.RequireFromString("spiffe://shop.example/service/catalog")
	svid, err := a.SignX509(t.Context(), authority.X509Request{ID: id, Public: key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := x509svid.ParseAndVerify(svid.Chain, a.Bundle()); err != nil {
		t.Error(err)
	}
	token, err := a.SignJWT(t.Context(), authority.JWTRequest{ID: id, Audiences: []string{"orders"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jwtsvid.ParseAndValidate(token.Token, a.Bundle(), []string{"orders"}); err != nil {
		t.Error(err)
	}
}
