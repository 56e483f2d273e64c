package jwt

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/token"
)

const testDomain = "shop.example"

// transactionTokens forges transaction tokens of the test domain.
func transactionTokens() forge {
	now := testNow().Unix()
	about := map[string]any{"provider": "login", "iss": testIssuer, "roles": []string{"admin", "ghost"}}
	f := forge{
		issuer: "spiffe://" + testDomain, audience: testDomain, typ: transactionType,
		base: map[string]any{
			"iss": "spiffe://" + testDomain, "aud": testDomain, "iat": now - 10, "exp": now + 110, "txn": "t-1", "sub": "user-1",
			"scope": "b a", "req_wl": "spiffe://" + testDomain + "/edge/edge", "tctx": about,
			"rctx": map[string]any{"client_id": "web", "jti": "outside-1", "acr": "phr", "amr": []string{"hwk"}, "auth_time": now - 60},
		},
		declared: func(claims map[string]any) map[string]any {
			return map[string]any{"tctx": merged(about, map[string]any{"claims": claims})}
		},
		codes: map[string]string{"iss of the other provider": CodeWrongIssuer},
	}
	// These are refused before their key is looked for, since no other algorithm than ES256 is allowed.
	for _, name := range []string{
		"key of another algorithm", "PSS with a short salt", "RSA zero", "RSA one", "RSA modulus", "RSA empty", "Ed25519 zero",
		"Ed25519 short", "Ed25519 empty",
	} {
		f.codes[name] = CodeAlgorithm
	}
	return f
}

