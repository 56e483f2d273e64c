package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// keySet writes keys as a set.
func keySet(t *testing.T, keys ...jose.JSONWebKey) string {
	t.Helper()
	data, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestPublishedKeys(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wide, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own, err := NewTransactions("shop.example", key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := PublishedKeys(own.JWKS())
	if err != nil || len(got) != 1 || `{"keys":[`+string(got[0])+`]}` != string(own.JWKS()) {
		t.Fatalf("our own: %s, %v", got, err)
	}
	// Whatever id a key bears, it is published under its thumbprint: a taken edge cannot make two keys share one.
	renamed, err := PublishedKeys([]byte(keySet(t, jose.JSONWebKey{Key: key.Public(), KeyID: "another's"})))
	if err != nil || string(renamed[0]) != string(got[0]) {
		t.Errorf("renamed: %s, %v", renamed, err)
	}
	many := make([]jose.JSONWebKey, maxPublished+1)
	for i := range many {
		many[i] = jose.JSONWebKey{Key: key.Public()}
	}
	for name, jwks := range map[string]string{
		"no JSON": "x", "no object": `[1]`, "a number": `{"keys":[1]}`, "no key": `{"keys":[{}]}`, "text": `{"keys":["x"]}`,
		"too many": keySet(t, many...), "another curve": keySet(t, jose.JSONWebKey{Key: wide.Public()}),
		"symmetric": keySet(t, jose.JSONWebKey{Key: []byte("secret")}), "private": keySet(t, jose.JSONWebKey{Key: key}),
		"off the curve": `{"keys":[{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`,
		"deep":          `{"keys":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`,
	} {
		if got, err := PublishedKeys([]byte(jwks)); err == nil {
			t.Errorf("%s: taken as %s", name, got)
		}
	}
}

// FuzzPublishedKeys holds that what is taken is taken again as the same.
func FuzzPublishedKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`))
	f.Add([]byte(`{"keys":[1]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := PublishedKeys(data)
		if err != nil {
			return
		}
		set, err := json.Marshal(map[string]any{"keys": got})
		if err != nil {
			t.Fatal(err)
		}
		again, err := PublishedKeys(set)
		if err != nil || len(again) != len(got) {
			t.Fatalf("%s is not taken again: %v", set, err)
		}
		for i := range got {
			if string(got[i]) != string(again[i]) {
				t.Fatalf("%s became %s", got[i], again[i])
			}
		}
	})
}
