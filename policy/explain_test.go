package policy

import (
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	const attributes = `permit (principal is User, action == Action::"DELETE", resource == Route::"` + orders + `")
when { principal.claims has team && principal.claims.team == "orders" && context.hour < 18 };`
	const night = `@id("no-night") forbid (principal, action, resource) when { context.weekday > 5 };`
	const fails = `permit (principal == User::"idp|f", action, resource) when { principal.claims has level && principal.claims.level + 9223372036854775807 > 0 };`
	s := compiled(t, shop(attributes, night, fails))
	weekend := ask(user("c", "customer"), "GET", orders)
	weekend.Time = noon.AddDate(0, 0, 4)
	both := ask(user("s", "support"), "GET", orders)
	both.Time = weekend.Time
	broken := user("f", "customer")
	broken.Claims = map[string]any{"level": int64(1)}
	member := user("t")
	member.Claims = map[string]any{"team": "orders"}
	late := ask(member, "DELETE", orders)
	late.Time = noon.Add(8 * 3600e9)
	tests := []struct {
		name  string
		query *Query
		want  string // the first flip
	}{
		{"role", ask(user("s", "support"), "GET", orders), "add role customer @palisade.yaml:20:9"},
		{"one of several roles and a scope", ask(user("c", "customer"), "PUT", orders), "add role support or admin; add scope orders:write @palisade.yaml:21:9\nmethod PUT is not in the grant at palisade.yaml:20:9 @palisade.yaml:20:9"},
		{"scope", ask(user("s", "support"), "PUT", orders), "add scope orders:write @palisade.yaml:21:9"},
		{"sign in", ask(nil, "GET", orders), "sign in as a user with role customer @palisade.yaml:20:9\nbe User::\"idp|f\" @policies/p2.cedar:1:1"},
		{"method", ask(user("c"), "POST", catalog), "method POST is not in the grant at palisade.yaml:10:9 @palisade.yaml:10:9"},
		{"condition", ask(user("c"), "DELETE", orders), "make this true: principal.claims has team && principal.claims.team == \"orders\" @policies/p0.cedar:1:1\nmethod DELETE is not in the grant at palisade.yaml:20:9; add role customer @palisade.yaml:20:9"},
		{"part of a condition", late, "make this true: context.hour < 18 @policies/p0.cedar:1:1"},
		{"forbid", weekend, "remove forbid no-night at policies/p1.cedar:1:1, or do not meet its condition @policies/p1.cedar:1:1"},
		{"forbid and no permit", both, "remove forbid no-night at policies/p1.cedar:1:1, or do not meet its condition @policies/p1.cedar:1:1\nadd role customer @palisade.yaml:20:9"},
		{"error", ask(broken, "GET", orders), "mend policy policies/p2.cedar#0, which could not be evaluated: integer overflow while attempting to add `1` with `9223372036854775807` @policies/p2.cedar:1:1"},
		{"nothing permits", ask(user("u"), "POST", refunds), `be User::"idp|f"; make this true: principal.claims has level && principal.claims.level + 9223372036854775807 > 0 @policies/p2.cedar:1:1`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := s.Decide(tt.query); d.Allow {
				t.Fatal("allowed")
			}
			var got []string
			for _, f := range s.Explain(tt.query) {
				got = append(got, f.Text+" @"+f.Position)
			}
			if all := strings.Join(got, "\n"); all != tt.want {
				t.Errorf("got\n%s\nwant\n%s", all, tt.want)
			}
		})
	}
	if flips := s.Explain(ask(user("c", "customer"), "GET", orders)); flips != nil {
		t.Errorf("a permission is explained as a denial: %v", flips)
	}
	if flips := s.Explain(ask(nil, "GET", "nowhere")); flips != nil {
		t.Errorf("an unknown route is explained: %v", flips)
	}
}
