package jwt

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
)

// TestAlgorithms holds that each algorithm is accepted with its key.
func TestAlgorithms(t *testing.T) {
	k := keysOnce()
	p := testProvider()
	p.Algorithms = []string{"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"}
	a := newTest(t, p)
	for _, c := range []struct {
		method  gojwt.SigningMethod
		private any
		kid     string
	}{
		{gojwt.SigningMethodES256, k.p256, "p256"},
		{gojwt.SigningMethodES384, k.p384, "p384"},
		{gojwt.SigningMethodES512, k.p521, "p521"},
		{gojwt.SigningMethodRS256, k.rsa, "rsa"},
		{gojwt.SigningMethodRS384, k.rsa, "rsa"},
		{gojwt.SigningMethodRS512, k.rsa, "rsa"},
		{gojwt.SigningMethodPS256, k.rsa, "rsa"},
		{gojwt.SigningMethodPS384, k.rsa, "rsa"},
		{gojwt.SigningMethodPS512, k.rsa, "rsa"},
		{gojwt.SigningMethodEdDSA, k.ed, "ed"},
	} {
		// Only one key of the set serves each algorithm, so the key id may be left out.
		for _, kid := range []any{c.kid, nil} {
			header := must(json.Marshal(headerWith(map[string]any{"alg": c.method.Alg(), "kid": kid})))
			token := signRaw(c.method, c.private, header, must(json.Marshal(claimsWith(nil))))
			if _, err := a.authenticate(t.Context(), token); err != nil {
				t.Errorf("%s with key id %v: %v", c.method.Alg(), kid, err)
			}
		}
	}
}

