package jwt

import (
	"encoding/json"
	"testing"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
)

// BenchmarkVerify is a token seen for the first time, by algorithm.
func BenchmarkVerify(b *testing.B) {
	k := keysOnce()
	a := newTest(b, testProvider())
	for _, c := range []struct {
		method  gojwt.SigningMethod
		private any
		kid     string
	}{
		{gojwt.SigningMethodES256, k.p256, "p256"},
		{gojwt.SigningMethodES384, k.p384, "p384"},
		{gojwt.SigningMethodRS256, k.rsa, "rsa"},
		{gojwt.SigningMethodPS256, k.rsa, "rsa"},
		{gojwt.SigningMethodEdDSA, k.ed, "ed"},
	} {
		header := must(json.Marshal(headerWith(map[string]any{"alg": c.method.Alg(), "kid": c.kid})))
		token := signRaw(c.method, c.private, header, must(json.Marshal(claimsWith(nil))))
		b.Run(c.method.Alg(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCached is the whole filter on a token seen before.
func BenchmarkCached(b *testing.B) {
	a := newTest(b, testProvider())
	f := a.ForRoute(model.ResolvedRoute{Providers: []string{"login"}})
	r := requestWith("Bearer " + goodToken())
	r.Trail = []event.Stage{{Name: event.StageAuthenticate}}
	b.ReportAllocs()
	for b.Loop() {
		r.Trail[0].Reasons = nil
		if err := f.Filter(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCachedParallel is the same from every core at once.
func BenchmarkCachedParallel(b *testing.B) {
	a := newTest(b, testProvider())
	token := goodToken()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := a.authenticate(b.Context(), token); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkParse is what comes before the signature: an attacker can make the gateway do this much.
func BenchmarkParse(b *testing.B) {
	a := newTest(b, testProvider())
	token := sign(headerWith(nil), claimsWith(map[string]any{"iss": "https://evil.example"}))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.verify(b.Context(), token); err == nil {
			b.Fatal("accepted")
		}
	}
}
