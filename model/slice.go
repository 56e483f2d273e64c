package model

import (
	"slices"
	"strings"
)

// Slicer cuts a snapshot into what each proxy needs and nothing else: one for the edge and one for every service of
// a mesh. A slice is a Snapshot with Self set. Its version depends on what the proxy does alone: a change
// elsewhere in the fleet, or one that only moves lines of a file, does not change it. It is safe for concurrent
// use.
//
// A slice holds whole files of policies; they were checked against the whole snapshot and may name services, routes and
// roles that a slice does not hold. Every slice that decides has all of them, unless NarrowPolicies has told which cannot matter.
type Slicer struct {
	whole    *Snapshot
	callees  map[string][]*ResolvedService // by caller, in the order of the snapshot
	exposed  map[string][]*ResolvedRoute   // by service, in the order of the snapshot
	policies []byte                        // digest
	concerns *concerns                     // nil: any policy may concern any service
	content  content
}

// NewSlicer indexes a snapshot, so that slices for thousands of services stay cheap.
func NewSlicer(s *Snapshot) *Slicer {
	out := &Slicer{whole: s, callees: map[string][]*ResolvedService{}, exposed: map[string][]*ResolvedRoute{}, policies: digestPolicies(s.Policies)}
	for i := range s.Services {
		for _, caller := range s.Services[i].Callers {
			out.callees[caller] = append(out.callees[caller], &s.Services[i])
		}
	}
	for i := range s.Routes {
		out.exposed[s.Routes[i].Service] = append(out.exposed[s.Routes[i].Service], &s.Routes[i])
	}
	return out
}

// ForEdge returns the slice of the proxies at the edge. To cut many slices use a Slicer.
func (s *Snapshot) ForEdge() *Snapshot { return NewSlicer(s).Edge() }

// ForService returns the slice of a service's sidecars, or nil where there is no such service or no mesh. To cut
// many slices use a Slicer.
func (s *Snapshot) ForService(name string) *Snapshot { return NewSlicer(s).Service(name) }

// Edge returns the slice of the proxies at the edge: what they listen on, every exposure, and of each exposed
// service where it is and how requests to it are checked.
func (c *Slicer) Edge() *Snapshot {
	out := *c.whole
	out.Origin = nil
	out.Self = EdgeID(out.TrustDomain)
	out.Mesh = out.Mesh.forProxy()
	out.Export, out.Audit.Bucket, out.Audit.Witnesses = nil, nil, nil // what proxies record comes to control
	out.Services = nil
	for i := range c.whole.Services {
		s := c.whole.Services[i]
		if len(c.exposed[s.Name]) == 0 {
			continue
		}
		out.Services = append(out.Services, ResolvedService{
			Name: s.Name, Owner: s.Owner, Address: s.Address, Data: s.Data, API: s.API, APIFile: s.APIFile,
			Upstream: s.Upstream, CA: s.CA, Position: s.Position, ID: s.ID, Sidecars: s.Sidecars,
		})
	}
	out.Version = c.content.version(&out, c.policies)
	return &out
}

// Service returns the slice of a service's sidecars, or nil where there is no such service or no mesh. Its Services
// are the service itself and those it may call, each of these with the routes in Serve that it may ask there. Its
// Routes are what others may ask of it: those of other services, whose host is its name, and its exposures, as
// the edge asks on behalf of clients.
func (c *Slicer) Service(name string) *Snapshot {
	own := c.whole.ServiceByName(name)
	if own == nil || c.whole.Mesh == nil {
		return nil
	}
	w := c.whole
	out := &Snapshot{
		Fleet: w.Fleet, TrustDomain: w.TrustDomain, Self: own.ID, Development: w.Development, Mesh: w.Mesh.forProxy(),
		Edge:  Edge{Timeouts: w.Edge.Timeouts, Sizes: w.Edge.Sizes, Concurrency: w.Edge.Concurrency, Dev: w.Edge.Dev},
		Audit: w.Audit, Redact: w.Redact, Telemetry: w.Telemetry,
	}
	out.Audit.Bucket, out.Audit.Witnesses = nil, nil
	out.Routes = slices.Clone(own.Serve)
	for _, r := range c.exposed[name] {
		out.Routes = append(out.Routes, fromEdge(*r, w.TrustDomain))
	}
	slices.SortFunc(out.Routes, func(a, b ResolvedRoute) int { return strings.Compare(a.ID, b.ID) })
	self := *own
	self.Serve, self.Limits, self.Loopback = nil, nil, "" // in Routes, in Routes, for callers alone
	self.Retain, self.Calls = 0, Position{}               // for control alone
	if !slices.ContainsFunc(out.Routes, func(r ResolvedRoute) bool { return !r.Validate.Off }) {
		self.API, self.APIFile = nil, ""
	}
	out.Services = append(out.Services, self)
	for _, s := range c.callees[name] {
		if s.Name != name {
			out.Services = append(out.Services, callee(s, own.ID))
		}
	}
	slices.SortFunc(out.Services, func(a, b ResolvedService) int { return strings.Compare(a.Name, b.Name) })
	policies := digestPolicies(nil)
	if len(out.Routes) > 0 {
		if out.Policies, policies = w.Policies, c.policies; c.concerns != nil {
			out.Policies = c.concerns.of(w, name)
			policies = digestPolicies(out.Policies)
		}
		spoken := len(out.Policies) > 0
		out.Roles = rolesOf(w, out.Routes, spoken)
		if spoken {
			out.Providers = claimsOf(w)
			out.Callers = callersSeen(w, own)
		}
	}
	out.Version = c.content.version(out, policies)
	return out
}

