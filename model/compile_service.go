package model

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// providers fills in the defaults of providers and reads their key sets.
func (c *compiler) providers() []ResolvedProvider {
	var out []ResolvedProvider
	for _, name := range sortedKeys(c.Fleet.Providers) {
		key, p := join("providers", name), c.Fleet.Providers[name]
		r := ResolvedProvider{Name: name}
		if p.Development {
			c.developmentProvider(key)
			p.Issuer = or(p.Issuer, DevelopmentIssuer)
			if len(p.Audience) == 0 {
				p.Audience = []string{c.Fleet.Fleet}
			}
			if p.JWKSFile == "" && p.JWKSURL == "" {
				r.JWKS = c.options.DevelopmentKeys
			}
		}
		if len(p.Algorithms) == 0 {
			p.Algorithms = DefaultAlgorithms()
		}
		if len(p.Types) == 0 {
			p.Types = []string{DefaultType}
		}
		p.RolesClaim = or(p.RolesClaim, DefaultRolesClaim)
		p.Skew = or(p.Skew, DefaultSkew)
		if p.JWKSFile != "" {
			r.JWKS = c.keySet(key+".jwks_file", p.JWKSFile)
			p.JWKSFile = c.absolute(key+".jwks_file", p.JWKSFile)
		}
		r.Provider = p
		out = append(out, r)
	}
	return out
}

// developmentProvider holds the two bounds that make a development issuer safe: it exists only under
// "palisade up", and only where nobody else can reach the edge.
func (c *compiler) developmentProvider(key string) {
	at := key + ".development"
	if !c.options.Development {
		c.report(Error, "development-provider", at, `a development provider is refused outside "palisade up": whoever can run "palisade token" would be anybody`, "declare the provider your users really sign in with")
		return
	}
	for _, name := range sortedKeys(c.Fleet.Edge.Listeners) {
		if l := c.Fleet.Edge.Listeners[name]; l.Address != "" && !loopback(l.Address) {
			c.report(Error, "development-exposed", join("edge.listeners", name)+".address",
				"a fleet with a development provider may only listen on loopback, found "+quote(l.Address), "write 127.0.0.1 or localhost")
		}
	}
}

