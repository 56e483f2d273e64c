package jwt

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/palisade-security/palisade/proxy"
)

const (
	maxSubject = 512             // bytes; OpenID Connect Core, section 2, allows 255
	maxSeconds = 253_402_300_799 // the last second of the year 9999
)

// claimSet is the payload of a token.
type claimSet map[string]any

// text returns a string claim. Absent and null are "" (RFC 7519 knows no null, issuers do).
func (c claimSet) text(name string) (string, error) {
	switch v := c[name].(type) {
	case nil:
		return "", nil
	case string:
		if len(v) > maxSubject || strings.ContainsFunc(v, unicode.IsControl) {
			return "", refuse(CodeMalformed, "a claim is too long or holds control characters: "+name)
		}
		return v, nil
	default:
		return "", refuse(CodeWrongClaim, "a claim is not a string: "+name)
	}
}

// list returns a claim that is a string or an array of strings.
func (c claimSet) list(name string) ([]string, error) {
	switch v := c[name].(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		out := make([]string, len(v))
		for i := range v {
			s, ok := v[i].(string)
			if !ok {
				return nil, refuse(CodeWrongClaim, "a claim holds something else than strings: "+name)
			}
			out[i] = s
		}
		return out, nil
	default:
		return nil, refuse(CodeWrongClaim, "a claim is neither a string nor a list: "+name)
	}
}

// date returns a NumericDate (RFC 7519, section 2); ok is false if the claim is absent. It is read as a
// decimal number of seconds, without a detour over floating point and without exponents.
func (c claimSet) date(name string) (at time.Time, ok bool, err error) {
	v, present := c[name]
	if !present {
		return time.Time{}, false, nil
	}
	n, isNumber := v.(number)
	if !isNumber {
		return time.Time{}, false, refuse(CodeWrongClaim, "a date is not a number: "+name)
	}
	whole, fraction, _ := strings.Cut(string(n), ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || whole[0] == '-' || seconds > maxSeconds || strings.ContainsAny(fraction, "eE") {
		return time.Time{}, false, refuse(CodeMalformed, "a date is out of range: "+name)
	}
	nanos, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if err != nil {
		return time.Time{}, false, refuse(CodeMalformed, "a date is out of range: "+name)
	}
	return time.Unix(seconds, nanos).UTC(), true, nil
}

// checkTimes verifies exp, nbf and iat against now (RFC 7519, section 4.1.4 to 4.1.6) and returns exp.
func (c claimSet) checkTimes(now time.Time, skew time.Duration) (time.Time, error) {
	exp, ok, err := c.date("exp")
	if err != nil {
		return exp, err
	}
	if !ok {
		return exp, refuse(CodeMissingClaim, "the token has no exp")
	}
	exp = exp.Truncate(time.Second) // as most readers do; never longer than the issuer meant
	if !now.Before(exp.Add(skew)) {
		return exp, refuse(CodeExpired, "the token has expired")
	}
	for _, name := range []string{"nbf", "iat"} {
		at, ok, err := c.date(name)
		if err != nil {
			return exp, err
		}
		if ok && at.After(now.Add(skew)) {
			return exp, refuse(CodeNotYet, "the token is not valid yet: "+name)
		}
		if ok && at.After(exp) {
			return exp, refuse(CodeMalformed, "the token ends before it begins: "+name)
		}
	}
	return exp, nil
}

// checkAudience verifies that the token is meant for us (RFC 7519, section 4.1.3).
func (c claimSet) checkAudience(accepted []string) error {
	aud, err := c.list("aud")
	if err != nil {
		return err
	}
	if len(aud) == 0 {
		return refuse(CodeMissingClaim, "the token has no aud")
	}
	if !slices.ContainsFunc(aud, func(a string) bool { return slices.Contains(accepted, a) }) {
		return refuse(CodeWrongAudience, "the token is meant for another audience")
	}
	return nil
}

// user reads who the token names. Times, issuer and audience have been checked.
func (p *provider) user(c claimSet, expires time.Time) (*proxy.User, error) {
	u := &proxy.User{Provider: p.name, Issuer: p.issuer, Expires: expires, Roles: p.rolesOf(c)}
	client := "client_id"
	if c[client] == nil {
		client = "azp" // OpenID Connect Core, section 2: what issuers wrote before RFC 9068
	}
	for _, m := range []struct {
		name string
		to   *string
	}{{"sub", &u.Subject}, {"jti", &u.TokenID}, {client, &u.ClientID}, {"acr", &u.ACR}} {
		var err error
		if *m.to, err = c.text(m.name); err != nil {
			return nil, err
		}
	}
	if u.Subject == "" {
		return nil, refuse(CodeMissingClaim, "the token has no sub")
	}
	var err error
	if u.AMR, err = c.list("amr"); err != nil {
		return nil, err
	}
	if u.AuthTime, _, err = c.date("auth_time"); err != nil {
		return nil, err
	}
	if u.Scopes, err = c.scopes(); err != nil {
		return nil, err
	}
	u.Claims, err = declared(c, p.claimNames, p.claims)
	return u, err
}

// scopes reads "scope" (RFC 8693, section 4.2), or "scp" as some issuers name it. Each may be one string with
// spaces or a list. The result is sorted.
func (c claimSet) scopes() ([]string, error) {
	name := "scope"
	if c[name] == nil {
		name = "scp"
	}
	values, err := c.list(name)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, v := range values {
		for s := range strings.SplitSeq(v, " ") {
			if s != "" {
				out = append(out, s)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// declared keeps the claims of these names, which a provider declares, with their types. One of another type than
// declared refuses the token: left out, it could silence a policy that forbids.
func declared(c claimSet, names []string, types map[string]string) (map[string]any, error) {
	if len(names) == 0 {
		return nil, nil
	}
	out := make(map[string]any, len(names))
	for _, name := range names {
		raw, ok := lookup(c, name)
		if !ok || raw == nil {
			continue
		}
		v, ok := convert(raw, types[name])
		if !ok {
			return nil, refuse(CodeWrongClaim, "a claim is not of its declared type: "+name)
		}
		out[name] = v
	}
	return out, nil
}

// convert reads a claim as a declared type. Nothing is coerced.
func convert(raw any, typ string) (any, bool) {
	switch typ {
	case "string":
		s, ok := raw.(string)
		return s, ok
	case "bool":
		b, ok := raw.(bool)
		return b, ok
	case "long":
		n, ok := raw.(number)
		if !ok {
			return nil, false
		}
		i, err := strconv.ParseInt(string(n), 10, 64)
		return i, err == nil
	case "set":
		list, err := claimSet{"": raw}.list("")
		return list, err == nil
	default:
		return nil, false
	}
}
