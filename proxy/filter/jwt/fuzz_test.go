package jwt

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"

	jose "github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	gojwt "github.com/golang-jwt/jwt/v5"
)

// FuzzJWT feeds any token: nothing panics, and what is accepted, both foreign libraries accept too.
func FuzzJWT(f *testing.F) {
	a := newTest(f, testProvider())
	f.Add(goodToken())
	f.Add(signRaw(gojwt.SigningMethodEdDSA, keysOnce().ed, must(json.Marshal(headerWith(map[string]any{"alg": "EdDSA", "kid": "ed"}))), must(json.Marshal(claimsWith(nil)))))
	for _, at := range accessTokens().attacks("https://evil.example") {
		if token, ok, _ := bearer(requestWith(at.value).Header); ok {
			f.Add(token)
		}
	}
	f.Fuzz(func(t *testing.T, token string) { differ(t, a, token) })
}

// FuzzClaims signs any header and payload with the right key, so that what stands behind the signature is reached.
func FuzzClaims(f *testing.F) {
	a := newTest(f, testProvider())
	header := must(json.Marshal(headerWith(nil)))
	payload := must(json.Marshal(claimsWith(map[string]any{"nbf": 1, "groups": []string{"a"}, "x": map[string]any{"y": []any{1.5, nil, true}}})))
	f.Add(header, payload)
	f.Add(header, []byte(`{"iss":"https://login.shop.example","sub":"\ud83d\ude00","aud":["https://api.shop.example"],"exp":1795348800.5,"nbf":null}`))
	f.Add([]byte(`{"alg":"ES256","typ":"application/at+jwt"}`), payload)
	f.Add([]byte(`{"alg":"ES256","kid":"p256","typ":"at+jwt","alg":"none"}`), payload)
	f.Fuzz(func(t *testing.T, header, payload []byte) {
		differ(t, a, signRaw(gojwt.SigningMethodES256, keysOnce().p256, header, payload))
	})
}

// differ verifies a token here and, if it is accepted, with golang-jwt and with go-jose.
func differ(t *testing.T, a *Authenticator, token string) {
	t.Helper()
	v, err := a.verify(t.Context(), token)
	if err != nil {
		if _, ok := errors.AsType[*tokenError](err); !ok {
			t.Fatalf("undecided: %v", err)
		}
		return
	}
	algs := []string{"ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA"}
	claims := gojwt.MapClaims{}
	_, err = gojwt.ParseWithClaims(token, claims, func(tok *gojwt.Token) (any, error) {
		kid, _ := tok.Header["kid"].(string)
		if k := v.keys.find(kid, algorithms()[tok.Method.Alg()]); k != nil {
			return k.public, nil
		}
		return nil, errors.New("no key")
	}, gojwt.WithValidMethods(algs), gojwt.WithStrictDecoding(), gojwt.WithExpirationRequired(), gojwt.WithIssuedAt(),
		gojwt.WithIssuer(testIssuer), gojwt.WithAudience(v.provider.audience...), gojwt.WithLeeway(defaultSkew), gojwt.WithTimeFunc(testNow))
	if err != nil {
		t.Fatalf("golang-jwt refuses what was accepted: %v", err)
	}
	if sub, err := claims.GetSubject(); err != nil || sub != v.user.Subject {
		t.Fatalf("golang-jwt reads another subject: %q, %q", sub, v.user.Subject)
	}
	differJose(t, v, token)
}

// differJose verifies with go-jose.
func differJose(t *testing.T, v *verified, token string) {
	t.Helper()
	parsed, err := josejwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.RS256, jose.PS256, jose.EdDSA})
	if err != nil {
		t.Fatalf("go-jose cannot parse what was accepted: %v", err)
	}
	h := parsed.Headers[0]
	var claims josejwt.Claims
	if err := parsed.Claims(v.keys.find(h.KeyID, algorithms()[h.Algorithm]).public, &claims); err != nil {
		t.Fatalf("go-jose refuses what was accepted: %v", err)
	}
	err = claims.ValidateWithLeeway(josejwt.Expected{Issuer: testIssuer, AnyAudience: v.provider.audience, Time: testNow()}, defaultSkew)
	if err != nil || claims.Subject != v.user.Subject || claims.ID != v.user.TokenID {
		t.Fatalf("go-jose reads other claims: %v, %+v", err, claims)
	}
}

// FuzzJSON holds that what the strict reader accepts, encoding/json reads to the same values.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":[1,-0,1.5e-3,true,false,null,"\u00e9\ud83d\ude00\n\/"],"b":{"c":{}}}`, `{"a":1,"a":2}`, `{"a":"\ud800"}`,
		` {"a" : [ ] , "b" : { } } `, `{"a":01}`, `{"a":1e999}`, `[]`, "{\"\xff\":1}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseObject(data, tokenBounds())
		if err != nil {
			return
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		var want map[string]any
		if err := d.Decode(&want); err != nil {
			t.Fatalf("encoding/json refuses what was accepted: %v", err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			t.Fatal("encoding/json finds more")
		}
		if !same(got, want) {
			t.Fatalf("got %#v, encoding/json %#v", got, want)
		}
	})
}

// same compares values of both readers.
func same(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for name := range a {
			if v, ok := b[name]; !ok || !same(a[name], v) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !same(a[i], b[i]) {
				return false
			}
		}
		return true
	case number:
		b, ok := b.(json.Number)
		return ok && string(a) == string(b)
	default:
		return a == b
	}
}

// FuzzJWKS feeds any key set.
func FuzzJWKS(f *testing.F) {
	f.Add(testSet())
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := parseKeySet(data)
		if err == nil && len(set.all) == 0 {
			t.Fatal("a set without keys is accepted")
		}
	})
}
