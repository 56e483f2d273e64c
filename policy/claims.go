package policy

import (
	"maps"
	"slices"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// ClaimsRead lists the declared claims of users that policies read, sorted: what must be recorded to decide again.
func (s *Set) ClaimsRead() []string {
	read := map[string]bool{}
	for _, r := range s.rules {
		s.claimsOf(r, read)
	}
	return slices.Sorted(maps.Keys(read))
}

// claimsOf adds the declared claims that a rule reads.
func (s *Set) claimsOf(r *rule, read map[string]bool) {
	taken, followed := 0, 0
	claim := func(arg xast.IsNode, name cedar.String) {
		if of, ok := arg.(xast.NodeTypeAccess); ok && of.Value == "claims" {
			followed++
			if _, declared := s.claims[string(name)]; declared {
				read[string(name)] = true
			}
		}
	}
	for _, c := range r.tree.Conditions {
		xast.Inspect(xast.NewNode(c.Body), func(n xast.IsNode) bool {
			switch n := n.(type) {
			case xast.NodeTypeAccess:
				if n.Value == "claims" {
					taken++
				}
				claim(n.Arg, n.Value)
			case xast.NodeTypeHas:
				claim(n.Arg, n.Value)
			}
			return true
		})
	}
	if taken > followed { // as a whole
		for name := range s.claims {
			read[name] = true
		}
	}
}

// Reads is what a decision depends on of the user beside his name and roles.
type Reads struct {
	Scopes, ACR, AMR, AuthTime bool
	Claims                     []string // sorted
}

// Reads says what deciding q depends on. Too much is said rather than too little.
func (s *Set) Reads(q *Query) Reads {
	mc, route := s.find(q.Method, q.Route)
	if mc == nil || q.User == nil {
		return Reads{}
	}
	service, declared := route.asks(q.Workload)
	if !declared {
		return Reads{}
	}
	_, candidates := s.candidates(nil, mc, service, userUID(q.User), q.User.Roles)
	all, _ := conditional(candidates)
	out := Reads{Scopes: all&needScopes != 0, ACR: all&needACR != 0, AMR: all&needAMR != 0, AuthTime: all&needAuthAge != 0}
	if all&needClaims != 0 {
		read := map[string]bool{}
		for _, r := range candidates {
			s.claimsOf(r, read)
		}
		out.Claims = slices.Sorted(maps.Keys(read))
	}
	return out
}
