package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go"
)

// Concerning returns the ids of the policies whose scope takes in the route for this caller (a SPIFFE ID; "": a client of the
// edge), whatever the method: those that can permit and those that can forbid, in the order in which they were declared. Their
// conditions, and which user it is, are not looked at. Of a caller that is not declared there are none.
func (s *Set) Concerning(route, workload string) (permits, forbids []string) {
	rc := s.routes[route]
	if rc == nil {
		return nil, nil
	}
	service, ok := rc.asks(workload)
	if !ok {
		return nil, nil
	}
	var rules []*rule
	for _, mc := range rc.cells {
		if service != (cedar.EntityUID{}) {
			rules = append(rules, mc.candidates(nil, service, []cedar.EntityUID{service})...)
			continue
		}
		for _, r := range slices.Concat(mc.own.all, mc.common.all) {
			if r.openToClients() {
				rules = append(rules, r)
			}
		}
	}
	slices.SortFunc(rules, compareRules)
	for _, r := range slices.Compact(rules) {
		if r.effect == cedar.Permit {
			permits = append(permits, r.id)
		} else {
			forbids = append(forbids, r.id)
		}
	}
	return permits, forbids
}

// openToClients reports whether somebody who is no service can be in the rule's scope.
func (r *rule) openToClients() bool {
	return slices.ContainsFunc(r.who, func(w who) bool {
		return w.kind != typeService && w.is.Type != typeService && w.in.Type != typeService
	})
}
