package token

import (
	"encoding/json"
	"errors"
	"maps"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/palisade-security/palisade/model"
)

// read verifies a token with the published keys and returns header and claims.
func read(t *testing.T, d *Development, raw string) (jose.Header, map[string]any) {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(d.PublicJWKS(), &set); err != nil {
		t.Fatal(err)
	}
	parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	found := set.Key(parsed.Headers[0].KeyID)
	if len(found) != 1 || !found[0].IsPublic() || len(set.Keys) != 1 {
		t.Fatalf("%d keys", len(found))
	}
	var claims map[string]any
	if err := parsed.Claims(found[0], &claims); err != nil {
		t.Fatal(err)
	}
	return parsed.Headers[0], claims
}

// TestIssue holds what a token says.
func TestIssue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock of a bubble stands still
		d, err := CreateDevelopment(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		for _, c := range []struct {
			name   string
			claims Claims
			want   map[string]any
		}{
			{"plain", Claims{}, nil},
			{"roles", Claims{Roles: []string{"customer"}}, map[string]any{"roles": []any{"customer"}}},
			{
				"roles at a path",
				Claims{Roles: []string{"customer"}, RolesClaim: "realm_access.roles"},
				map[string]any{"realm_access": map[string]any{"roles": []any{"customer"}}},
			},
			{
				"roles at a URL",
				Claims{Roles: []string{"customer"}, RolesClaim: "https://shop.example/roles"},
				map[string]any{"https://shop.example/roles": []any{"customer"}},
			},
			{"scopes", Claims{Scopes: []string{"a", "b"}}, map[string]any{"scope": "a b"}},
			{"lifetime", Claims{Lifetime: 24 * time.Hour}, map[string]any{"exp": float64(now.Add(24 * time.Hour).Unix())}},
			{"issuer", Claims{Issuer: "https://x.test"}, map[string]any{"iss": "https://x.test"}},
			{"client", Claims{ClientID: "web"}, map[string]any{"client_id": "web"}},
			{
				"authentication",
				Claims{ACR: "phr", AMR: []string{"hwk"}, AuthTime: now},
				map[string]any{"acr": "phr", "amr": []any{"hwk"}, "auth_time": float64(now.Unix())},
			},
			{"extra", Claims{Extra: map[string]any{"tenant": "t1"}}, map[string]any{"tenant": "t1"}},
		} {
			c.claims.Subject, c.claims.Audience = "user-1", []string{"shop"}
			raw, err := d.Issue(c.claims)
			if err != nil {
				t.Fatal(err)
			}
			header, got := read(t, d, raw)
			if header.ExtraHeaders[jose.HeaderType] != "at+jwt" || header.Algorithm != "ES256" {
				t.Errorf("header %+v", header)
			}
			if id, _ := got["jti"].(string); len(id) < 22 {
				t.Errorf("jti %q", id)
			}
			delete(got, "jti")
			want := map[string]any{
				"iss": model.DevelopmentIssuer, "sub": "user-1", "aud": []any{"shop"}, "client_id": "palisade-cli",
				"iat": float64(now.Unix()), "exp": float64(now.Add(time.Hour).Unix()),
			}
			maps.Copy(want, c.want)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got  %v\nwant %v", c.name, got, want)
			}
		}
	})
}

// TestIssueRefuses holds what no token is made of.
func TestIssueRefuses(t *testing.T) {
	d, err := CreateDevelopment(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]Claims{
		"a subject is needed":                      {Audience: []string{"shop"}},
		"an audience is needed":                    {Subject: "u"},
		"a lifetime of 24h0m1s is not":             {Lifetime: MaxLifetime + time.Second},
		"a lifetime of -1h0m0s is not":             {Lifetime: -time.Hour},
		`"a b" is not one scope`:                   {Scopes: []string{"a b"}},
		`"exp" is written by the issuer itself`:    {Extra: map[string]any{"exp": 1}},
		`"nbf" is written by the issuer itself`:    {Extra: map[string]any{"nbf": 1}},
		`"roles" is written by the issuer itself`:  {Roles: []string{"a"}, Extra: map[string]any{"roles": "b"}},
		`"sub" is not a roles claim`:               {Roles: []string{"a"}, RolesClaim: "sub"},
		`"a..b" is not a roles claim`:              {Roles: []string{"a"}, RolesClaim: "a..b"},
		`"sub.roles" runs through another claim`:   {Roles: []string{"a"}, RolesClaim: "sub.roles"},
		"issuing a development token: json: unsup": {Extra: map[string]any{"x": func() {}}},
	} {
		if !strings.HasPrefix(want, "a subject") && !strings.HasPrefix(want, "an audience") {
			c.Subject, c.Audience = "u", []string{"shop"}
		}
		if raw, err := d.Issue(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, %v, want %s", raw, err, want)
		}
	}
}

// TestOpenDevelopment holds that only "palisade up" makes an issuer.
func TestOpenDevelopment(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if _, err := OpenDevelopment(dir); !errors.Is(err, ErrNoDevelopment) || !strings.Contains(err.Error(), "run palisade up first") {
		t.Errorf("got %v", err)
	}
	made, err := CreateDevelopment(dir)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := OpenDevelopment(dir)
	if err != nil || string(opened.PublicJWKS()) != string(made.PublicJWKS()) {
		t.Errorf("another issuer: %v", err)
	}
	if strings.Contains(string(made.PublicJWKS()), `"d"`) {
		t.Error("the private key is published")
	}
}