// newTransactions builds a verifier with the test keys at testNow.
func newTransactions(t testing.TB, o TransactionOptions) *Transactions {
	t.Helper()
	o.Fleet, o.TrustDomain, o.Providers, o.Roles = "shop", testDomain, []model.ResolvedProvider{testProvider()}, testRoles()
	if o.JWKS == nil {
		o.JWKS = testSet()
	}
	if o.Now == nil {
		o.Now = testNow
	}
	tx, err := NewTransactions(o)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// carrying is a request with transaction tokens.
func carrying(tokens ...string) *proxy.Request {
	r := requestWith()
	for _, v := range tokens {
		r.Header.Add(transactionField, v)
	}
	r.Trail = []event.Stage{{Name: event.StageAuthenticate}}
	return r
}

// ofTransaction moves what was sent as a bearer token to where transaction tokens travel.
func ofTransaction(attacks []attack) []attack {
	for i := range attacks {
		attacks[i].value = strings.TrimPrefix(attacks[i].value, "Bearer ")
	}
	return attacks
}

// TestTransactionAttacks holds that what gets no access token in gets no transaction token in either.
func TestTransactionAttacks(t *testing.T) {
	f := transactionTokens()
	now := testNow().Unix()
	own := []attack{
		f.withHeader("typ of an access token", map[string]any{"typ": "at+jwt"}, CodeType),
		{"access token", goodToken(), CodeWrongIssuer},
		f.withClaims("access token of our issuer", map[string]any{"tctx": nil, "txn": nil, "client_id": "web", "roles": []string{"admin"}}, CodeMissingClaim),
		f.withClaims("for others, too", map[string]any{"aud": []string{testDomain, "other.example"}}, CodeWrongAudience),
		f.withClaims("for another domain", map[string]any{"aud": "other.example"}, CodeWrongAudience),
		f.withClaims("for the issuer's name", map[string]any{"aud": f.issuer}, CodeWrongAudience),
		f.withClaims("of another domain", map[string]any{"iss": "spiffe://other.example"}, CodeWrongIssuer),
		f.withClaims("of a workload", map[string]any{"iss": f.issuer + "/service/web"}, CodeWrongIssuer),
		f.withClaims("of the bare domain", map[string]any{"iss": testDomain}, CodeWrongIssuer),
		f.withClaims("no iat", map[string]any{"iat": nil}, CodeMissingClaim),
		f.withClaims("lives too long", map[string]any{"exp": now + 291}, CodeTooLong),
		f.withClaims("lives for ever", map[string]any{"exp": now + 1e8}, CodeTooLong),
		f.withClaims("no txn", map[string]any{"txn": nil}, CodeMissingClaim),
		f.withClaims("txn is a number", map[string]any{"txn": 1}, CodeWrongClaim),
		f.withClaims("no tctx", map[string]any{"tctx": nil}, CodeMissingClaim),
		f.withClaims("tctx is a list", map[string]any{"tctx": []string{"login"}}, CodeWrongClaim),
		f.withClaims("rctx is a string", map[string]any{"rctx": "web"}, CodeWrongClaim),
		f.withClaims("no provider", map[string]any{"tctx": map[string]any{"iss": testIssuer}}, CodeMissingClaim),
		f.withClaims("no outside issuer", map[string]any{"tctx": map[string]any{"provider": "login"}}, CodeMissingClaim),
		f.withClaims("provider with a bar", map[string]any{"tctx": map[string]any{"iss": testIssuer, "provider": "login|user-1"}}, CodeMalformed),
		f.withClaims("claims are a list", map[string]any{"tctx": map[string]any{"iss": testIssuer, "provider": "login", "claims": []string{"x"}}}, CodeWrongClaim),
		f.withClaims("auth_time is a string", map[string]any{"rctx": map[string]any{"auth_time": "now"}}, CodeWrongClaim),
		f.withClaims("amr holds a number", map[string]any{"rctx": map[string]any{"amr": []any{1}}}, CodeWrongClaim),
		f.withClaims("acr with a line break", map[string]any{"rctx": map[string]any{"acr": "a\nb"}}, CodeMalformed),
		{"two in one field", f.good() + ", " + f.good(), CodeMalformed},
		{"empty", "", CodeMalformed},
	}
	tx := newTransactions(t, TransactionOptions{})
	attacks := append(ofTransaction(append(f.attacks("https://evil.example"), own...)), attack{"a scheme before it", "Bearer " + f.good(), CodeMalformed})
	for _, at := range attacks {
		t.Run(at.name, func(t *testing.T) {
			r := carrying(at.value)
			checkTransactionRefused(t, r, tx.ForRoute(model.ResolvedRoute{}).Filter(t.Context(), r), at.code)
		})
	}
	r := carrying(f.good())
	if err := tx.filter(t.Context(), r); err != nil || r.User == nil {
		t.Errorf("the good token is refused too: %v", err)
	}
	if len(attacks) < 200 {
		t.Errorf("only %d attacks", len(attacks))
	}
}

func checkTransactionRefused(t *testing.T, r *proxy.Request, err error, code string) {
	t.Helper()
	denial, ok := errors.AsType[*proxy.Denial](err)
	if !ok {
		t.Fatalf("got %v, want a denial for %s", err, code)
	}
	if r.User != nil {
		t.Error("a user was set")
	}
	if len(denial.Reasons) != 1 || denial.Reasons[0].Code != code {
		t.Errorf("reasons %+v, want %s", denial.Reasons, code)
	}
	if denial.Kind != proxy.KindInvalidToken || denial.Detail != "The transaction token is malformed, expired or not accepted here." {
		t.Errorf("the caller learns %q, %q", denial.Kind.Slug, denial.Detail)
	}
	if got := denial.Header.Get("WWW-Authenticate"); got != `Txn-Token realm="shop", error="invalid_token"` {
		t.Errorf("WWW-Authenticate: %s", got)
	}
}

// TestTransactionFields holds where a transaction token may stand, and that no other credentials are looked at.
func TestTransactionFields(t *testing.T) {
	good := transactionTokens().good()
	tx := newTransactions(t, TransactionOptions{})
	for name, c := range map[string]struct {
		header field.List
		code   string // "": passes
		user   bool
	}{
		"one":                       {field.List{{Name: "Txn-Token", Value: good}}, "", true},
		"in other case":             {field.List{{Name: "txn-token", Value: good}}, "", true},
		"none":                      {nil, "", false},
		"two":                       {field.List{{Name: "Txn-Token", Value: good}, {Name: "txn-token", Value: good}}, CodeDuplicateTransaction, false},
		"two, the first empty":      {field.List{{Name: "Txn-Token"}, {Name: "Txn-Token", Value: good}}, CodeDuplicateTransaction, false},
		"as a bearer token":         {field.List{{Name: "Authorization", Value: "Bearer " + good}}, CodeMisplaced, false},
		"as a bearer token, too":    {field.List{{Name: "Txn-Token", Value: good}, {Name: "Authorization", Value: "bearer  " + good}}, CodeMisplaced, false},
		"as credentials":            {field.List{{Name: "authorization", Value: good}}, CodeMisplaced, false},
		"as a parameter":            {field.List{{Name: "Authorization", Value: `DPoP token="` + good + `", x=1`}}, CodeMisplaced, false},
		"in a second field":         {field.List{{Name: "Authorization", Value: "Basic eDp5"}, {Name: "Authorization", Value: "Bearer " + good}}, CodeMisplaced, false},
		"beside an access token":    {field.List{{Name: "Txn-Token", Value: good}, {Name: "Authorization", Value: "Bearer " + goodToken()}}, "", true},
		"beside Basic":              {field.List{{Name: "Txn-Token", Value: good}, {Name: "Authorization", Value: "Basic eDp5"}}, "", true},
		"an access token alone":     {field.List{{Name: "Authorization", Value: "Bearer " + goodToken()}}, "", false},
		"an opaque token":           {field.List{{Name: "Authorization", Value: "Bearer a.b.c"}}, "", false},
		"in a field of like length": {field.List{{Name: "Txn-Tokem", Value: good}}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := carrying()
			r.Header = c.header
			err := tx.filter(t.Context(), r)
			if c.code != "" {
				checkTransactionRefused(t, r, err, c.code)
				return
			}
			want := CodeNoTransaction
			if c.user {
				want = CodeTransaction
			}
			if err != nil || (r.User != nil) != c.user || len(r.Trail[0].Reasons) != 1 || r.Trail[0].Reasons[0].Code != want {
				t.Errorf("got %v, user %v, reasons %v", err, r.User, r.Trail[0].Reasons)
			}
		})
	}
	a := newTest(t, testProvider())
	r := requestWith("Bearer " + good)
	checkRefused(t, r, a.ForRoute(model.ResolvedRoute{Anonymous: true}).Filter(t.Context(), r), CodeWrongIssuer)
	p := testProvider()
	p.Issuer, p.Audience = "spiffe://"+testDomain, []string{testDomain}
	r = requestWith("Bearer " + good)
	checkRefused(t, r, newTest(t, p).ForRoute(model.ResolvedRoute{}).Filter(t.Context(), r), CodeType)
}

