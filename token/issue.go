package token

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/palisade-security/palisade/model"
)

const (
	// DefaultLifetime is how long a token is valid that asks for nothing else.
	DefaultLifetime = time.Hour
	// MaxLifetime is the longest a development token may be valid.
	MaxLifetime = 24 * time.Hour

	developmentClient = "palisade-cli"
	defaultRolesClaim = "roles"
)

// Claims is what a development token says. Subject and Audience are required, the zero value of the rest is usable.
type Claims struct {
	Subject    string         // "sub"
	Audience   []string       // "aud"; a gateway wants its provider's, by default the name of the fleet
	Issuer     string         // "iss"; default model.DevelopmentIssuer
	Roles      []string       // written to RolesClaim
	RolesClaim string         // dotted path; default "roles"
	Scopes     []string       // "scope", space-separated (RFC 8693, section 4.2)
	ClientID   string         // "client_id"; default "palisade-cli"
	ACR        string         // "acr"
	AMR        []string       // "amr" (RFC 8176)
	AuthTime   time.Time      // "auth_time"
	Lifetime   time.Duration  // default one hour, at most 24
	Extra      map[string]any // further claims; none may repeat one that the issuer writes
}

// Issue makes an access token (RFC 9068) signed with ES256.
func (d *Development) Issue(c Claims) (string, error) {
	body, err := c.body(time.Now())
	if err != nil {
		return "", fmt.Errorf("issuing a development token: %w", err)
	}
	out, err := jwt.Signed(d.signer).Claims(body).Serialize()
	if err != nil {
		return "", fmt.Errorf("issuing a development token: %w", err)
	}
	return out, nil
}

// body builds the claims set.
func (c Claims) body(now time.Time) (map[string]any, error) {
	if c.Subject == "" {
		return nil, errors.New("a subject is needed")
	}
	if len(c.Audience) == 0 || slices.Contains(c.Audience, "") {
		return nil, errors.New("an audience is needed")
	}
	lifetime := c.Lifetime
	switch {
	case lifetime == 0:
		lifetime = DefaultLifetime
	case lifetime < time.Second || lifetime > MaxLifetime:
		return nil, fmt.Errorf("a lifetime of %s is not between 1s and %s", lifetime, MaxLifetime)
	}
	jti := make([]byte, 16)
	_, _ = rand.Read(jti) // never fails (crypto/rand)
	body := map[string]any{
		"iss":       cmp.Or(c.Issuer, model.DevelopmentIssuer),
		"sub":       c.Subject,
		"aud":       c.Audience,
		"iat":       now.Unix(),
		"exp":       now.Add(lifetime).Unix(),
		"jti":       base64.RawURLEncoding.EncodeToString(jti),
		"client_id": cmp.Or(c.ClientID, developmentClient),
	}
	if err := c.optional(body); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(c.Extra)) {
		if _, taken := body[name]; taken || name == "nbf" || name == "scp" {
			return nil, fmt.Errorf("the claim %q is written by the issuer itself", name)
		}
		body[name] = c.Extra[name]
	}
	return body, nil
}

// optional adds the claims that may be absent.
func (c Claims) optional(body map[string]any) error {
	if len(c.Roles) > 0 {
		if err := put(body, cmp.Or(c.RolesClaim, defaultRolesClaim), c.Roles); err != nil {
			return err
		}
	}
	if len(c.Scopes) > 0 {
		for _, scope := range c.Scopes {
			if scope == "" || strings.ContainsAny(scope, " \t\r\n") {
				return fmt.Errorf("%q is not one scope", scope)
			}
		}
		body["scope"] = strings.Join(c.Scopes, " ")
	}
	if c.ACR != "" {
		body["acr"] = c.ACR
	}
	if len(c.AMR) > 0 {
		body["amr"] = c.AMR
	}
	if !c.AuthTime.IsZero() {
		body["auth_time"] = c.AuthTime.Unix()
	}
	return nil
}

// put writes value at a dotted path and makes the objects on the way. A path that looks like a URL is one
// name: such claims are namespaced by their issuer.
func put(body map[string]any, path string, value any) error {
	if strings.Contains(path, "/") {
		body[path] = value
		return nil
	}
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		next, ok := body[name].(map[string]any)
		if _, taken := body[name]; taken && !ok {
			return fmt.Errorf("the roles claim %q runs through another claim", path)
		}
		if !ok {
			next = map[string]any{}
			body[name] = next
		}
		body = next
	}
	last := names[len(names)-1]
	if _, taken := body[last]; taken || slices.Contains(names, "") {
		return fmt.Errorf("%q is not a roles claim", path)
	}
	body[last] = value
	return nil
}
