package jwt

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
)

const (
	defaultSkew  = 30 * time.Second
	maxSkew      = 2 * time.Minute
	defaultRoles = "roles"
)

// provider is a compiled model.ResolvedProvider. It is immutable but for the keys of its source.
type provider struct {
	name, issuer string
	audience     []string
	algorithms   map[string]*algorithm
	types        []string // media types in one spelling; "" admits tokens without "typ"
	skew         time.Duration
	rolesClaim   string
	roles        map[string][]string // value of the claim to declared roles with all they include
	claims       map[string]string   // declared claims by type
	claimNames   []string            // their names, sorted
	accepted     []event.Reason

	fixed  atomic.Pointer[keySet] // keys that were handed in
	source *source                // or from the network

	// read finds the user in the claims of a token that is good in every other respect.
	read func(c claimSet, expires time.Time) (*proxy.User, error)
}

// keys returns the keys in force, nil if there are none yet.
func (p *provider) keys() *keySet {
	if p.source != nil {
		return p.source.keys.Load()
	}
	return p.fixed.Load()
}

// newProvider compiles a provider. It returns nil without an error for a development provider where none is honoured.
func newProvider(o *Options, m *model.ResolvedProvider) (*provider, error) {
	if m.Development && !o.Development {
		return nil, nil
	}
	p := &provider{
		name: m.Name, issuer: m.Issuer, audience: slices.Clone(m.Audience),
		skew: m.Skew.Std(), rolesClaim: m.RolesClaim,
		claims: maps.Clone(m.Claims), claimNames: slices.Sorted(maps.Keys(m.Claims)),
		accepted: []event.Reason{{
			Code: CodeVerified, Text: "the token is valid", Data: map[string]string{"provider": m.Name},
		}},
	}
	if p.skew == 0 {
		p.skew = defaultSkew
	}
	if p.rolesClaim == "" {
		p.rolesClaim = defaultRoles
	}
	p.roles = roleTable(m.RoleMap, o.Roles)
	p.read = p.user
	return p, errors.Join(p.check(), p.setAlgorithms(m), p.setTypes(m.Types), p.setKeys(o, m))
}

// check refuses what would make the provider believe too much.
func (p *provider) check() error {
	var errs []error
	if p.issuer == "" {
		errs = append(errs, errors.New("an issuer is needed"))
	}
	if len(p.audience) == 0 || slices.Contains(p.audience, "") {
		errs = append(errs, errors.New("an audience is needed"))
	}
	if p.skew < 0 || p.skew > maxSkew {
		errs = append(errs, fmt.Errorf("a skew of %s is more than %s", p.skew, maxSkew))
	}
	for _, name := range p.claimNames {
		switch p.claims[name] {
		case "string", "long", "bool", "set":
		default:
			errs = append(errs, fmt.Errorf("claim %q: %q is not one of string, long, bool, set", name, p.claims[name]))
		}
	}
	return errors.Join(errs...)
}

// setAlgorithms keeps the allowed algorithms.
func (p *provider) setAlgorithms(m *model.ResolvedProvider) error {
	names := m.Algorithms
	if len(names) == 0 {
		names = []string{"ES256", "RS256", "PS256", "EdDSA"}
	}
	all := algorithms()
	p.algorithms = map[string]*algorithm{}
	for _, name := range names {
		if all[name] == nil {
			return fmt.Errorf("algorithm %q is not supported; use %s", name, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
		}
		p.algorithms[name] = all[name]
	}
	return nil
}

// setTypes keeps the accepted values of "typ".
func (p *provider) setTypes(types []string) error {
	if len(types) == 0 {
		types = []string{"at+jwt"}
	}
	for _, typ := range types {
		if strings.ContainsAny(typ, " \t\r\n") {
			return fmt.Errorf("%q is not a token type", typ)
		}
		p.types = append(p.types, mediaType(typ))
	}
	return nil
}

// setKeys finds where the keys come from: the development issuer, a file, a URL, or the issuer's metadata.
func (p *provider) setKeys(o *Options, m *model.ResolvedProvider) (err error) {
	switch {
	case !m.Development && p.issuer == model.DevelopmentIssuer:
		return fmt.Errorf("the issuer %q is reserved for development", p.issuer)
	case len(m.JWKS) > 0:
		return p.fix(m.JWKS)
	case m.Development && m.JWKSURL == "":
		return p.fix(o.DevelopmentKeys)
	case m.JWKSURL != "":
		err = checkURL(m.JWKSURL, o.LoopbackHTTP)
	default:
		err = checkURL(p.issuer, o.LoopbackHTTP)
	}
	if err != nil {
		return err
	}
	p.source = newSource(o, p.name, p.issuer, m.JWKSURL)
	if o.Previous == nil {
		return nil
	}
	for _, old := range o.Previous.sources {
		if old.issuer == p.source.issuer && old.jwksURL == p.source.jwksURL {
			p.source.keys.Store(old.keys.Load())
		}
	}
	return nil
}

// fix takes keys that are handed in. Broken ones leave those before in force.
func (p *provider) fix(jwks []byte) error {
	set, err := parseKeySet(jwks)
	if err != nil {
		return err
	}
	if !set.equal(p.fixed.Load()) {
		p.fixed.Store(set)
	}
	return nil
}

// checkURL accepts https, and http to a loopback address if loopback is set.
func checkURL(raw string, loopback bool) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%q is not a URL to fetch keys from", raw)
	}
	if u.Scheme == "https" || u.Scheme == "http" && loopback && isLoopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%q is not an https URL", raw)
}
