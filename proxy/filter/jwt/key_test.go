package jwt

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"maps"
	"math/big"
	"strings"
	"testing"
)

// TestKeys holds which published keys are used, skipped or refuse the whole set.
func TestKeys(t *testing.T) {
	k := keysOnce()
	good := jwk("good", "", &k.p256.PublicKey)
	with := func(base map[string]any, changes map[string]any) map[string]any {
		out := maps.Clone(base)
		maps.Copy(out, changes)
		return out
	}
	rsaKey := jwk("rsa", "", &k.rsa.PublicKey)
	small := must(rsa.GenerateKey(rand.Reader, 1024))
	even := new(big.Int).Sub(k.rsa.N, big.NewInt(1))
	for _, c := range []struct {
		name string
		key  map[string]any
		ok   bool
	}{
		{"EC", good, true},
		{"RSA", rsaKey, true},
		{"Ed25519", jwk("ed", "EdDSA", k.ed.Public()), true},
		{"verify", with(good, map[string]any{"key_ops": []string{"verify"}}), true},
		{"without use", map[string]any{"kty": "EC", "crv": "P-256", "x": good["x"], "y": good["y"]}, true},
		{"for encryption", with(good, map[string]any{"use": "enc"}), false},
		{"for signing", with(good, map[string]any{"key_ops": []string{"sign"}}), false},
		{"use is a list", with(good, map[string]any{"use": []string{"sig"}}), false},
		{"symmetric", map[string]any{"kty": "oct", "kid": "s", "k": "c2VjcmV0", "alg": "HS256"}, false},
		{"symmetric algorithm", with(rsaKey, map[string]any{"alg": "HS256"}), false},
		{"algorithm none", with(rsaKey, map[string]any{"alg": "none"}), false},
		{"encryption algorithm", with(rsaKey, map[string]any{"alg": "RSA-OAEP"}), false},
		{"algorithm of another type", with(good, map[string]any{"alg": "RS256"}), false},
		{"algorithm of another curve", with(good, map[string]any{"alg": "ES384"}), false},
		{"off the curve", with(good, map[string]any{"y": good["x"]}), false},
		{"infinity", with(good, map[string]any{"x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))}), false},
		{"short coordinate", with(good, map[string]any{"x": b64(make([]byte, 31))}), false},
		{"curve missing", with(good, map[string]any{"crv": "secp256k1"}), false},
		{"RSA 1024", jwk("small", "", &small.PublicKey), false},
		{"RSA 16384", with(rsaKey, map[string]any{"n": b64(append([]byte{0x80}, make([]byte, 2047)...))}), false},
		{"RSA even", with(rsaKey, map[string]any{"n": b64(even.Bytes())}), false},
		{"RSA exponent 1", with(rsaKey, map[string]any{"e": "AQ"}), false},
		{"RSA exponent 3", with(rsaKey, map[string]any{"e": "Aw"}), false},
		{"RSA exponent even", with(rsaKey, map[string]any{"e": "AQAC"}), false},
		{"RSA exponent long", with(rsaKey, map[string]any{"e": b64(bytes.Repeat([]byte{1}, 300))}), false},
		{"RSA without modulus", with(rsaKey, map[string]any{"n": ""}), false},
		{"padding", with(rsaKey, map[string]any{"e": "AQAB===="}), false},
		{"X25519", map[string]any{"kty": "OKP", "crv": "X25519", "x": b64(make([]byte, 32))}, false},
		{"Ed25519 short", map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(make([]byte, 31))}, false},
		{"long id", with(good, map[string]any{"kid": strings.Repeat("k", 257)}), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Beside a key in use, and alone.
			set, err := parseKeySet(jwks(jwk("other", "", &k.p384.PublicKey), c.key))
			if err != nil || len(set.all) != map[bool]int{true: 2, false: 1}[c.ok] {
				t.Errorf("beside another: %v, %v", set, err)
			}
			if _, err := parseKeySet(jwks(c.key)); (err == nil) != c.ok {
				t.Errorf("alone: %v", err)
			}
		})
	}
}

// TestKeySets holds how documents as a whole are refused.
func TestKeySets(t *testing.T) {
	k := keysOnce()
	one, two := jwk("same", "", &k.p256.PublicKey), jwk("same", "", &k.foreign.PublicKey)
	many := make([]map[string]any, maxKeys+1)
	for i := range many {
		many[i] = one
	}
	for name, document := range map[string]string{
		"empty": ``, "null": `null`, "list": `[]`, "no keys": `{}`, "keys is an object": `{"keys":{}}`, "key is a string": `{"keys":["x"]}`,
		"keys twice": `{"keys":[],"keys":[]}`, "HTML": `<html></html>`, "two keys of one id": string(jwks(one, two)), "many": string(jwks(many...)),
	} {
		if _, err := parseKeySet([]byte(document)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	set, err := parseKeySet(jwks(one, one, jwk("same", "", &k.rsa.PublicKey)))
	if err != nil || len(set.all) != 2 {
		t.Errorf("a key repeated and a key of another kind under one id: %v, %v", set, err)
	}
	set = must(parseKeySet(jwks(jwk("a", "", &k.p256.PublicKey), jwk("b", "", &k.foreign.PublicKey))))
	if set.find("", algorithms()["ES256"]) != nil {
		t.Error("without a key id one of two keys is chosen")
	}
}