// TestUser holds what of a token reaches policies.
func TestUser(t *testing.T) {
	now := testNow().Unix()
	for _, c := range []struct {
		name    string
		header  map[string]any
		claims  map[string]any
		prepare func(*model.ResolvedProvider)
		want    func(*proxy.User)
	}{
		{name: "plain"},
		{name: "typ in full", header: map[string]any{"typ": "application/AT+JWT"}},
		{name: "thumbprint", header: map[string]any{"x5t": "AAAA", "x5t#S256": "AAAA"}},
		{name: "typ as configured", header: map[string]any{"typ": "JWT"}, prepare: func(p *model.ResolvedProvider) { p.Types = []string{"jwt"} }},
		{name: "no typ where configured", header: map[string]any{"typ": nil}, prepare: func(p *model.ResolvedProvider) { p.Types = []string{""} }},
		{name: "audience in a list", claims: map[string]any{"aud": []string{"x", testAudience}}},
		{name: "within the skew", claims: map[string]any{"exp": now - 29, "iat": now - 60}, want: func(u *proxy.User) { u.Expires = testNow().Add(-29 * time.Second) }},
		{name: "fraction", claims: map[string]any{"iat": json.RawMessage("1763812345.123456789012")}},
		{name: "nbf within the skew", claims: map[string]any{"nbf": now + 30}},
		{name: "undeclared role", claims: map[string]any{"roles": []string{"root", "customer", "customer"}}, want: func(u *proxy.User) { u.Roles = []string{"customer"} }},
		{name: "role in other case", claims: map[string]any{"roles": []string{"Admin"}}, want: func(u *proxy.User) { u.Roles = nil }},
		{name: "one role as a string", claims: map[string]any{"roles": "customer"}, want: func(u *proxy.User) { u.Roles = []string{"customer"} }},
		{name: "no roles", claims: map[string]any{"roles": nil}, want: func(u *proxy.User) { u.Roles = nil }},
		{name: "roles of another shape", claims: map[string]any{"roles": map[string]any{"admin": true}}, want: func(u *proxy.User) { u.Roles = nil }},
		{
			name: "dotted path", claims: map[string]any{"realm_access": map[string]any{"roles": []string{"admin"}}},
			prepare: func(p *model.ResolvedProvider) { p.RolesClaim = "realm_access.roles" },
		},
		{
			name: "namespaced claim", claims: map[string]any{"https://shop.example/roles": []string{"customer"}},
			prepare: func(p *model.ResolvedProvider) { p.RolesClaim = "https://shop.example/roles" },
			want:    func(u *proxy.User) { u.Roles = []string{"customer"} },
		},
		{
			name: "role map", claims: map[string]any{"roles": []string{"staff", "admin", "ghosts"}},
			prepare: func(p *model.ResolvedProvider) {
				p.RoleMap = map[string]string{"staff": "customer", "ghosts": "undeclared"}
			},
			want: func(u *proxy.User) { u.Roles = []string{"customer"} },
		},
		{name: "scp list", claims: map[string]any{"scope": nil, "scp": []string{"b", "a", "a"}}, want: func(u *proxy.User) { u.Scopes = []string{"a", "b"} }},
		{name: "scp string", claims: map[string]any{"scope": nil, "scp": "a"}, want: func(u *proxy.User) { u.Scopes = []string{"a"} }},
		{name: "azp", claims: map[string]any{"client_id": nil, "azp": "spa"}, want: func(u *proxy.User) { u.ClientID = "spa" }},
		{
			name: "claims", claims: map[string]any{"tenant": "t1", "level": 3, "staff": true, "groups": []string{"x"}, "undeclared": 1},
			want: func(u *proxy.User) {
				u.Claims = map[string]any{"tenant": "t1", "level": int64(3), "staff": true, "groups": []string{"x"}}
			},
		},
		{
			name: "authentication", claims: map[string]any{"acr": "phr", "amr": []string{"hwk", "pin"}, "auth_time": now - 5},
			want: func(u *proxy.User) {
				u.ACR, u.AMR, u.AuthTime = "phr", []string{"hwk", "pin"}, testNow().Add(-5*time.Second)
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := testProvider()
			if c.prepare != nil {
				c.prepare(&p)
			}
			want := &proxy.User{
				Provider: "login", Issuer: testIssuer, Subject: "user-1", Roles: []string{"admin", "customer"},
				Scopes: []string{"orders:read", "orders:write"}, Claims: map[string]any{}, TokenID: "t-1", ClientID: "web",
				Expires: testNow().Add(10 * time.Minute),
			}
			if c.want != nil {
				c.want(want)
			}
			r := requestWith("Bearer " + sign(headerWith(c.header), claimsWith(c.claims)))
			if err := newTest(t, p).ForRoute(model.ResolvedRoute{}).Filter(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(r.User, want) {
				t.Errorf("got  %+v\nwant %+v", r.User, want)
			}
		})
	}
}

// TestMissing holds that no token is a 401 unless the route lets anyone in.
func TestMissing(t *testing.T) {
	a := newTest(t, testProvider())
	r := requestWith()
	err := a.ForRoute(model.ResolvedRoute{}).Filter(t.Context(), r)
	denial, ok := errors.AsType[*proxy.Denial](err)
	if !ok || denial.Kind != proxy.KindUnauthenticated || denial.Header.Get("WWW-Authenticate") != `Bearer realm="shop"` || denial.Reasons[0].Code != CodeMissing {
		t.Errorf("got %+v", err)
	}
	if err := a.ForRoute(model.ResolvedRoute{Anonymous: true}).Filter(t.Context(), r); err != nil || r.User != nil {
		t.Errorf("got %v and user %v on an anonymous route", err, r.User)
	}
	// The scheme is case-insensitive and any number of spaces may follow (RFC 9110, section 11.4).
	for _, prefix := range []string{"bearer ", "BEARER   "} {
		r := requestWith(prefix + goodToken())
		if err := a.ForRoute(model.ResolvedRoute{}).Filter(t.Context(), r); err != nil {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}

// TestProviders holds which providers are refused and why.
func TestProviders(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*model.ResolvedProvider)
		want   string
	}{
		{"no issuer", func(p *model.ResolvedProvider) { p.Issuer = "" }, "an issuer is needed"},
		{"no audience", func(p *model.ResolvedProvider) { p.Audience = nil }, "an audience is needed"},
		{"none", func(p *model.ResolvedProvider) { p.Algorithms = []string{"none"} }, `algorithm "none" is not supported`},
		{"HS256", func(p *model.ResolvedProvider) { p.Algorithms = []string{"ES256", "HS256"} }, `algorithm "HS256" is not supported`},
		{"skew", func(p *model.ResolvedProvider) { p.Skew = model.Duration(3 * time.Minute) }, "a skew of 3m0s is more than 2m0s"},
		{"claim type", func(p *model.ResolvedProvider) { p.Claims = map[string]string{"x": "float"} }, `claim "x": "float" is not one of`},
		{"plain http", func(p *model.ResolvedProvider) { p.JWKS, p.JWKSURL = nil, "http://login.shop.example/keys" }, "is not an https URL"},
		{"loopback http", func(p *model.ResolvedProvider) { p.JWKS, p.JWKSURL = nil, "http://127.0.0.1/keys" }, "is not an https URL"},
		{"file URL", func(p *model.ResolvedProvider) { p.JWKS, p.JWKSURL = nil, "file:///etc/passwd" }, "is not a URL to fetch keys from"},
		{"password in the URL", func(p *model.ResolvedProvider) { p.JWKS, p.JWKSURL = nil, "https://u:p@x.example" }, "is not a URL to fetch keys from"},
		{"issuer is no URL", func(p *model.ResolvedProvider) { p.JWKS, p.Issuer = nil, "urn:x" }, "is not a URL to fetch keys from"},
		{"no keys", func(p *model.ResolvedProvider) { p.JWKS = []byte(`{"keys":[]}`) }, "no usable key"},
		{"development's name", func(p *model.ResolvedProvider) { p.Issuer = model.DevelopmentIssuer }, "is reserved for development"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := testProvider()
			c.change(&p)
			_, err := New(Options{Providers: []model.ResolvedProvider{p}})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `provider "login"`) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	same := testProvider()
	same.Name = "second"
	if _, err := New(Options{Providers: []model.ResolvedProvider{testProvider(), same}}); err == nil {
		t.Error("two providers of one issuer are accepted")
	}
}

// TestDevelopment holds that a development provider is believed under "palisade up" alone.
func TestDevelopment(t *testing.T) {
	p := testProvider()
	p.Name, p.Issuer, p.Development, p.JWKS = "dev", model.DevelopmentIssuer, true, nil
	token := sign(headerWith(nil), claimsWith(map[string]any{"iss": model.DevelopmentIssuer}))
	for _, honoured := range []bool{true, false} {
		a, err := New(Options{Providers: []model.ResolvedProvider{p}, Now: testNow, Development: honoured, DevelopmentKeys: testSet()})
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.authenticate(t.Context(), token)
		if got := err == nil; got != honoured {
			t.Errorf("honoured %v: got %v", honoured, err)
		}
	}
	if _, err := New(Options{Providers: []model.ResolvedProvider{p}, Development: true}); err == nil {
		t.Error("a development provider without keys is accepted")
	}
}

// TestCache holds that a remembered token is not believed longer than a new one.
func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		a, err := New(Options{Providers: []model.ResolvedProvider{testProvider()}})
		if err != nil {
			t.Fatal(err)
		}
		token := sign(headerWith(nil), claimsWith(map[string]any{"iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}))
		first, err := a.authenticate(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := a.authenticate(t.Context(), token); again != first {
			t.Error("the token is not remembered")
		}
		a.Forget()
		revoked, _ := a.authenticate(t.Context(), token)
		if revoked == first {
			t.Error("a revocation does not forget")
		}
		p := a.providers[testIssuer]
		p.fixed.Store(must(parseKeySet(testSet())))
		rotated, err := a.authenticate(t.Context(), token)
		if rotated == revoked || err != nil {
			t.Errorf("new keys do not forget: %v", err)
		}
		p.fixed.Store(must(parseKeySet(jwks(jwk("p256", "ES256", &keysOnce().foreign.PublicKey)))))
		if _, err := a.authenticate(t.Context(), token); err == nil {
			t.Error("a token of a withdrawn key is believed")
		}
		p.fixed.Store(must(parseKeySet(testSet())))
		time.Sleep(time.Minute + defaultSkew - time.Second)
		if _, err := a.authenticate(t.Context(), token); err != nil {
			t.Errorf("within the skew: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := a.authenticate(t.Context(), token); err == nil {
			t.Error("a remembered token outlives its exp")
		}
	})
}

// TestCacheBound holds that the cache keeps its size, its index and its hot entries.
func TestCacheBound(t *testing.T) {
	c := newCache(64)
	hot := tokenID{0, 1}
	c.put(hot, &verified{})
	for i := range 10_000 {
		id := tokenID{byte(i), byte(i >> 8), 2}
		c.put(id, &verified{})
		if i%3 == 0 {
			c.drop(id, c.get(id))
		}
		if c.get(hot) == nil {
			t.Fatalf("the hot entry is gone after %d", i)
		}
	}
	total := 0
	for i := range c.shard {
		s := &c.shard[i]
		total += len(s.slots)
		for id, at := range s.index {
			if s.slots[at].id != id || s.slots[at].value == nil {
				t.Fatalf("shard %d: the index points at another entry", i)
			}
		}
	}
	if total > 64 {
		t.Errorf("%d slots, want at most 64", total)
	}
}