// forProxy leaves out what control alone needs: how it signs, and other trust domains.
func (m *ResolvedMesh) forProxy() *ResolvedMesh {
	if m == nil {
		return nil
	}
	return &ResolvedMesh{SVID: m.SVID, WorkloadAPI: m.WorkloadAPI, Stale: m.Stale, Isolation: m.Isolation, Control: m.Control}
}

// fromEdge is an exposure as the sidecar of its service sees it: the edge asks, and it has already counted,
// inspected and validated. Who the user is says the edge's transaction token, not a token from outside.
func fromEdge(r ResolvedRoute, trustDomain string) ResolvedRoute {
	r.Callers = []string{EdgeID(trustDomain)}
	r.Providers, r.Limits, r.CORS, r.Deprecated, r.ForwardToken = nil, nil, nil, false, false
	r.WAF, r.Validate = WAF{Mode: "off"}, Validate{Off: true}
	return r
}

// callee is a service as one of its callers needs it: where it is, who it must be and what may be asked there. Who
// the end user must be is decided on the other side.
func callee(s *ResolvedService, caller string) ResolvedService {
	out := ResolvedService{
		Name: s.Name, Address: s.Address, ID: s.ID, Sidecars: s.Sidecars, Loopback: s.Loopback, Broker: s.Broker,
		Upstream: Upstream{Timeout: s.Upstream.Timeout, Connections: s.Upstream.Connections, Retries: s.Upstream.Retries},
		Position: s.Position,
	}
	for _, r := range s.Serve {
		if !slices.Contains(r.Callers, caller) {
			continue
		}
		out.Serve = append(out.Serve, ResolvedRoute{
			ID: r.ID, Service: r.Service, Host: r.Host, Path: r.Path, Methods: r.Methods, Anonymous: true,
			Allow: []ResolvedGrant{{Grant: Grant{Anyone: true, Methods: r.Methods}, Position: r.Position}},
			WAF:   WAF{Mode: "off"}, Validate: Validate{Off: true}, Body: r.Body, Timeout: r.Timeout, Upgrade: r.Upgrade,
			Stream: r.Stream, Callers: []string{caller}, Position: r.Position,
		})
	}
	return out
}

// callersSeen returns who may call a service as far as policies speak of them.
func callersSeen(s *Snapshot, service *ResolvedService) []Caller {
	var out []Caller
	for _, name := range service.Callers {
		if c := s.ServiceByName(name); c != nil {
			out = append(out, Caller{Name: name, ID: c.ID, Owner: c.Owner, Data: c.Data})
		}
	}
	return out
}

// rolesOf returns the roles that can matter on these routes: all of them where policies may name any, else those
// that the grants name and those that include one of these.
func rolesOf(s *Snapshot, routes []ResolvedRoute, policies bool) []ResolvedRole {
	if policies {
		return s.Roles
	}
	named := map[string]bool{}
	for _, r := range routes {
		for _, g := range r.Allow {
			for _, role := range g.Roles {
				named[role] = true
			}
		}
	}
	var out []ResolvedRole
	for _, r := range s.Roles {
		includes := slices.DeleteFunc(slices.Clone(r.Includes), func(n string) bool { return !named[n] && n != r.Name })
		if slices.ContainsFunc(includes, func(n string) bool { return named[n] }) {
			out = append(out, ResolvedRole{Name: r.Name, Includes: includes})
		}
	}
	return out
}

// claimsOf returns the providers as far as policies speak of them: their names and the types of their claims. A
// sidecar verifies no token of theirs.
func claimsOf(s *Snapshot) []ResolvedProvider {
	var out []ResolvedProvider
	for _, p := range s.Providers {
		out = append(out, ResolvedProvider{Name: p.Name, Provider: Provider{Claims: p.Claims}})
	}
	return out
}
