package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/model"
)

// manyPolicies is a fleet with n policies: half of them grants of routes, half of them Cedar policies with
// conditions on services, one fleet-wide forbid among them. Every service has ten routes.
func manyPolicies(n int) *model.Snapshot {
	s := &model.Snapshot{
		Providers: []model.ResolvedProvider{{Name: "idp", Provider: model.Provider{Claims: map[string]string{"team": "string"}}}},
		Roles:     []model.ResolvedRole{{Name: "customer", Includes: []string{"customer"}}, {Name: "support", Includes: []string{"support"}}},
	}
	var text strings.Builder
	text.WriteString("forbid (principal, action, resource) when { context.hour >= 25 };\n")
	for i := range n / 2 {
		service := fmt.Sprintf("s%d", i/10)
		if i%10 == 0 {
			s.Services = append(s.Services, model.ResolvedService{Name: service, Owner: "team-" + service})
		}
		path := fmt.Sprintf("/r%d/{id}", i)
		s.Routes = append(s.Routes, model.ResolvedRoute{
			ID: service + " h" + path, Service: service, Host: "h", Path: path, Methods: []string{"DELETE", "GET", "POST"},
			Allow: []model.ResolvedGrant{{Grant: model.Grant{Roles: []string{"customer"}, Methods: []string{"GET"}}, Position: at(i + 1)}},
		})
		if i > 0 {
			fmt.Fprintf(&text, `permit (principal is User, action == Action::"POST", resource == Route::"%s h%s")
when { principal.claims has team && resource has owner && resource.owner == principal.claims.team };`+"\n", service, path)
		}
	}
	s.Policies = []model.PolicyFile{{Name: "p.cedar", Text: text.String()}}
	return s
}

// BenchmarkDecide shows that the cost of a decision does not grow with the number of policies.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		s := compiled(b, manyPolicies(n))
		route := s.rules[n/4].grantRoute()
		who := user("u", "customer")
		who.Claims = map[string]any{"team": "team-x"}
		for _, method := range []string{"GET", "POST"} {
			name := map[string]string{"GET": "role", "POST": "attributes"}[method]
			b.Run(fmt.Sprintf("%s/policies=%d", name, n), func(b *testing.B) {
				q := ask(who, method, route)
				b.ReportAllocs()
				for b.Loop() {
					s.Decide(q)
				}
			})
		}
	}
}

func (r *rule) grantRoute() string {
	id, _, _ := strings.Cut(strings.TrimPrefix(r.id, "grant:"), "#")
	return id
}

// BenchmarkDecideGrantsOnly is the common case: nothing but the short form.
func BenchmarkDecideGrantsOnly(b *testing.B) {
	for _, n := range []int{10, 1000} {
		snap := manyPolicies(2 * n)
		snap.Policies = nil
		s := compiled(b, snap)
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			q := ask(user("u", "customer"), "GET", s.rules[n/2].grantRoute())
			b.ReportAllocs()
			for b.Loop() {
				s.Decide(q)
			}
		})
		b.Run(fmt.Sprintf("by-roles/policies=%d", n), func(b *testing.B) {
			q := ask(user("u", "customer"), "GET", s.rules[n/2].grantRoute())
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := s.DecideByRoles(q.Method, q.Route, "", true, q.User.Roles); !ok {
					b.Fatal("it takes more")
				}
			}
		})
	}
}

// BenchmarkDecideRoles puts all policies on one route, one for each role.
func BenchmarkDecideRoles(b *testing.B) {
	for _, n := range []int{10, 1000} {
		snap := manyPolicies(2)
		snap.Policies = nil
		for i := range n {
			name := fmt.Sprintf("role%d", i)
			snap.Roles = append(snap.Roles, model.ResolvedRole{Name: name, Includes: []string{name}})
			snap.Routes[0].Allow = append(snap.Routes[0].Allow, model.ResolvedGrant{Grant: model.Grant{Roles: []string{name}}})
		}
		s := compiled(b, snap)
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			q := ask(user("u", "role3"), "GET", snap.Routes[0].ID)
			b.ReportAllocs()
			for b.Loop() {
				s.Decide(q)
			}
		})
	}
}

// BenchmarkPlainCedar is what the same decision costs without the index.
func BenchmarkPlainCedar(b *testing.B) {
	for _, n := range []int{10, 1000} {
		s := compiled(b, manyPolicies(n))
		q := ask(user("u", "customer"), "GET", s.rules[n/4].grantRoute())
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			ask := plainly(s)
			b.ReportAllocs()
			for b.Loop() {
				ask(q)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			snap := manyPolicies(n)
			b.ReportAllocs()
			for b.Loop() {
				compiled(b, snap)
			}
		})
	}
}

// BenchmarkDecideBetween is a call between services: a declared caller, and one that must come for an end user.
func BenchmarkDecideBetween(b *testing.B) {
	s := compiled(b, meshed())
	b.Run("caller", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if d, ok := s.DecideByRoles("GET", read, webID, false, nil); !ok || !d.Allow {
				b.Fatal("refused")
			}
		}
	})
	b.Run("user", func(b *testing.B) {
		q := call(ordersID, user("c", "customer"), "POST", charge)
		b.ReportAllocs()
		for b.Loop() {
			if !s.Decide(q).Allow {
				b.Fatal("refused")
			}
		}
	})
	b.Run("undeclared", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if d, _ := s.DecideByRoles("POST", charge, webID, false, nil); d.Allow {
				b.Fatal("permitted")
			}
		}
	})
}
