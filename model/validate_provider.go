package model

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

func (c *checker) providers() {
	issuers := map[string]string{}
	for _, name := range sortedKeys(c.Fleet.Providers) {
		key, p := join("providers", name), c.Fleet.Providers[name]
		if !IsName(name) {
			c.failKey("bad-name", key, badName(name), "")
		}
		c.issuer(key, p)
		issuer := p.Issuer
		if issuer == "" && p.Development {
			issuer = DevelopmentIssuer
		}
		if other, taken := issuers[issuer]; taken && issuer != "" {
			c.collide("duplicate-issuer", key, other, "two providers have the issuer "+quote(redactURL(issuer)), "a token names its issuer; make one provider with all audiences")
		} else {
			issuers[issuer] = key
		}
		c.keys(key, p)
		c.blanks(key+".audience", p.Audience)
		c.blanks(key+".types", p.Types)
		if p.Skew > MaxSkew {
			c.fail("out-of-range", key+".skew", "clocks may differ by at most 2m", "set the clocks")
		}
		roles := sortedKeys(c.Fleet.Roles)
		for _, value := range sortedKeys(p.RoleMap) {
			c.known("role", join(key+".role_map", value), p.RoleMap[value], roles)
		}
		if slices.Contains(strings.Split(or(p.RolesClaim, DefaultRolesClaim), "."), "") {
			c.fail("bad-claim", key+".roles_claim", quote(p.RolesClaim)+" is not a dotted path such as realm_access.roles", "")
		}
		for _, claim := range sortedKeys(p.Claims) {
			if claim == "" || len(claim) > 128 || strings.ContainsFunc(claim, func(r rune) bool { return r <= ' ' || r == '"' }) {
				c.failKey("bad-claim", join(key+".claims", claim), "expected the name of a claim", "")
			}
		}
	}
}

func (c *checker) issuer(key string, p Provider) {
	_, wrote := c.places[key+".issuer"]
	if p.Development {
		if p.JWKSURL != "" {
			c.fail("development-keys", key+".jwks_url", "a development provider has keys of its own", "remove jwks_url, or development")
		}
		return
	}
	if p.Issuer == "" && !wrote {
		c.failKey("missing-key", key, `key "issuer" is missing; expected the exact "iss" of its tokens, an https URL`, `or write development: true for "palisade up"`)
	}
	if p.Issuer != "" {
		c.https(key+".issuer", p.Issuer)
	}
	if len(p.Audience) == 0 {
		c.failKey("missing-key", key, `key "audience" is missing; expected what must be in "aud"`, "without it a token made for another service would be accepted here")
	}
}

func (c *checker) keys(key string, p Provider) {
	if p.JWKSURL != "" && p.JWKSFile != "" {
		c.fail("jwks-both", key, "expected jwks_url or jwks_file, found both", "remove one of them")
	}
	if p.JWKSURL != "" {
		c.https(key+".jwks_url", p.JWKSURL)
	}
}

// https checks a URL that must not be changed on its way, such as an issuer or the place of its keys.
func (c *checker) https(key, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		c.fail("bad-url", key, fmt.Sprintf("%q is not an https URL", redactURL(text)), "write https://host/path")
	case u.Scheme != "https":
		c.fail("plain-http", key, fmt.Sprintf("%q is not an https URL", redactURL(text)), "who can change the answer can forge tokens; write https://")
	case u.Fragment != "" || u.User != nil:
		c.fail("bad-url", key, "expected an https URL without user and fragment", "")
	}
}
