package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"

	gojwt "github.com/golang-jwt/jwt/v5"
)

// algorithm is a signature algorithm (RFC 7518, section 3.1; RFC 8037) and the only keys that fit it. There is
// no entry for "none" and none for HMAC, so no configuration can allow them.
type algorithm struct {
	name   string
	method gojwt.SigningMethod
	fits   func(crypto.PublicKey) bool
}

// algorithms returns all that are supported, by name.
func algorithms() map[string]*algorithm {
	out := map[string]*algorithm{}
	for _, a := range []algorithm{
		{"ES256", gojwt.SigningMethodES256, onCurve(elliptic.P256())},
		{"ES384", gojwt.SigningMethodES384, onCurve(elliptic.P384())},
		{"ES512", gojwt.SigningMethodES512, onCurve(elliptic.P521())},
		{"RS256", gojwt.SigningMethodRS256, isRSA},
		{"RS384", gojwt.SigningMethodRS384, isRSA},
		{"RS512", gojwt.SigningMethodRS512, isRSA},
		{"PS256", strictPSS(gojwt.SigningMethodPS256), isRSA},
		{"PS384", strictPSS(gojwt.SigningMethodPS384), isRSA},
		{"PS512", strictPSS(gojwt.SigningMethodPS512), isRSA},
		{"EdDSA", gojwt.SigningMethodEdDSA, isEd25519},
	} {
		out[a.name] = &a
	}
	return out
}

// strictPSS drops golang-jwt's tolerance for salts of any length: RFC 7518, section 3.5 wants the hash's.
func strictPSS(m *gojwt.SigningMethodRSAPSS) gojwt.SigningMethod {
	return &gojwt.SigningMethodRSAPSS{SigningMethodRSA: m.SigningMethodRSA, Options: m.Options}
}

// onCurve accepts ECDSA keys on one curve.
func onCurve(curve elliptic.Curve) func(crypto.PublicKey) bool {
	return func(key crypto.PublicKey) bool {
		k, ok := key.(*ecdsa.PublicKey)
		return ok && k.Curve == curve
	}
}

func isRSA(key crypto.PublicKey) bool     { _, ok := key.(*rsa.PublicKey); return ok }
func isEd25519(key crypto.PublicKey) bool { _, ok := key.(ed25519.PublicKey); return ok }
