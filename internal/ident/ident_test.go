package ident_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/internal/ident"
)

func TestNames(t *testing.T) {
	for _, s := range []string{
		"orders", "max_cents", "createdAt", "api-key", "v1", "v2.1", "oauth2", "_links", "$filter", "line1", "sha256", "utf-8", "e", "deadbeat", "face",
		"iso8601"[:6], "customer.name", "x-tenant", "checkout-sessions", "well-known", "internationalisation-of-names", "getAllOrdersForCustomerAndSupplier",
	} {
		if !ident.Name(s) || ident.One(s) {
			t.Errorf("%q is no name", s)
		}
	}
	for _, s := range []string{
		"7", "4711", "12a", "2026-11-23", "2026", "user-10007", "550e8400-e29b-41d4-a716-446655440000", "550E8400E29B41D4A716446655440000",
		"01ARZ3NDEKTSV4RRFFQ69G5FAV", "a1b2c3d4", "0a1b2c3d", "someone@example.com", "a b", "ünï", "a=b", "a:b", "cus_NffrFeUfNV2Hib8x", "3f29c1a07be2",
		"dGhpcyBpcyA5OTk5IHNlY3JldA", strings.Repeat("a", 65),
	} {
		if ident.Name(s) || !ident.One(s) {
			t.Errorf("%q is a name", s)
		}
	}
	if ident.Name("") || ident.One("") || ident.Name("-a") || ident.Name(".") {
		t.Error("a name without a letter")
	}
}

func TestMedia(t *testing.T) {
	for _, s := range []string{"application/json", "application/problem+json", "application/vnd.shop.v2+json", "application/x-www-form-urlencoded", "multipart/form-data"} {
		if !ident.Media(s) {
			t.Errorf("%q is no media type", s)
		}
	}
	for _, s := range []string{
		"", "json", "application/", "/json", "*/*", "application/someone@example.com+json", "application/4711+json", "application/+json", "a/b/c",
		"application/" + strings.Repeat("a", 60) + "+json",
	} {
		if ident.Media(s) {
			t.Errorf("%q is a media type", s)
		}
	}
}

// TestMade holds that identifiers as programs make them are told from names.
func TestMade(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		n := r.Uint64()
		sum := sha256.Sum256([]byte(strconv.FormatUint(n, 10)))
		for _, s := range []string{
			strconv.FormatUint(n%1000, 10), strconv.FormatUint(n, 10), hex.EncodeToString(sum[:20]), "user-" + strconv.FormatUint(n%100_000+1000, 10),
			fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]),
		} {
			if ident.Name(s) || !ident.One(s) {
				t.Fatalf("%q is a name", s)
			}
		}
		if s := base64.RawURLEncoding.EncodeToString(sum[:]); ident.Name(s) && strings.ContainsAny(s, "0123456789") && digits(s) > 2 {
			t.Fatalf("%q is a name", s)
		}
	}
}

func digits(s string) (n int) {
	for _, c := range s {
		if c >= '0' && c <= '9' {
			n++
		}
	}
	return n
}

// FuzzName holds that nothing is both, and that a name is short and plain.
func FuzzName(f *testing.F) {
	for _, s := range []string{"orders", "4711", "550e8400-e29b-41d4-a716-446655440000", "a@b", "", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !ident.Name(s) {
			return
		}
		if ident.One(s) || len(s) > 64 || strings.ContainsAny(s, " /,:=*[]{}\"'\\\n\x00@") {
			t.Errorf("%q is a name", s)
		}
	})
}
