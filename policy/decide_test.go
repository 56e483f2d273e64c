package policy

import (
	"net/netip"
	"testing"
	"time"

	"github.com/palisade-security/palisade/model"
)

func TestGrants(t *testing.T) {
	s := compiled(t, shop())
	support := user("s", "support")
	writer := user("s", "support")
	writer.Scopes = []string{"orders:read", "orders:write"}
	admin := user("a", "admin", "customer", "support")
	bare := user("a", "admin") // what admin includes is not spelled out
	tests := []struct {
		name  string
		query *Query
		allow bool
		want  string
	}{
		{"anyone without a user", ask(nil, "GET", catalog), true, "permit grant:" + catalog + "#0 palisade.yaml:10:9"},
		{"anyone with a user", ask(support, "HEAD", catalog), true, "permit grant:" + catalog + "#0 palisade.yaml:10:9"},
		{"method not of the route", ask(nil, "POST", catalog), false, "no-permit"},
		{"role", ask(user("c", "customer"), "GET", orders), true, "permit grant:" + orders + "#0 palisade.yaml:20:9"},
		{"role, other method", ask(user("c", "customer"), "DELETE", orders), false, "no-permit"},
		{"other role", ask(support, "GET", orders), false, "no-permit"},
		{"nobody", ask(nil, "GET", orders), false, "no-permit"},
		{"role without scope", ask(support, "PUT", orders), false, "no-permit"},
		{"role with scope", ask(writer, "PUT", orders), true, "permit grant:" + orders + "#1 palisade.yaml:21:9"},
		{"including role", ask(admin, "GET", orders), true, "permit grant:" + orders + "#0 palisade.yaml:20:9"},
		{"including role alone", ask(bare, "GET", orders), true, "permit grant:" + orders + "#0 palisade.yaml:20:9"},
		{"undeclared role", ask(user("x", "root"), "GET", orders), false, "no-permit"},
		{"nothing granted", ask(admin, "POST", refunds), false, "no-permit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := s.Decide(tt.query)
			if d.Allow != tt.allow || codes(d) != tt.want || d.Errors || d.Undecided {
				t.Errorf("got %v %q errors=%v undecided=%v, want %v %q", d.Allow, codes(d), d.Errors, d.Undecided, tt.allow, tt.want)
			}
		})
	}
}

func TestUnknownRouteIsUndecided(t *testing.T) {
	s := compiled(t, shop())
	for _, q := range []*Query{ask(nil, "GET", "nowhere"), ask(nil, "BREW", catalog), {}} {
		if d := s.Decide(q); d.Allow || !d.Undecided || !d.Errors {
			t.Errorf("%s %q: got %+v", q.Method, q.Route, d)
		}
	}
	if d := (Decision{}); d.Allow {
		t.Error("the zero decision allows")
	}
}

