package model

import (
	"os"
	"slices"
	"strings"
)

// Options say for which use a model is compiled. The zero value is the strict one.
type Options struct {
	// Development is set by "palisade up" alone: development providers are honoured, and commands of services
	// are checked. Without it a development provider is an error.
	Development bool
	// Elsewhere is set by those who decide for proxies on other hosts: certificates and secrets that proxies read
	// themselves need not be here. What travels to them, such as policies, must.
	Elsewhere bool
	// Getenv looks up environment variables; default os.LookupEnv.
	Getenv func(string) (string, bool)
	// DevelopmentKeys is the JWKS of development providers that name no keys of their own.
	DevelopmentKeys []byte
}

// compiler gathers the findings of one compilation.
type compiler struct {
	*Declared
	options Options
	found   []Finding
}

func (c *compiler) report(severity Severity, code, key, text, hint string) {
	if c.wrong[key] {
		return
	}
	c.found = append(c.found, Finding{Severity: severity, Code: code, Position: c.at(key), Key: key, Text: text, Hint: hint})
}

// Compile resolves the model: defaults filled in, names looked up, files read. The findings are those of Load
// and those of Compile together; the snapshot is nil when one of them is an Error.
func (d *Declared) Compile(o Options) (*Snapshot, []Finding) {
	if o.Getenv == nil {
		o.Getenv = os.LookupEnv
	}
	c := &compiler{Declared: d, options: o, found: slices.Clone(d.findings)}
	f := d.Fleet
	s := &Snapshot{
		Fleet:       f.Fleet,
		TrustDomain: f.TrustDomain,
		Edge:        c.edge(),
		Providers:   c.providers(),
		Roles:       resolveRoles(f.Roles),
		Policies:    c.policies(),
		Audit:       c.audit(),
		Redact:      redacted(f),
		Telemetry:   c.telemetry(),
		Export:      c.exports(),
		Development: o.Development,
		Intake:      c.intake(),
		Mesh:        c.mesh(),
	}
	s.Services = c.services(s.Edge)
	s.Routes = c.routes(s)
	c.environment()
	findings := settle(c.found)
	if HasErrors(findings) {
		return nil, findings
	}
	if err := s.name(d); err != nil {
		c.report(Error, "internal", "", "the model cannot be given a version: "+err.Error(), "")
		return nil, settle(c.found)
	}
	return s, findings
}

// ServiceByName returns the service of that name, or nil.
func (s *Snapshot) ServiceByName(name string) *ResolvedService {
	i, ok := slices.BinarySearchFunc(s.Services, name, func(r ResolvedService, n string) int { return strings.Compare(r.Name, n) })
	if !ok {
		return nil
	}
	return &s.Services[i]
}

// RouteByID returns the route of that ID, or nil.
func (s *Snapshot) RouteByID(id string) *ResolvedRoute {
	i, ok := slices.BinarySearchFunc(s.Routes, id, func(r ResolvedRoute, n string) int { return strings.Compare(r.ID, n) })
	if !ok {
		return nil
	}
	return &s.Routes[i]
}

// resolveRoles closes each role over what it includes.
func resolveRoles(roles map[string]Role) []ResolvedRole {
	var out []ResolvedRole
	for _, name := range sortedKeys(roles) {
		seen := map[string]bool{name: true}
		pending := slices.Clone(roles[name].Includes)
		for len(pending) > 0 {
			next := pending[len(pending)-1]
			pending = pending[:len(pending)-1]
			if !seen[next] {
				seen[next] = true
				pending = append(pending, roles[next].Includes...)
			}
		}
		delete(seen, name)
		out = append(out, ResolvedRole{Name: name, Includes: append([]string{name}, sortedKeys(seen)...)})
	}
	return out
}

// redacted lists every name never recorded, in lower case: those of audit and of the data classes in use or not,
// because a request to one service may carry data of another.
func redacted(f Fleet) []string {
	var names []string
	add := func(list []string) {
		for _, n := range list {
			names = append(names, strings.ToLower(n))
		}
	}
	add(f.Audit.Redact)
	for _, class := range f.DataClasses {
		add(class.Redact)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
