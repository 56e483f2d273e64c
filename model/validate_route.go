package model

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// routes checks every exposure by itself, then all against each other.
func (c *checker) routes() {
	type seen struct {
		key     string
		methods []string
	}
	shapes := map[string][]seen{} // by host and shape
	for _, name := range c.services {
		s := c.Fleet.Services[name]
		for i, r := range s.Expose {
			key := index(join("services", name)+".expose", i)
			template, ok := c.exposure(key, s, r)
			if !ok {
				continue
			}
			where, methods := r.Host+template.Shape(), methodsOf(r)
			for _, other := range shapes[where] {
				common := slices.DeleteFunc(slices.Clone(methods), func(m string) bool { return !slices.Contains(other.methods, m) })
				if len(common) > 0 {
					c.collide("route-conflict", key, other.key, fmt.Sprintf("%s%s is also exposed by %s for %s", r.Host, r.Path, other.key, strings.Join(common, ", ")), "give each its own path or methods")
					break
				}
			}
			shapes[where] = append(shapes[where], seen{key, methods})
		}
	}
}

// exposure checks one route and returns its template when host and path can be compared with others.
func (c *checker) exposure(key string, s Service, r Route) (Template, bool) {
	sound := r.Host != "" && r.Path != ""
	if text, hint := badHost(r.Host); r.Host != "" && text != "" {
		c.fail("bad-host", key+".host", text, hint)
		sound = false
	}
	var template Template
	if r.Path != "" {
		var err error
		if template, err = ParseTemplate(r.Path); err != nil {
			c.fail("bad-path", key+".path", err.Error(), "")
			sound = false
		}
	}
	for i, p := range r.Providers {
		c.known("provider", index(key+".providers", i), p, sortedKeys(c.Fleet.Providers))
	}
	if len(r.Allow) == 0 && len(c.Fleet.Policies) == 0 {
		c.warn("nothing-permitted", key, "no grant and no policy can ever permit a request", "add allow: [{roles: [...]}], or policies to the fleet")
	}
	for i, g := range r.Allow {
		c.grant(index(key+".allow", i), r, g)
	}
	c.limits(key+".limits", r.Limits)
	c.inspection(key+".waf", r.WAF)
	c.span(key+".timeout", r.Timeout, longRoute)
	c.size(key+".body", r.Body, 16, 16<<30)
	if r.Validate != nil && !r.Validate.Off && s.API == "" {
		c.warn("no-effect", key+".validate", "the service has no API document to validate against", "add api to the service")
	}
	c.forwardToken(key+".forward_token", r)
	for i, origin := range r.CORS {
		c.origin(index(key+".cors", i), origin)
	}
	return template, sound
}

// forwardToken warns where forward_token changes nothing: without a mesh tokens go on anyway, and who asks a route that
// is for anyone alone brings none.
func (c *checker) forwardToken(key string, r Route) {
	switch {
	case !r.ForwardToken:
	case c.Fleet.Mesh == nil:
		c.warn("no-effect", key, "without a mesh the service gets the access token anyway", "remove it")
	case len(r.Allow) > 0 && len(c.Fleet.Policies) == 0 && !slices.ContainsFunc(r.Allow, func(g Grant) bool { return !g.Anyone }):
		c.warn("no-effect", key, "the route is for anyone, so no access token is asked for", "remove it, or grant the route to users")
	}
}

// origin checks scheme://host[:port] as browsers send it (RFC 6454, section 6.1).
func (c *checker) origin(key, origin string) {
	if origin == "*" {
		c.warn("any-origin", key, "every web page may read these answers", "name the origins that need to")
		return
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || origin != strings.ToLower(origin) {
		c.fail("bad-origin", key, fmt.Sprintf("%q is not an origin", redactURL(origin)), "write https://shop.example.com, without a path")
	}
}

// grant checks that a grant says exactly one thing.
func (c *checker) grant(key string, r Route, g Grant) {
	restricted := len(g.Roles) > 0 || len(g.Scopes) > 0
	switch {
	case g.Anyone && (g.Users || restricted):
		c.fail("grant-contradiction", key, "anyone needs no sign-in, and the other keys demand one", "make two grants, or remove anyone")
	case g.Users && len(g.Roles) > 0:
		c.fail("grant-contradiction", key, "users permits whoever signed in, so roles would change nothing", "remove users or roles")
	case !g.Anyone && !g.Users && !restricted:
		c.fail("empty-grant", key, "expected whom this permits, found nobody", "write anyone: true, users: true, roles: [...] or scopes: [...]")
	case !g.Anyone && len(c.Fleet.Providers) == 0:
		c.warn("no-provider", key, "nobody can sign in, for no provider is declared", "add providers to the fleet")
	}
	for i, role := range g.Roles {
		c.known("role", index(key+".roles", i), role, sortedKeys(c.Fleet.Roles))
	}
	for i, scope := range g.Scopes {
		if !isScope(scope) {
			c.fail("bad-scope", index(key+".scopes", i), fmt.Sprintf("%q is not a scope", scope), "one scope is printable ASCII without spaces; write several as a list")
		}
	}
	if len(r.Methods) == 0 {
		return
	}
	for i, m := range g.Methods {
		if (m == "OPTIONS" || slices.Contains(StandardMethods(), m)) && !slices.Contains(r.Methods, m) {
			c.fail("grant-method", index(key+".methods", i), fmt.Sprintf("%s is not a method of this route, which has %s", m, strings.Join(r.Methods, ", ")), "add it to the route's methods, or remove it here")
		}
	}
}

// isScope follows RFC 6749, section 3.3.
func isScope(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' })
}

// inspection checks the WAF settings of the fleet or of a route.
func (c *checker) inspection(key string, w WAF) {
	c.size(key+".body", w.Body, 1<<10, 128<<20)
	for i, e := range w.Exclude {
		at := index(key+".exclude", i)
		if (e.Rule != 0) == (e.Tag != "") {
			c.fail("bad-exclusion", at, "expected either rule or tag", "write rule: 942100, or tag: attack-sqli")
		}
		if e.Target != "" && !isTarget(e.Target) {
			c.fail("bad-exclusion", at+".target", fmt.Sprintf("%q is not a target", e.Target), "write ARGS:comment or REQUEST_HEADERS:User-Agent")
		}
		if strings.ContainsFunc(e.Tag, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\'' || r == ',' }) {
			c.fail("bad-exclusion", at+".tag", fmt.Sprintf("%q is not a tag", e.Tag), "write attack-sqli")
		}
	}
	if w.Mode == "off" && (w.Paranoia != 0 || w.Threshold != 0 || w.Answers != nil || len(w.Exclude) > 0) {
		c.warn("no-effect", key, "mode: off leaves the other keys without effect", "remove them")
	}
}

// isTarget tells whether s is COLLECTION or COLLECTION:name of the rule language, with nothing that could end it.
func isTarget(s string) bool {
	collection, name, named := strings.Cut(s, ":")
	if collection == "" || strings.ContainsFunc(collection, func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') }) {
		return false
	}
	return !named || name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"',;|\`, r)
	})
}
