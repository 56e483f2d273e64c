package model

import "slices"

// PolicyScope tells what the policies of one file can concern at most (policy.Scopes).
type PolicyScope struct {
	Everywhere bool
	Services   []string // else these services,
	Routes     []string // and those of these routes, by id
}

// concerns is which files of policies can matter for the decisions of a service, by their places in the snapshot.
type concerns struct {
	everyone []int
	only     map[string][]int // beside these, by service
}

// NarrowPolicies leaves out of the slices of services the files whose policies cannot concern them, so that a slice does not
// grow with the policies of all others. The scopes are those of Snapshot.Policies, one for each. The slice of the edge keeps all.
// Call it before slices are cut.
func (c *Slicer) NarrowPolicies(scopes []PolicyScope) {
	out := &concerns{only: map[string][]int{}}
	owners := c.owners()
	for i, s := range scopes {
		if s.Everywhere {
			out.everyone = append(out.everyone, i)
			continue
		}
		services := slices.Clone(s.Services)
		for _, route := range s.Routes {
			if owner, known := owners[route]; known {
				services = append(services, owner)
			}
		}
		slices.Sort(services)
		for _, name := range slices.Compact(services) {
			out.only[name] = append(out.only[name], i)
		}
	}
	c.concerns = out
}

// owners returns the service of each route.
func (c *Slicer) owners() map[string]string {
	out := map[string]string{}
	for i := range c.whole.Routes {
		out[c.whole.Routes[i].ID] = c.whole.Routes[i].Service
	}
	for i := range c.whole.Services {
		for _, r := range c.whole.Services[i].Serve {
			out[r.ID] = r.Service
		}
	}
	return out
}

// of returns the files that can concern a service, in the order of the snapshot.
func (c *concerns) of(s *Snapshot, service string) []PolicyFile {
	only := c.only[service]
	if len(c.everyone) == len(s.Policies) {
		return s.Policies
	}
	places := slices.Concat(c.everyone, only)
	slices.Sort(places)
	out := make([]PolicyFile, len(places))
	for i, at := range places {
		out[i] = s.Policies[at]
	}
	return out
}