// TestTransactionUser holds what of a token reaches policies.
func TestTransactionUser(t *testing.T) {
	f := transactionTokens()
	for _, c := range []struct {
		name   string
		claims map[string]any
		want   func(*proxy.User)
	}{
		{name: "plain"},
		{name: "no scope", claims: map[string]any{"scope": nil}, want: func(u *proxy.User) { u.Scopes = nil }},
		{
			name: "nothing about the request", claims: map[string]any{"rctx": nil},
			want: func(u *proxy.User) { u.ClientID, u.TokenID, u.ACR, u.AMR, u.AuthTime = "", "", "", nil, time.Time{} },
		},
		{
			name: "claims", claims: f.declared(map[string]any{"tenant": "t1", "level": 3, "staff": true, "groups": []string{"x"}, "undeclared": 1}),
			want: func(u *proxy.User) {
				u.Claims = map[string]any{"tenant": "t1", "level": int64(3), "staff": true, "groups": []string{"x"}}
			},
		},
		{
			name: "a provider that is not known here", claims: map[string]any{"tctx": map[string]any{"provider": "new", "iss": "https://new", "claims": map[string]any{"tenant": "t1"}}},
			want: func(u *proxy.User) { u.Provider, u.Issuer, u.Roles, u.Claims = "new", "https://new", nil, nil },
		},
		{name: "audience in a list", claims: map[string]any{"aud": []string{testDomain}}},
		{name: "outside names at the top do not count", claims: map[string]any{"roles": []string{"customer"}, "client_id": "x", "acr": "y", "tenant": "z"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := &proxy.User{
				Provider: "login", Issuer: testIssuer, Subject: "user-1", Roles: []string{"admin", "customer"}, Scopes: []string{"a", "b"},
				Claims: map[string]any{}, TokenID: "outside-1", ClientID: "web", ACR: "phr", AMR: []string{"hwk"},
				AuthTime: testNow().Add(-time.Minute), Expires: testNow().Add(110 * time.Second),
			}
			if c.want != nil {
				c.want(want)
			}
			r := carrying(sign(f.header(nil), f.claims(c.claims)))
			if err := newTransactions(t, TransactionOptions{}).filter(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(r.User, want) {
				t.Errorf("got  %+v\nwant %+v", r.User, want)
			}
		})
	}
}

// TestTransactionIssued verifies what the real issuer makes.
func TestTransactionIssued(t *testing.T) {
	issuer, err := token.NewTransactions(testDomain, keysOnce().p256)
	if err != nil {
		t.Fatal(err)
	}
	tx := newTransactions(t, TransactionOptions{JWKS: issuer.JWKS()})
	now := testNow()
	raw, err := issuer.For(nil, &token.Transaction{
		Subject: "user-1", Provider: "login", Issuer: testIssuer, Roles: []string{"customer"}, Claims: map[string]any{"level": int64(3), "groups": []string{"a", "b"}},
		Scopes: []string{"a", "b"}, ClientID: "web", TokenID: "t-1", ACR: "high", AMR: []string{"pwd", "otp"}, AuthTime: now.Add(-time.Minute),
		Workload: model.EdgeID(testDomain),
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	r := carrying(raw)
	if err := tx.filter(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	want := &proxy.User{
		Provider: "login", Issuer: testIssuer, Subject: "user-1", Roles: []string{"customer"}, Scopes: []string{"a", "b"},
		Claims: map[string]any{"level": int64(3), "groups": []string{"a", "b"}}, TokenID: "t-1", ClientID: "web", ACR: "high",
		AMR: []string{"pwd", "otp"}, AuthTime: now.Add(-time.Minute), Expires: now.Add(token.TransactionLifetime),
	}
	if !reflect.DeepEqual(r.User, want) {
		t.Errorf("got  %+v\nwant %+v", r.User, want)
	}
	if maxTransaction < token.TransactionLifetime {
		t.Error("what is issued is refused")
	}
}

// TestTransactionRotation changes keys under load: whoever comes with a key that is published all along gets through.
func TestTransactionRotation(t *testing.T) {
	k := keysOnce()
	f := transactionTokens()
	header := must(json.Marshal(f.header(map[string]any{"kid": "next"})))
	first, second := f.good(), signRaw(gojwt.SigningMethodES256, k.foreign, header, must(json.Marshal(f.claims(nil))))
	one, two := jwk("p256", "ES256", &k.p256.PublicKey), jwk("next", "ES256", &k.foreign.PublicKey)
	tx := newTransactions(t, TransactionOptions{JWKS: jwks(one)})
	verify := func(token, code string) {
		t.Helper()
		r := carrying(token)
		if err := tx.filter(t.Context(), r); code != "" {
			checkTransactionRefused(t, r, err, code)
		} else if err != nil || r.User == nil {
			t.Errorf("refused: %v", err)
		}
	}
	verify(first, "")
	verify(second, CodeUnknownKey)
	remembered, _ := tx.a.authenticate(t.Context(), first)
	if err := tx.SetKeys(jwks(one)); err != nil {
		t.Fatal(err)
	}
	if again, _ := tx.a.authenticate(t.Context(), first); again != remembered {
		t.Error("the same keys once more forget what is known")
	}
	for _, broken := range []string{"", "{}", `{"keys":[{"kty":"oct","k":"AAAA"}]}`} {
		if tx.SetKeys([]byte(broken)) == nil {
			t.Errorf("%q is taken for a key set", broken)
		}
	}
	verify(first, "")

	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					verify(first, "")
				}
			}
		})
	}
	for range 50 {
		for _, set := range [][]byte{jwks(one, two), jwks(two, one), jwks(one)} {
			if err := tx.SetKeys(set); err != nil {
				t.Error(err)
			}
		}
	}
	close(done)
	wg.Wait()
	_ = tx.SetKeys(jwks(two, one))
	verify(first, "")
	verify(second, "")
	_ = tx.SetKeys(jwks(two))
	verify(first, CodeUnknownKey)
	verify(second, "")
}