// TestPolicies shows one policy for each kind of attribute, with a request on either side of it.
func TestPolicies(t *testing.T) {
	post := func(u *User, change func(*Query)) *Query {
		q := ask(u, "POST", refunds)
		if change != nil {
			change(q)
		}
		return q
	}
	claims := func(m map[string]any) *User {
		u := user("u")
		u.Claims = m
		return u
	}
	const permit = `permit (principal is User, action == Action::"POST", resource == Route::"` + refunds + `")`
	tests := []struct {
		name    string
		policy  string
		yes, no *Query
	}{
		{
			"claim string", permit + ` when { principal.claims has team && principal.claims.team == "money" };`,
			post(claims(map[string]any{"team": "money"}), nil), post(claims(map[string]any{"team": "x"}), nil),
		},
		{
			"claim of the wrong type is absent", permit + ` unless { principal.claims has level };`,
			post(claims(map[string]any{"level": "7"}), nil), post(claims(map[string]any{"level": int64(7)}), nil),
		},
		{
			"claim set and bool", permit + ` when { principal.claims has regions && principal.claims.regions.contains("eu") &&
				principal.claims has staff && principal.claims.staff };`,
			post(claims(map[string]any{"regions": []string{"eu", "us"}, "staff": true}), nil),
			post(claims(map[string]any{"regions": []string{"eu"}, "staff": false}), nil),
		},
		{
			"data class", `permit (principal is User, action, resource) when { resource.data.contains("payment") };`,
			post(user("u"), nil), ask(user("u"), "GET", orders),
		},
		{
			"owner", `permit (principal is User, action in Action::"write", resource in Service::"payments")
				when { resource has owner && principal.claims has team && resource.owner == principal.claims.team };`,
			post(claims(map[string]any{"team": "team-money"}), nil), post(claims(map[string]any{"team": "team-orders"}), nil),
		},
		{
			"time window", permit + ` when { context.hour >= 8 && context.hour < 18 && context.weekday <= 5 };`,
			post(user("u"), nil), post(user("u"), func(q *Query) { q.Time = noon.Add(72 * time.Hour) }),
		},
		{
			"address range", permit + ` when { context.ip.isInRange(ip("192.0.2.0/24")) };`,
			post(user("u"), func(q *Query) { q.Client = netip.MustParseAddr("::ffff:192.0.2.9") }),
			post(user("u"), func(q *Query) { q.Client = netip.MustParseAddr("203.0.113.1") }),
		},
		{
			"step-up", permit + ` when { context has acr && context.acr == "high" && context has auth_age && context.auth_age <= 300 };`,
			post(&User{Provider: "idp", Subject: "u", ACR: "high", AuthTime: noon.Add(-5 * time.Minute)}, nil),
			post(&User{Provider: "idp", Subject: "u", ACR: "high", AuthTime: noon.Add(-5*time.Minute - time.Millisecond)}, nil),
		},
		{
			"method of authentication", permit + ` when { principal.amr.contains("hwk") };`,
			post(&User{Provider: "idp", Subject: "u", AMR: []string{"pwd", "hwk"}}, nil), post(user("u"), nil),
		},
		{
			"path parameter", `permit (principal is User, action == Action::"DELETE", resource == Route::"` + orders + `")
				when { context.params has id && context.params.id == principal.subject };`,
			ask(user("42"), "DELETE", orders), ask(user("43"), "DELETE", orders),
		},
		{
			"one user", `permit (principal == User::"idp|root", action, resource);`,
			post(user("root"), nil), post(&User{Provider: "other", Subject: "root"}, nil),
		},
		{
			"anonymous only", `permit (principal is Anonymous, action, resource in Service::"payments");`,
			post(nil, nil), post(user("u"), nil),
		},
		{
			"roles in a condition", permit + ` when { principal in [Role::"support", Role::"customer"] && context.authenticated };`,
			post(user("u", "customer"), nil), post(user("u"), nil),
		},
		{
			"workload and TLS", permit + ` when { context has workload && context.workload like "spiffe://shop/*" && context has tls_version };`,
			post(user("u"), func(q *Query) { q.Workload = "spiffe://shop/web" }), post(user("u"), nil),
		},
		{
			"context as a whole", permit + ` when { [context].contains(context) && context.minute == 30 };`,
			post(user("u"), nil), post(user("u"), func(q *Query) { q.Time = noon.Add(time.Minute) }),
		},
		{
			"whole day of a datetime", permit + ` when { context.time.toDate() == datetime("2026-07-01") };`,
			post(user("u"), nil), post(user("u"), func(q *Query) { q.Time = noon.Add(12 * time.Hour) }),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := compiled(t, shop(tt.policy))
			if d := s.Decide(tt.yes); !d.Allow || codes(d) != "permit policies/p0.cedar#0 policies/p0.cedar:1:1" {
				t.Errorf("denied: %+v", d)
			}
			if d := s.Decide(tt.no); d.Allow || codes(d) != "no-permit" {
				t.Errorf("allowed: %+v", d)
			}
		})
	}
}

