package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

func transactions(t testing.TB) *Transactions {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := NewTransactions("shop.example", key)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func TestTransaction(t *testing.T) {
	tx := transactions(t)
	now := time.Now()
	raw, err := tx.For(nil, &Transaction{
		Subject: "user-1", Provider: "main", Issuer: "https://issuer.example", Roles: []string{"customer"}, Claims: map[string]any{"tenant": "north"},
		Scopes: []string{"a", "b"}, ACR: "high", AMR: []string{"pwd"}, AuthTime: now, Workload: "spiffe://shop.example/edge/public", TokenID: "t1",
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(tx.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(tx.JWKS()), `"d"`) {
		t.Error("the private key is published")
	}
	parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	if typ := parsed.Headers[0].ExtraHeaders[jose.HeaderType]; typ != TransactionType {
		t.Errorf("got type %v", typ)
	}
	var claims map[string]any
	if err := parsed.Claims(set.Keys[0].Key, &claims); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"iss": "spiffe://shop.example", "aud": "shop.example", "sub": "user-1", "scope": "a b", "req_wl": "spiffe://shop.example/edge/public",
		"iat": float64(now.Unix()), "exp": float64(now.Add(TransactionLifetime).Unix()),
	} {
		if claims[name] != want {
			t.Errorf("%s: got %v, want %v", name, claims[name], want)
		}
	}
	context, _ := claims["tctx"].(map[string]any)
	if context["provider"] != "main" || context["iss"] != "https://issuer.example" {
		t.Errorf("got tctx %v", context)
	}
}

// TestTransactionReuse holds that a token serves the same key for a while and never past half of its life.
func TestTransactionReuse(t *testing.T) {
	tx := transactions(t)
	now := time.Now()
	get := func(key any, expires, at time.Time) string {
		t.Helper()
		raw, err := tx.For(key, &Transaction{Subject: "user-1", Expires: expires}, at)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	type key struct{ user string }
	first := get(key{"a"}, time.Time{}, now)
	if get(key{"a"}, time.Time{}, now.Add(9*time.Second)) != first {
		t.Error("the token is not reused")
	}
	if get(key{"b"}, time.Time{}, now) == first {
		t.Error("another key gets the same token")
	}
	if get(key{"a"}, time.Time{}, now.Add(10*time.Second)) == first {
		t.Error("the token is reused too long")
	}
	short := get(key{"c"}, now.Add(4*time.Second), now)
	if get(key{"c"}, now.Add(4*time.Second), now.Add(2*time.Second)) == short {
		t.Error("a token is reused past half of its life")
	}
	for _, x := range []*Transaction{{}, {Subject: "u", Expires: now}} {
		if raw, err := tx.For(nil, x, now); err == nil {
			t.Errorf("%+v: got %q", x, raw)
		}
	}
	if n := len(tx.reuse.kept); n > 3 {
		t.Errorf("%d tokens are kept", n)
	}
}

func BenchmarkTransactionReused(b *testing.B) {
	tx := transactions(b)
	x := &Transaction{Subject: "user-1"}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tx.For(x, x, now); err != nil {
			b.Fatal(err)
		}
	}
}
