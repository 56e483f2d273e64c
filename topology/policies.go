package topology

import (
	"slices"

	"github.com/palisade-security/palisade/policy"
)

// SetPolicies tells of each declared call which policies of its model can allow and forbid it, on any of its routes. Whether they
// do depends on their conditions: what was seen is in Seen.Policies.
func (m *Map) SetPolicies(set *policy.Set) {
	for i := range m.Edges {
		e := &m.Edges[i]
		if !e.Declared || e.Kind != Call {
			continue
		}
		caller := ""
		if e.From != EdgeNode { // which asks on behalf of its clients
			caller = m.Node(e.From).ID
		}
		e.Permits, e.Forbids = nil, nil
		for _, route := range e.Routes {
			permits, forbids := set.Concerning(route, caller)
			e.Permits, e.Forbids = append(e.Permits, missing(e.Permits, permits)...), append(e.Forbids, missing(e.Forbids, forbids)...)
		}
	}
}

// missing is what of more is not in list.
func missing(list, more []string) []string {
	return slices.DeleteFunc(slices.Clone(more), func(s string) bool { return slices.Contains(list, s) })
}
