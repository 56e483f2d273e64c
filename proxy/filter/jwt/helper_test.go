package jwt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/field"
)

const (
	testIssuer   = "https://login.shop.example"
	testAudience = "https://api.shop.example"
)

// testNow is the time at which test tokens are looked at.
func testNow() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// testKeys are one key of each kind, and a second P-256 key that belongs to somebody else.
type testKeys struct {
	p256, p384, p521, foreign *ecdsa.PrivateKey
	rsa                       *rsa.PrivateKey
	ed                        ed25519.PrivateKey
}

// keysOnce makes the keys once for all tests: RSA keys are slow to find. The others are always the same, so
// that a token in a fuzz corpus stays well signed.
var keysOnce = sync.OnceValue(func() testKeys {
	ec := func(c elliptic.Curve, scalar byte) *ecdsa.PrivateKey {
		raw := make([]byte, (c.Params().BitSize+7)/8)
		raw[len(raw)-1], raw[1] = scalar, scalar
		return must(ecdsa.ParseRawPrivateKey(c, raw))
	}
	return testKeys{
		p256: ec(elliptic.P256(), 1), p384: ec(elliptic.P384(), 2), p521: ec(elliptic.P521(), 3), foreign: ec(elliptic.P256(), 4),
		rsa: must(rsa.GenerateKey(rand.Reader, 2048)), ed: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, ed25519.SeedSize)),
	}
})

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk encodes a public key, independently of the code under test.
func jwk(id, alg string, public crypto.PublicKey) map[string]any {
	out := map[string]any{"kid": id, "use": "sig"}
	if alg != "" {
		out["alg"] = alg
	}
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		point := must(k.Bytes())
		half := (len(point) - 1) / 2
		out["kty"], out["crv"] = "EC", k.Curve.Params().Name
		out["x"], out["y"] = b64(point[1:1+half]), b64(point[1+half:])
	case *rsa.PublicKey:
		out["kty"], out["n"], out["e"] = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	case ed25519.PublicKey:
		out["kty"], out["crv"], out["x"] = "OKP", "Ed25519", b64(k)
	}
	return out
}

// jwks encodes a set.
func jwks(keys ...map[string]any) []byte {
	return must(json.Marshal(map[string]any{"keys": keys}))
}

// testSet is the set of the test provider: ids are "p256", "p384", "p521", "rsa", "ed".
func testSet() []byte {
	k := keysOnce()
	return jwks(
		jwk("p256", "ES256", &k.p256.PublicKey), jwk("p384", "", &k.p384.PublicKey), jwk("p521", "", &k.p521.PublicKey),
		jwk("rsa", "", &k.rsa.PublicKey), jwk("ed", "EdDSA", k.ed.Public()),
	)
}

// testProvider is a provider with that set.
func testProvider() model.ResolvedProvider {
	return model.ResolvedProvider{
		Name: "login",
		Provider: model.Provider{
			Issuer: testIssuer, Audience: []string{testAudience, "https://other.shop.example"},
			Algorithms: []string{"ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA"},
			Claims:     map[string]string{"tenant": "string", "level": "long", "staff": "bool", "groups": "set"},
		},
		JWKS: testSet(),
	}
}

// testRoles are the declared roles: an admin is also a customer.
func testRoles() []model.ResolvedRole {
	return []model.ResolvedRole{
		{Name: "admin", Includes: []string{"admin", "customer"}}, {Name: "customer", Includes: []string{"customer"}},
	}
}

// newTest builds an Authenticator over providers at testNow.
func newTest(t testing.TB, providers ...model.ResolvedProvider) *Authenticator {
	t.Helper()
	a, err := New(Options{Fleet: "shop", Providers: providers, Roles: testRoles(), Now: testNow})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// claimsWith returns good claims with changes; a nil value removes one.
func claimsWith(changes map[string]any) map[string]any {
	now := testNow().Unix()
	out := map[string]any{
		"iss": testIssuer, "sub": "user-1", "aud": testAudience, "iat": now - 10, "exp": now + 600,
		"jti": "t-1", "client_id": "web", "roles": []string{"admin"}, "scope": "orders:write orders:read",
	}
	return merged(out, changes)
}

// merged returns a copy of base with changes; a nil value removes one.
func merged(base, changes map[string]any) map[string]any {
	out := maps.Clone(base)
	maps.Copy(out, changes)
	maps.DeleteFunc(out, func(_ string, v any) bool { return v == nil })
	return out
}

// headerWith returns a good ES256 header with changes; a nil value removes one.
func headerWith(changes map[string]any) map[string]any {
	return merged(map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": "p256"}, changes)
}

// signRaw signs header and payload as they are.
func signRaw(method gojwt.SigningMethod, private any, header, payload []byte) string {
	text := b64(header) + "." + b64(payload)
	return text + "." + b64(must(method.Sign(text, private)))
}

// sign signs with the test provider's P-256 key, whatever the header says.
func sign(header, claims map[string]any) string {
	return signRaw(gojwt.SigningMethodES256, keysOnce().p256, must(json.Marshal(header)), must(json.Marshal(claims)))
}

// goodToken is accepted by testProvider.
func goodToken() string { return sign(headerWith(nil), claimsWith(nil)) }

// requestWith is a request with Authorization fields.
func requestWith(values ...string) *proxy.Request {
	r := &proxy.Request{Body: proxy.NewBody(strings.NewReader(""), 0, 0)}
	r.Header = field.List{{Name: "Accept", Value: "*/*"}}
	for _, v := range values {
		r.Header.Add("Authorization", v)
	}
	return r
}