func TestForbidWinsAndErrorDenies(t *testing.T) {
	const forbid = "\n@id(\"no-night\")\nforbid (principal, action in Action::\"read\", resource)\nwhen { context.hour < 6 };"
	const fails = `permit (principal is User, action, resource in Service::"orders")
when { principal.claims has level && principal.claims.level + 9223372036854775807 > 0 };`
	s := compiled(t, shop(forbid, fails))
	customer := user("c", "customer")
	customer.Claims = map[string]any{"level": int64(0)}
	tests := []struct {
		name string
		edit func(*Query)
		want string
	}{
		{"permit", func(*Query) {}, "permit grant:" + orders + "#0 palisade.yaml:20:9\npermit policies/p1.cedar#0 policies/p1.cedar:1:1"},
		{"forbid wins", func(q *Query) { q.Time = noon.Add(-8 * time.Hour) }, "forbid no-night policies/p0.cedar:2:1"},
		{"error denies", func(q *Query) { q.User.Claims = map[string]any{"level": int64(1)} }, "policy-error policies/p1.cedar#0 policies/p1.cedar:1:1"},
		{
			"error and forbid", func(q *Query) {
				q.User.Claims = map[string]any{"level": int64(1)}
				q.Time = noon.Add(-8 * time.Hour)
			}, "policy-error policies/p1.cedar#0 policies/p1.cedar:1:1\nforbid no-night policies/p0.cedar:2:1",
		},
		{"unknown time fails closed", func(q *Query) { q.Time = time.Time{} }, "policy-error no-night policies/p0.cedar:2:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := *customer
			q := ask(&u, "GET", orders)
			tt.edit(q)
			d := s.Decide(q)
			if codes(d) != tt.want || d.Allow != (tt.name == "permit") {
				t.Errorf("got %v\n%s\nwant\n%s", d.Allow, codes(d), tt.want)
			}
		})
	}
	if d := s.Decide(&Query{User: customer, Method: "GET", Route: orders, Time: noon}); !d.Allow {
		t.Errorf("an address that no policy reads matters: %+v", d)
	}
}

func TestSignInMayHelp(t *testing.T) {
	tests := []struct {
		name, policy string
		method       string
		route        string
		want         bool
	}{
		{"role grant", "", "GET", orders, true},
		{"method that nobody may", "", "DELETE", orders, false},
		{"forbidden to all", `forbid (principal, action, resource in Service::"orders");`, "GET", orders, false},
		{"forbidden to who did not sign in", `forbid (principal, action, resource) unless { context.authenticated };`, "GET", orders, true},
		{"condition on the address only", `permit (principal, action, resource) when { context.ip.isLoopback() };`, "POST", refunds, false},
		{"condition on authentication", `permit (principal, action, resource) when { context has acr };`, "POST", refunds, true},
		{"anonymous only", `permit (principal is Anonymous, action, resource) when { context.ip.isLoopback() };`, "POST", refunds, false},
		{"unknown route", "", "GET", "nowhere", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := compiled(t, shop(tt.policy))
			q := ask(nil, tt.method, tt.route)
			if d := s.Decide(q); d.Allow {
				t.Fatal("allowed")
			}
			if got := s.SignInMayHelp(q); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if s.SignInMayHelp(ask(user("u"), tt.method, tt.route)) {
				t.Error("helps who signed in already")
			}
		})
	}
}

func TestDecideByRoles(t *testing.T) {
	plain := shop()
	named := shop(`permit (principal == User::"idp|u", action == Action::"GET", resource == Route::"` + orders + `");`)
	member := shop(`forbid (principal in User::"idp|u", action, resource);`)
	conditional := shop(`forbid (principal is User, action, resource) when { context.hour > 20 };`)
	for name, c := range map[string]struct {
		snap          *model.Snapshot
		method, route string
		signedIn      bool
		roles         []string
		ok, allow     bool
	}{
		"a role permits":                {plain, "GET", orders, true, []string{"customer"}, true, true},
		"an included role permits":      {plain, "GET", orders, true, []string{"admin"}, true, true},
		"no role":                       {plain, "GET", orders, true, nil, true, false},
		"roles of nobody":               {plain, "GET", orders, false, []string{"customer"}, true, false},
		"anyone":                        {plain, "GET", catalog, false, nil, true, true},
		"scopes matter":                 {plain, "PUT", orders, true, []string{"support"}, false, false},
		"scopes of another role matter": {plain, "PUT", orders, true, []string{"customer"}, true, false},
		"unknown route":                 {plain, "GET", "nowhere", true, nil, false, false},
		"unknown method":                {plain, "BREW", orders, true, nil, false, false},
		"a user is named":               {named, "GET", orders, true, []string{"customer"}, false, false},
		"a user is named elsewhere":     {named, "GET", catalog, true, nil, true, true},
		"in a user":                     {member, "GET", catalog, true, nil, false, false},
		"a condition for users":         {conditional, "GET", catalog, true, nil, false, false},
		"a condition for others":        {conditional, "GET", catalog, false, nil, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			d, ok := compiled(t, c.snap).DecideByRoles(c.method, c.route, "", c.signedIn, c.roles)
			if ok != c.ok || d.Allow != c.allow || (len(d.Reasons) > 0) != ok {
				t.Errorf("got %+v %v, want allow %v, ok %v", d, ok, c.allow, c.ok)
			}
		})
	}
}
