package model

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// mesh fills in the mesh's defaults and reads its files.
func (c *compiler) mesh() *ResolvedMesh {
	m := c.Fleet.Mesh
	if m == nil {
		return nil
	}
	r := &ResolvedMesh{
		SVID:        SVID{Lifetime: or(m.SVID.Lifetime, DefaultSVIDLifetime), JWTLifetime: or(m.SVID.JWTLifetime, DefaultJWTLifetime)},
		WorkloadAPI: m.Issuer.WorkloadAPI,
		Keys:        m.Keys,
		Stale:       or(m.Stale, DefaultStale),
		Isolation:   or(m.Isolation, DefaultIsolation),
		Control:     or(m.Control.Address, DefaultControl),
		Server:      c.control(),
	}
	if u := m.Issuer.Upstream; u != nil {
		r.Chain = c.roots("mesh.issuer.upstream.chain", u.Chain)
		r.Key = c.value("mesh.issuer.upstream.key", u.Key)
	}
	for _, name := range sortedKeys(m.Federation) {
		f := m.Federation[name]
		key := join("mesh.federation", name) + ".bundle"
		r.Federation = append(r.Federation, ResolvedFederation{
			TrustDomain: name, URL: f.URL, Profile: or(f.Profile, DefaultProfile), EndpointID: f.EndpointID,
			Bundle: c.firstBundle(key, f.Bundle),
		})
	}
	return r
}

// firstBundle reads a trust bundle, which is a JSON Web Key Set (SPIFFE Trust Domain and Bundle, section 4).
func (c *compiler) firstBundle(key, path string) []byte {
	if path == "" {
		return nil
	}
	return c.keySet(key, path)
}

// callersOf returns who may call a service: those it names; else those that its paths name, and, of a broker,
// those that publish and subscribe there. Sorted.
func (f *Fleet) callersOf(name string) []string {
	s := f.Services[name]
	if len(s.Callers) > 0 {
		return sorted(s.Callers)
	}
	var out []string
	for _, e := range s.Serve {
		out = append(out, e.Callers...)
	}
	if s.Broker != "" {
		for other, o := range f.Services {
			if len(o.Publish[name]) > 0 || len(o.Subscribe[name]) > 0 {
				out = append(out, other)
			}
		}
	}
	return sorted(out)
}

// calling returns the services that call another one, a broker or a host outside.
func (f *Fleet) calling() map[string]bool {
	out := make(map[string]bool, len(f.Services))
	for name, s := range f.Services {
		for _, caller := range s.Callers {
			out[caller] = true
		}
		for _, e := range s.Serve {
			for _, caller := range e.Callers {
				out[caller] = true
			}
		}
		if len(s.Publish)+len(s.Subscribe)+len(s.Egress) > 0 {
			out[name] = true
		}
	}
	return out
}

// meshed adds to a resolved service what it is in the mesh.
func (c *compiler) meshed(r *ResolvedService, edge Edge) {
	if c.Fleet.Mesh == nil {
		return
	}
	s := c.Fleet.Services[r.Name]
	r.ID = ServiceID(c.Fleet.TrustDomain, r.Name)
	r.Sidecars = sorted(s.Sidecar.Addresses)
	r.Workloads = s.Workloads
	r.Broker, r.Keys = s.Broker, s.BrokerKeys
	r.Keys.FromFile = c.absolute(join("services", r.Name)+".broker_keys.from_file", s.BrokerKeys.FromFile) // read where its sidecars are
	r.Publish, r.Subscribe = sortedLists(s.Publish), sortedLists(s.Subscribe)
	for _, e := range s.Egress {
		e.Port, e.Protocol = egressPort(e), or(e.Protocol, DefaultEgress)
		r.Egress = append(r.Egress, e)
	}
	slices.SortFunc(r.Egress, func(a, b Egress) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port)) })
	if !tcp(r.Address) && len(r.Callers) > 0 {
		r.Serve = c.serve(r, edge)
	}
	if r.Broker == "" {
		return
	}
	for _, name := range sortedKeys(c.Fleet.Services) {
		o := c.Fleet.Services[name]
		if len(o.Publish[r.Name]) > 0 || len(o.Subscribe[r.Name]) > 0 {
			r.Clients = append(r.Clients, BrokerClient{
				Service: name, ID: ServiceID(c.Fleet.TrustDomain, name), Publish: sorted(o.Publish[r.Name]), Subscribe: sorted(o.Subscribe[r.Name]),
			})
		}
	}
}

func sortedLists(m map[string][]string) map[string][]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string][]string, len(m))
	for name, list := range m {
		out[name] = sorted(list)
	}
	return out
}

// serve resolves what other services may ask, sorted by ID: the paths that serve names, else all of them.
func (c *compiler) serve(service *ResolvedService, edge Edge) []ResolvedRoute {
	key := join("services", service.Name)
	entries := c.Fleet.Services[service.Name].Serve
	if len(entries) == 0 {
		all := c.servePath(service, Serve{Path: "/**"}, "", edge)
		all.Position = c.at(key + ".callers")
		all.Allow[0].Position = all.Position
		return []ResolvedRoute{all}
	}
	var out []ResolvedRoute
	for i, e := range entries {
		r := c.servePath(service, e, strconv.Itoa(i+1)+".", edge)
		at := index(key+".serve", i)
		r.Position = c.at(at)
		for n := range r.Allow {
			r.Allow[n].Position = r.Position
			if len(e.Users) > 0 {
				r.Allow[n].Position = c.at(index(at+".users", n))
			}
		}
		out = append(out, r)
	}
	uniqueIDs(out)
	slices.SortFunc(out, func(a, b ResolvedRoute) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// servePath resolves one path. Bodies stream without an end unless something must read them whole, for services
// know each other and a mesh must not change what they send.
func (c *compiler) servePath(service *ResolvedService, e Serve, place string, edge Edge) ResolvedRoute {
	whole := e.WAF != nil || e.Validate != nil
	body, inspected := or(e.Body, DefaultMeshBody), or(e.Body, edge.Sizes.Body)
	r := ResolvedRoute{
		ID: "mesh:" + service.Name + ":" + e.Path, Service: service.Name, Host: service.Name, Path: e.Path,
		Methods: serveMethods(e), Anonymous: len(e.Users) == 0, Body: body, Timeout: or(e.Timeout, service.Upstream.Timeout),
		WAF: WAF{Mode: "off"}, Validate: Validate{Off: true}, Stream: !whole, DryRun: sorted(e.DryRun),
	}
	if whole {
		r.Body = inspected
	} else {
		r.Upgrade = []string{"websocket"}
	}
	if e.WAF != nil {
		r.WAF = resolveWAF(c.Fleet.WAF, *e.WAF, inspected)
	}
	if e.Validate != nil {
		r.Validate = resolveValidate(e.Validate, service.API != nil, inspected)
	}
	for _, caller := range orList(sorted(e.Callers), service.Callers) {
		r.Callers = append(r.Callers, ServiceID(c.Fleet.TrustDomain, caller))
	}
	users := e.Users
	if len(users) == 0 {
		users = []Grant{{Anyone: true}}
	}
	for _, g := range users {
		g.Roles, g.Scopes, g.Methods = sorted(g.Roles), sorted(g.Scopes), orList(sorted(g.Methods), r.Methods)
		r.Allow = append(r.Allow, ResolvedGrant{Grant: g})
	}
	r.Limits = resolveLimits(e.Limits, service.Name+".serve."+place)
	for _, l := range service.Limits {
		if l.Per != "address" { // between services it tells nobody apart
			r.Limits = append(r.Limits, l)
		}
	}
	return r
}