// TestTransactionCache holds that a remembered token is believed no longer than a new one.
func TestTransactionCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tx := newTransactions(t, TransactionOptions{Now: time.Now})
		f, now := transactionTokens(), time.Now()
		raw := sign(f.header(nil), f.claims(map[string]any{"iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}))
		first, err := tx.a.authenticate(t.Context(), raw)
		if again, _ := tx.a.authenticate(t.Context(), raw); err != nil || again != first {
			t.Error("the token is not remembered", err)
		}
		tx.Forget()
		if again, _ := tx.a.authenticate(t.Context(), raw); again == first {
			t.Error("the token is remembered all the same")
		}
		time.Sleep(time.Minute + defaultSkew)
		r := carrying(raw)
		checkTransactionRefused(t, r, tx.filter(t.Context(), r), CodeExpired)
	})
}

func TestTransactionOptions(t *testing.T) {
	for name, o := range map[string]TransactionOptions{
		"no domain":   {JWKS: testSet()},
		"broken keys": {TrustDomain: testDomain, JWKS: []byte(`{"keys":[1]}`)},
	} {
		if _, err := NewTransactions(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestTransactionWithoutKeys holds that no token is good before keys are known, and that one is then.
func TestTransactionWithoutKeys(t *testing.T) {
	tx, err := NewTransactions(TransactionOptions{TrustDomain: testDomain})
	if err != nil {
		t.Fatal(err)
	}
	f, now := transactionTokens(), time.Now()
	raw := sign(f.header(nil), f.claims(map[string]any{"iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}))
	if err := tx.filter(t.Context(), carrying(raw)); err == nil {
		t.Error("a token is good without a key")
	}
	if err := tx.SetKeys(testSet()); err != nil {
		t.Fatal(err)
	}
	if err := tx.filter(t.Context(), carrying(raw)); err != nil {
		t.Error(err)
	}
	if err := tx.SetKeys([]byte(`{"keys":[]}`)); err != nil { // they were all revoked
		t.Fatal(err)
	}
	if err := tx.filter(t.Context(), carrying(raw)); err == nil {
		t.Error("a token is good although its key is gone")
	}
}

// FuzzTransaction feeds any fields: nothing panics, and what is accepted, both foreign libraries accept too.
func FuzzTransaction(f *testing.F) {
	tx := newTransactions(f, TransactionOptions{})
	tokens := transactionTokens()
	f.Add(tokens.good(), "")
	f.Add(tokens.good(), "Bearer "+tokens.good())
	f.Add("", `DPoP x="`+tokens.good()+`"`)
	for _, at := range ofTransaction(tokens.attacks("https://evil.example")) {
		f.Add(at.value, "Basic eDp5")
	}
	f.Fuzz(func(t *testing.T, token, credentials string) {
		r := carrying(token)
		r.Header.Add("Authorization", credentials)
		differTransaction(t, tx, r, token)
	})
}

// FuzzTransactionClaims signs any header and payload, so that what stands behind the signature is reached.
func FuzzTransactionClaims(f *testing.F) {
	tx := newTransactions(f, TransactionOptions{})
	tokens := transactionTokens()
	header := must(json.Marshal(tokens.header(nil)))
	f.Add(header, must(json.Marshal(tokens.claims(nil))))
	f.Add(header, must(json.Marshal(tokens.claims(tokens.declared(map[string]any{"tenant": "t", "level": 1, "groups": []string{"a"}})))))
	f.Add(header, []byte(`{"iss":"spiffe://shop.example","aud":"shop.example","iat":1795348800,"exp":1795348860,"txn":"1","sub":"u","tctx":{"provider":"p","iss":"i","roles":"admin"},"rctx":null}`))
	f.Fuzz(func(t *testing.T, header, payload []byte) {
		raw := signRaw(gojwt.SigningMethodES256, keysOnce().p256, header, payload)
		differTransaction(t, tx, carrying(raw), raw)
	})
}

// differTransaction decides about a request and, if a user comes of it, verifies the token with golang-jwt and go-jose.
func differTransaction(t *testing.T, tx *Transactions, r *proxy.Request, raw string) {
	t.Helper()
	if err := tx.filter(t.Context(), r); err != nil {
		if _, ok := errors.AsType[*proxy.Denial](err); !ok || r.User != nil {
			t.Fatalf("undecided: %v", err)
		}
		return
	}
	claims := gojwt.MapClaims{}
	parsed, err := gojwt.ParseWithClaims(raw, claims, func(*gojwt.Token) (any, error) { return &keysOnce().p256.PublicKey, nil },
		gojwt.WithValidMethods([]string{"ES256"}), gojwt.WithStrictDecoding(), gojwt.WithExpirationRequired(), gojwt.WithIssuedAt(),
		gojwt.WithIssuer("spiffe://"+testDomain), gojwt.WithAudience(testDomain), gojwt.WithSubject(r.User.Subject),
		gojwt.WithLeeway(defaultSkew), gojwt.WithTimeFunc(testNow))
	if err != nil {
		t.Fatalf("golang-jwt refuses what was accepted: %v", err)
	}
	if typ, _ := parsed.Header["typ"].(string); mediaType(typ) != transactionType || strings.Contains(r.User.Provider, "|") {
		t.Fatalf("type %q, provider %q", typ, r.User.Provider)
	}
	other, err := josejwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatalf("go-jose cannot parse what was accepted: %v", err)
	}
	var body josejwt.Claims
	if err := other.Claims(&keysOnce().p256.PublicKey, &body); err != nil || body.Subject != r.User.Subject {
		t.Fatalf("go-jose: %v, subject %q", err, body.Subject)
	}
	for _, role := range r.User.Roles {
		if !slices.ContainsFunc(testRoles(), func(d model.ResolvedRole) bool { return d.Name == role }) {
			t.Fatalf("role %q is not declared", role)
		}
	}
}

// BenchmarkTransaction is the whole filter: on a token seen before, and on one seen for the first time.
func BenchmarkTransaction(b *testing.B) {
	good := transactionTokens().good()
	for name, size := range map[string]int{"cached": 0, "new": -1} {
		tx := newTransactions(b, TransactionOptions{CacheSize: size})
		r := carrying(good)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Trail[0].Reasons = nil
				if err := tx.filter(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestCachedTransactionDoesNotAllocate holds the common request of a sidecar to no allocation.
func TestCachedTransactionDoesNotAllocate(t *testing.T) {
	tx := newTransactions(t, TransactionOptions{})
	r, ctx := carrying(transactionTokens().good()), t.Context()
	if n := testing.AllocsPerRun(100, func() {
		r.Trail[0].Reasons = nil
		if err := tx.filter(ctx, r); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