// keySet reads a JWKS (RFC 7517, section 5). Private and symmetric keys do not belong into one that verifies.
func (c *compiler) keySet(key, path string) []byte {
	text, ok := c.file(key, path)
	if !ok {
		return nil
	}
	var set struct {
		Keys []struct {
			Kty string          `json:"kty"`
			D   json.RawMessage `json:"d"`
			K   json.RawMessage `json:"k"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil || len(set.Keys) == 0 {
		c.report(Error, "bad-document", key, quote(path)+" is not a JSON Web Key Set with at least one key", `it looks like {"keys": [...]}`)
		return nil
	}
	for _, k := range set.Keys {
		if k.D != nil || k.K != nil || k.Kty == "oct" {
			c.report(Error, "private-key-set", key, quote(path)+" holds private or symmetric keys", "name the public key set; who can read a model could forge tokens")
			return nil
		}
	}
	return text
}

// retained is how long the events of who holds some data are kept at least; 0: the data do not say.
func (f *Fleet) retained(data []string) Duration {
	longest := Duration(0)
	for _, class := range data {
		longest = max(longest, f.DataClasses[class].Retain)
	}
	return longest
}

func (c *compiler) services(edge Edge) []ResolvedService {
	var out []ResolvedService
	for _, name := range sortedKeys(c.Fleet.Services) {
		key, s := join("services", name), c.Fleet.Services[name]
		r := ResolvedService{
			Name: name, Owner: s.Owner, Address: s.Address,
			Data: sorted(s.Data), Retain: c.Fleet.retained(s.Data), Callers: c.Fleet.callersOf(name),
			Upstream: s.Upstream, Limits: resolveLimits(s.Limits, name+"."),
			Position: c.keyAt(key),
		}
		if len(s.Callers) > 0 {
			r.Calls = c.keyAt(key + ".callers")
		}
		if s.API != "" {
			r.API = c.document(key+".api", s.API)
			r.APIFile = c.shown(key+".api", s.API)
		}
		r.Upstream.Timeout = or(s.Upstream.Timeout, edge.Timeouts.Upstream)
		r.Upstream.Connections = or(s.Upstream.Connections, DefaultUpstreamConnections)
		r.Upstream.Retries = or(s.Upstream.Retries, DefaultRetries)
		r.Upstream.ServerName = or(s.Upstream.ServerName, hostOf(s.Address))
		if s.Upstream.CA != "" {
			r.CA = c.roots(key+".upstream.ca", s.Upstream.CA)
			r.Upstream.CA = c.absolute(key+".upstream.ca", s.Upstream.CA)
		}
		c.meshed(&r, edge)
		out = append(out, r)
	}
	if c.Fleet.Mesh != nil {
		meshAddresses(out)
	}
	return out
}

func (c *compiler) roots(key, path string) []byte {
	text, ok := c.file(key, path)
	if !ok {
		return nil
	}
	if strings.Contains(string(text), "PRIVATE KEY") || !certificates(text) {
		c.report(Error, "bad-certificate", key, quote(path)+" does not hold PEM certificates alone", "name the certificates of the authorities to trust")
		return nil
	}
	return text
}

// routes resolves every exposure, sorted by ID.
func (c *compiler) routes(s *Snapshot) []ResolvedRoute {
	var out []ResolvedRoute
	names := sortedKeys(c.Fleet.Providers)
	for i := range s.Services {
		service := &s.Services[i]
		declared := c.Fleet.Services[service.Name]
		for n := range declared.Expose {
			r := c.route(service, n, s.Edge)
			if len(r.Providers) == 0 {
				r.Providers = names
			}
			out = append(out, r)
		}
	}
	uniqueIDs(out)
	slices.SortFunc(out, func(a, b ResolvedRoute) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// route resolves the nth exposure of a service.
func (c *compiler) route(service *ResolvedService, n int, edge Edge) ResolvedRoute {
	key := index(join("services", service.Name)+".expose", n)
	route := c.Fleet.Services[service.Name].Expose[n]
	body := or(route.Body, edge.Sizes.Body)
	r := ResolvedRoute{
		ID:      service.Name + " " + route.Host + route.Path,
		Service: service.Name, Host: route.Host, Path: route.Path,
		Methods:   methodsOf(route),
		Providers: sorted(route.Providers),
		Limits:    slices.Concat(resolveLimits(route.Limits, service.Name+"."+strconv.Itoa(n+1)+"."), service.Limits, edge.Limits),
		WAF:       resolveWAF(c.Fleet.WAF, route.WAF, body),
		Validate:  resolveValidate(route.Validate, service.API != nil, body),
		Body:      body,
		Timeout:   or(route.Timeout, service.Upstream.Timeout),
		Upgrade:   sorted(route.Upgrade), Stream: route.Stream, DryRun: sorted(route.DryRun),
		Deprecated: route.Deprecated, CORS: sorted(route.CORS), ForwardToken: route.ForwardToken, Position: c.at(key),
	}
	for i, g := range route.Allow {
		at := index(key+".allow", i)
		g.Roles, g.Scopes, g.Methods = sorted(g.Roles), sorted(g.Scopes), sorted(g.Methods)
		if len(g.Methods) == 0 {
			g.Methods = r.Methods
		}
		r.Anonymous = r.Anonymous || g.Anyone
		r.Allow = append(r.Allow, ResolvedGrant{Grant: g, Position: c.at(at)})
	}
	return r
}

// methodsOf returns the methods of a route: those it names; else those its grants name; else, also when a grant
// is for all methods, the standard ones.
func methodsOf(route Route) []string {
	if len(route.Methods) > 0 {
		return sorted(route.Methods)
	}
	var named []string
	for _, g := range route.Allow {
		if len(g.Methods) == 0 {
			return StandardMethods()
		}
		named = append(named, g.Methods...)
	}
	if len(named) == 0 {
		return StandardMethods()
	}
	return sorted(named)
}

// uniqueIDs adds the methods to the IDs of routes of one service that differ by nothing else.
func uniqueIDs(routes []ResolvedRoute) {
	count := make(map[string]int, len(routes))
	for i := range routes {
		count[routes[i].ID]++
	}
	for i := range routes {
		if count[routes[i].ID] > 1 {
			routes[i].ID += " " + strings.Join(routes[i].Methods, ",")
		}
	}
}

// resolveWAF lays a route's settings over the fleet's over the defaults; exclusions add up.
func resolveWAF(fleet, route WAF, body Size) WAF {
	return WAF{
		Mode:      or(route.Mode, or(fleet.Mode, DefaultWAFMode)),
		Paranoia:  or(route.Paranoia, or(fleet.Paranoia, DefaultParanoia)),
		Threshold: or(route.Threshold, or(fleet.Threshold, DefaultThreshold)),
		Body:      or(route.Body, or(fleet.Body, body)),
		Answers:   setOnly(or(route.Answers, fleet.Answers)),
		Exclude:   slices.Concat(fleet.Exclude, route.Exclude),
	}
}

// setOnly gives a switch that is off its one resolved form, that of one nobody set.
func setOnly(on *bool) *bool {
	if on == nil || !*on {
		return nil
	}
	return on
}

func resolveValidate(v *Validate, documented bool, body Size) Validate {
	if !documented || v != nil && v.Off {
		return Validate{Off: true}
	}
	if v == nil {
		v = &Validate{}
	}
	return Validate{
		Depth: or(v.Depth, DefaultDepth), Keys: or(v.Keys, DefaultKeys), Items: or(v.Items, DefaultItems),
		String: or(v.String, body),
	}
}
