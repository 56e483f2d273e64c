package policy

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/model"
)

const (
	domain   = "shop.example"
	read     = "mesh:orders:/orders/{id}"
	charge   = "mesh:payments:/shop.payments.v1.Payments/Charge"
	refund   = "mesh:payments:/shop.payments.v1.Payments/Refund"
	webID    = "spiffe://" + domain + "/service/web"
	ordersID = "spiffe://" + domain + "/service/orders"
	edgeID   = "spiffe://" + domain + "/edge/edge"
)

// meshed is the shop as a mesh: web reads orders, orders charges payments for customers and refunds as it likes.
func meshed(cedarText ...string) *model.Snapshot {
	s := shop(cedarText...)
	s.TrustDomain, s.Mesh = domain, &model.ResolvedMesh{}
	for i := range s.Services {
		s.Services[i].ID = model.ServiceID(domain, s.Services[i].Name)
	}
	grant := func(line int, g model.Grant) model.ResolvedGrant {
		return model.ResolvedGrant{Grant: g, Position: at(line)}
	}
	s.Services[1].Callers = []string{"payments", "web"}
	s.Services[1].Serve = []model.ResolvedRoute{{
		ID: read, Service: "orders", Host: "orders", Path: "/orders/{id}", Methods: []string{"GET", "PUT"}, Position: at(40),
		Callers: []string{"spiffe://" + domain + "/service/payments", webID},
		Allow:   []model.ResolvedGrant{grant(40, model.Grant{Anyone: true, Methods: []string{"GET"}})},
	}}
	s.Services[2].Callers = []string{"orders"}
	s.Services[2].Serve = []model.ResolvedRoute{
		{
			ID: charge, Service: "payments", Host: "payments", Path: "/shop.payments.v1.Payments/Charge", Methods: []string{"POST"}, Position: at(50),
			Callers: []string{ordersID},
			Allow: []model.ResolvedGrant{
				grant(51, model.Grant{Roles: []string{"customer"}}),
				grant(52, model.Grant{Roles: []string{"admin", "support"}, Scopes: []string{"pay"}}),
			},
		},
		{
			ID: refund, Service: "payments", Host: "payments", Path: "/shop.payments.v1.Payments/Refund", Methods: []string{"POST"}, Position: at(55),
			Callers: []string{ordersID}, Allow: []model.ResolvedGrant{grant(55, model.Grant{Anyone: true})},
		},
	}
	return s
}

func call(workload string, u *User, method, route string) *Query {
	q := ask(u, method, route)
	q.Workload = workload
	return q
}

func TestMeshSchemaGolden(t *testing.T) {
	got := compiled(t, meshed()).Schema()
	path := filepath.Join("testdata", "mesh.cedarschema")
	if os.Getenv("GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("run with GOLDEN=1 if this is meant:\n%s", got)
	}
}

// TestCallers holds who may ask between services, on the whole snapshot and on the slice of the service asked.
func TestCallers(t *testing.T) {
	// However wide a policy is, it lets in no caller that is not declared, and no user that serve does not name.
	const wide = `@id("wide") permit (principal, action, resource);
@id("services") permit (principal is Service, action, resource in Service::"payments");`
	payer := user("c", "customer")
	scoped := user("s", "support")
	scoped.Scopes = []string{"pay"}
	tests := []struct {
		name  string
		query *Query
		want  string // codes and policies
	}{
		{"declared caller", call(webID, nil, "GET", read), "permit grant:" + read + "#0 palisade.yaml:40:9"},
		{"on behalf of a user", call(webID, payer, "GET", read), "permit grant:" + read + "#0 palisade.yaml:40:9"},
		{"another caller", call(ordersID, nil, "GET", read), "undeclared-call  palisade.yaml:40:9"},
		{"no identity", call("", nil, "GET", read), "undeclared-call  palisade.yaml:40:9"},
		{"a user without identity", call("", payer, "GET", read), "undeclared-call  palisade.yaml:40:9"},
		{"the edge", call(edgeID, payer, "GET", read), "undeclared-call  palisade.yaml:40:9"},
		{"a name of another trust domain", call("spiffe://other.example/service/web", nil, "GET", read), "undeclared-call  palisade.yaml:40:9"},
		{"a longer name", call(webID+"2", nil, "GET", read), "undeclared-call  palisade.yaml:40:9"},
		{"a path below", call(webID+"/x", nil, "GET", read), "undeclared-call  palisade.yaml:40:9"},
		{"in capitals", call(strings.ToUpper(webID), nil, "GET", read), "undeclared-call  palisade.yaml:40:9"},
		{"the bare name", call("web", nil, "GET", read), "undeclared-call  palisade.yaml:40:9"},
		{"gRPC method, its user", call(ordersID, payer, "POST", charge), "permit grant:" + charge + "#0 palisade.yaml:51:9"},
		{"gRPC method, user by role and scope", call(ordersID, scoped, "POST", charge), "permit grant:" + charge + "#1 palisade.yaml:52:9"},
		{"gRPC method, user without scope", call(ordersID, user("s", "support"), "POST", charge), "no-permit"},
		{"gRPC method, no user", call(ordersID, nil, "POST", charge), "no-permit"},
		{"gRPC method, other caller", call(webID, payer, "POST", charge), "undeclared-call  palisade.yaml:50:9"},
		{"gRPC method beside it", call(ordersID, nil, "POST", refund), "permit grant:" + refund + "#0 palisade.yaml:55:9"},
		{"a method that serve is silent about", call(webID, nil, "PUT", read), "permit wide policies/p0.cedar:1:1"},
	}
	whole := meshed(wide)
	sets := map[string][]*Set{
		"orders":   {compiled(t, whole), compiled(t, whole.ForService("orders"))},
		"payments": {compiled(t, whole), compiled(t, whole.ForService("payments"))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			service, _, _ := strings.Cut(strings.TrimPrefix(tt.query.Route, "mesh:"), ":")
			for i, s := range sets[service] {
				d := s.Decide(tt.query)
				if codes(d) != tt.want || d.Allow != strings.HasPrefix(tt.want, "permit") || d.Errors || d.Undecided {
					t.Errorf("set %d: got %v %q", i, d.Allow, codes(d))
				}
				compare(t, s, tt.query)
				declared := s.Declared(tt.query.Method, tt.query.Route, tt.query.Workload)
				if declared.Allow == strings.HasPrefix(tt.want, "undeclared") {
					t.Errorf("set %d: declared %+v", i, declared)
				}
			}
		})
	}
}

// TestUndeclaredReason holds what the record says of a call that is not declared.
func TestUndeclaredReason(t *testing.T) {
	s := compiled(t, meshed())
	d := s.Decide(call(webID, nil, "POST", charge))
	want := "service web may not call payments: POST /shop.payments.v1.Payments/Charge is not declared for it"
	data := map[string]string{
		"caller": webID, "service": "payments", "method": "POST", "path": "/shop.payments.v1.Payments/Charge", "route": charge,
		"declared": "service orders",
	}
	if r := d.Reasons[0]; len(d.Reasons) != 1 || r.Text != want || !reflect.DeepEqual(r.Data, data) {
		t.Errorf("got %+v", d.Reasons)
	}
	for id, want := range map[string]string{
		"": "a caller without an identity may not call payments", edgeID: "the edge may not call payments",
		"spiffe://x/y": "workload spiffe://x/y may not call payments",
	} {
		if got := s.Decide(call(id, nil, "POST", charge)).Reasons[0].Text; !strings.HasPrefix(got, want) {
			t.Errorf("got %q", got)
		}
	}
	snap := meshed()
	for i := range 20 {
		snap.Services[1].Serve[0].Callers = append(snap.Services[1].Serve[0].Callers, fmt.Sprintf("spiffe://%s/service/s%d", domain, i))
	}
	if got := compiled(t, snap).Decide(call("", nil, "GET", read)).Reasons[0].Data["declared"]; !strings.HasSuffix(got, ", service s7 and 12 more") {
		t.Errorf("got %q", got)
	}
}

// TestExposedMeansTheSame asks the same at the edge and at the sidecar behind it: one policy text gives one answer, but
// that the sidecar listens to the edge alone.
func TestExposedMeansTheSame(t *testing.T) {
	const text = `@id("night") forbid (principal, action, resource in Service::"orders") when { context has user && context.user.acr == "x" };
@id("own") permit (principal is User, action == Action::"DELETE", resource in Service::"orders")
when { context.params has id && context.params.id == principal.subject && !(context has workload) && context.user == principal };
@id("web") forbid (principal is Service, action, resource in Service::"orders");`
	whole := meshed(strings.Replace(text, "context has user && context.user.acr", "context has user && context.user has acr && context.user.acr", 1))
	edge, sidecar := compiled(t, whole.ForEdge()), compiled(t, whole.ForService("orders"))
	marked := user("c", "customer")
	marked.ACR = "x"
	for _, u := range []*User{nil, user("c", "customer"), user("42"), marked} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			atEdge, behindIt := ask(u, method, orders), call(edgeID, u, method, orders)
			compare(t, edge, atEdge)
			compare(t, sidecar, behindIt)
			if a, b := edge.Decide(atEdge), sidecar.Decide(behindIt); !reflect.DeepEqual(a, b) {
				t.Errorf("%s for %+v: %+v at the edge, %+v behind it", method, u, a, b)
			}
			for _, other := range []string{"", webID, ordersID} {
				d := sidecar.Decide(call(other, u, method, orders))
				quick, ok := sidecar.DecideByRoles(method, orders, other, u != nil, nil)
				if d.Allow || d.Reasons[0].Code != CodeUndeclared || !ok || !reflect.DeepEqual(quick, d) {
					t.Errorf("%q asks what the edge alone may: %+v", other, d)
				}
			}
		}
	}
	if d := edge.Decide(ask(user("42"), "DELETE", orders)); !d.Allow {
		t.Errorf("got %+v", d)
	}
}

// TestMeshPolicies shows what policies can ask about services and the end user.
func TestMeshPolicies(t *testing.T) {
	claims := user("u", "customer")
	claims.Claims, claims.Scopes = map[string]any{"team": "money"}, []string{"pay"}
	const head = `@id("p") forbid (principal is Service, action, resource in Service::"orders") `
	tests := []struct {
		name    string
		policy  string
		yes, no *Query // forbidden and not
	}{
		{"one service", `@id("p") forbid (principal == Service::"web", action, resource);`, call(webID, nil, "GET", read), call(model.ServiceID(domain, "payments"), nil, "GET", read)},
		{"services in a set", `@id("p") forbid (principal, action, resource) when { principal in [Service::"web", Service::"catalog"] };`, call(webID, nil, "GET", read), call(model.ServiceID(domain, "payments"), nil, "GET", read)},
		{"its name", head + `when { principal.name == "web" };`, call(webID, nil, "GET", read), call(model.ServiceID(domain, "payments"), nil, "GET", read)},
		{"its id", head + `when { principal.id == "` + webID + `" && context has workload && context.workload == principal.id };`, call(webID, nil, "GET", read), call(model.ServiceID(domain, "payments"), nil, "GET", read)},
		{"its owner", head + `when { principal has owner && principal.owner == "team-money" };`, call(model.ServiceID(domain, "payments"), nil, "GET", read), call(webID, nil, "GET", read)},
		{"its data", head + `when { principal.data.contains("payment") && resource.data.contains("personal") };`, call(model.ServiceID(domain, "payments"), nil, "GET", read), call(webID, nil, "GET", read)},
		{"no user", head + `unless { context has user };`, call(webID, nil, "GET", read), call(webID, claims, "GET", read)},
		{"the user's role", head + `unless { context has user && context.user in Role::"customer" };`, call(webID, user("s", "support"), "GET", read), call(webID, user("a", "admin"), "GET", read)},
		{"one user", head + `when { context has user && context.user == User::"idp|x" };`, call(webID, user("x"), "GET", read), call(webID, user("y"), "GET", read)},
		{"the user's claims", head + `unless { context has user && context.user.claims has team && context.user.claims.team == "money" && context.user.scopes.contains("pay") };`, call(webID, user("u", "customer"), "GET", read), call(webID, claims, "GET", read)},
		{"signed in", head + `unless { context.authenticated };`, call(webID, nil, "GET", read), call(webID, user("x"), "GET", read)},
		{"a parameter named as the user", head + `when { context.params has id && context.params.id == "42" && !(context has user) };`, call(webID, nil, "GET", read), call(webID, user("x"), "GET", read)},
		{"context as a whole", head + `when { [context].contains(context) && context has user };`, call(webID, user("x"), "GET", read), call(webID, nil, "GET", read)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			whole := meshed(tt.policy)
			if _, findings := Compile(whole); len(findings) > 0 {
				t.Fatal(lines(findings))
			}
			for i, s := range []*Set{compiled(t, whole), compiled(t, whole.ForService("orders"))} {
				compare(t, s, tt.yes)
				compare(t, s, tt.no)
				if d := s.Decide(tt.yes); d.Allow || codes(d) != "forbid p policies/p0.cedar:1:1" {
					t.Errorf("set %d: not forbidden: %+v", i, d)
				}
				if d := s.Decide(tt.no); !d.Allow {
					t.Errorf("set %d: forbidden: %+v", i, d)
				}
			}
		})
	}
}

func TestMeshFindings(t *testing.T) {
	tests := []struct{ name, policy, want string }{
		{"services", `forbid (principal == Service::"web", action, resource == Route::"` + read + `") when { principal.data.contains("x") && context has user };`, ""},
		{"unknown service", `forbid (principal == Service::"wbe", action, resource);`, `error unknown-service policies/p0.cedar:1:22: service "wbe" is not declared (did you mean "web"?)`},
		{"unknown attribute of the user", `forbid (principal is Service, action, resource) when { context has user && context.user has age };`, `error unknown-attribute policies/p0.cedar:1:93: context.user never has "age" (did you mean "acr"?)`},
		{"unknown claim of the user", `forbid (principal is Service, action, resource) when { context has user && context.user.claims has tema };`, `error unknown-attribute policies/p0.cedar:1:100: context.user.claims never has "tema" (did you mean "team"?)`},
		{"user without has", `forbid (principal is Service, action, resource) when { context.user in Role::"customer" };`, "error policy-type policies/p0.cedar:1:64: the policy does not fit the schema: unable to guarantee safety of access to optional attribute `user` in context (ask first: context has acr && context.acr == ...)"},
		{"attribute of users asked of services", `forbid (principal, action, resource) when { principal is Anonymous || principal.subject == "x" };`, "error policy-type policies/p0.cedar:1:81: the policy does not fit the schema: attribute `subject` on entity type `Service` not found (between services the calling service is the principal: begin with permit (principal is User, ...), or ask for context.user)"},
		{"users between services", `forbid (principal in Role::"customer", action, resource == Route::"` + read + `");`, `error policy-never-applies policies/p0.cedar:1:1: between services the calling service is the principal, so this policy can never apply (ask for the end user: context has user && context.user in Role::"...")`},
		{"services at the edge", `forbid (principal is Service, action, resource == Route::"` + orders + `");`, `warning policy-never-applies policies/p0.cedar:1:1: only clients of the edge ask there, and no service, so this policy never applies yet (name the service in callers)`},
		{"a permit that serve shuts out", `permit (principal is Service, action, resource in Service::"payments");`, `warning policy-never-applies policies/p0.cedar:1:1: callers and serve say who may ask there, which no policy can widen (add to serve what is to be permitted)`},
		{"a permit where serve is silent", `permit (principal == Service::"web", action == Action::"PUT", resource == Route::"` + read + `");`, ""},
		{"role as a resource", `forbid (principal, action, resource in Role::"customer");`, "error policy-type policies/p0.cedar:1:1: the scope can match no request (principals are User (in Role), Anonymous and Service, actions are methods, resources are Route (in Service))"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, findings := Compile(meshed(tt.policy))
			got := lines(findings)
			if got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if hasError := strings.HasPrefix(got, "error "); hasError != (s == nil) {
				t.Errorf("error %v, set %v", hasError, s != nil)
			}
		})
	}
	if _, findings := Compile(shop(`forbid (principal, action, resource) when { context has user };`)); !strings.Contains(lines(findings), `context never has "user"`) {
		t.Errorf("context.user exists without a mesh: %s", lines(findings))
	}
}

// TestSliceIsQuiet holds that policies that name what a slice does not hold compile there without a word, and let
// nobody in for it.
func TestSliceIsQuiet(t *testing.T) {
	whole := meshed(`
permit (principal == Service::"web", action == Action::"PUT", resource == Route::"` + read + `");
permit (principal == User::"idp|root", action, resource == Route::"` + orders + `");
permit (principal is User in Role::"support", action, resource in Service::"catalog");
forbid (principal, action, resource in Service::"payments") when { context.params has id && context.hour > 20 };
forbid (principal == Service::"catalog", action, resource in Service::"orders");
forbid (principal, action == Action::"DELETE", resource in Service::"orders");
`)
	if _, findings := Compile(whole); len(findings) > 0 {
		t.Fatal(lines(findings))
	}
	allowed := map[string]int{}
	for name, slice := range map[string]*model.Snapshot{
		"edge": whole.ForEdge(), "web": whole.ForService("web"), "catalog": whole.ForService("catalog"),
		"orders": whole.ForService("orders"), "payments": whole.ForService("payments"),
	} {
		s, findings := Compile(slice)
		if len(findings) > 0 {
			t.Errorf("%s: %s", name, lines(findings))
		}
		all := compiled(t, whole)
		for _, r := range routesOf(slice) {
			for _, m := range r.Methods {
				for _, workload := range []string{"", webID, ordersID, edgeID, model.ServiceID(domain, "payments")} {
					for _, u := range []*User{nil, user("root"), user("c", "customer"), user("s", "support")} {
						q := call(workload, u, m, r.ID)
						compare(t, s, q)
						d := s.Decide(q)
						if workload == edgeID || workload == "" && name == "edge" {
							q.Workload = "" // the whole knows the edge's clients alone
						}
						if r.outward {
							continue // decided about on the other side
						}
						if d.Allow && !all.Decide(q).Allow {
							t.Errorf("%s permits %s %s to %q for %+v, and the whole does not", name, m, r.ID, workload, u)
						}
						if d.Allow {
							allowed[name]++
						}
					}
				}
			}
		}
	}
	if allowed["edge"] == 0 || allowed["orders"] == 0 || allowed["payments"] == 0 {
		t.Errorf("nothing is allowed: %v", allowed)
	}
}

// TestOutward holds that a sidecar decides about what its own service asks by the declaration alone.
func TestOutward(t *testing.T) {
	whole := meshed(`forbid (principal is Service, action, resource) unless { context has user };`)
	s := compiled(t, whole.ForService("orders"))
	for _, tt := range []struct {
		workload string
		want     bool
	}{{ordersID, true}, {webID, false}, {edgeID, false}, {"", false}} {
		if d := s.Decide(call(tt.workload, nil, "POST", charge)); d.Allow != tt.want {
			t.Errorf("%q: got %+v", tt.workload, d)
		}
	}
}

func TestMeshExplain(t *testing.T) {
	s := compiled(t, meshed(`@id("users-only") forbid (principal is Service, action, resource == Route::"`+refund+`") unless { context has user };`))
	for _, tt := range []struct {
		name  string
		query *Query
		want  string
	}{
		{"undeclared", call(webID, nil, "POST", charge), "name web in callers of payments, or in serve for POST /shop.payments.v1.Payments/Charge @palisade.yaml:50:9"},
		{"no identity", call("", nil, "POST", charge), "call as one of these: service orders @palisade.yaml:50:9"},
		{"no user", call(ordersID, nil, "POST", charge), "pass on the transaction token of an end user; the end user needs role customer @palisade.yaml:51:9\n" +
			"pass on the transaction token of an end user; the end user needs role admin or support; add scope pay @palisade.yaml:52:9"},
		{"role", call(ordersID, user("u"), "POST", charge), "the end user needs role customer @palisade.yaml:51:9\nthe end user needs role admin or support; add scope pay @palisade.yaml:52:9"},
		{"scope", call(ordersID, user("u", "support"), "POST", charge), "the end user needs role customer @palisade.yaml:51:9\nadd scope pay @palisade.yaml:52:9"},
		{"forbid", call(ordersID, nil, "POST", refund), "remove forbid users-only at policies/p0.cedar:1:1, or do not meet its condition @policies/p0.cedar:1:1"},
		{"method", call(webID, nil, "PUT", read), "method PUT is not in the grant at palisade.yaml:40:9 @palisade.yaml:40:9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, f := range s.Explain(tt.query) {
				got = append(got, f.Text+" @"+f.Position)
			}
			slices.Sort(got)
			want := strings.Split(tt.want, "\n")
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}

func TestUserMayHelp(t *testing.T) {
	s := compiled(t, meshed(`forbid (principal is Service, action == Action::"GET", resource == Route::"`+read+`") when { principal.name == "web" };`))
	for name, tt := range map[string]struct {
		query *Query
		want  bool
	}{
		"grant for users":       {call(ordersID, nil, "POST", charge), true},
		"there is one already":  {call(ordersID, user("u"), "POST", charge), false},
		"undeclared":            {call(webID, nil, "POST", charge), false},
		"forbidden to services": {call(webID, nil, "GET", read), false},
		"no policy at all":      {call(webID, nil, "PUT", read), false},
	} {
		if got := s.SignInMayHelp(tt.query); got != tt.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if !s.Between(charge) || s.Between(orders) || s.Between("nowhere") {
		t.Error("it is not known where services ask")
	}
}

// TestMeshSource shows grants of serve in Cedar.
func TestMeshSource(t *testing.T) {
	s := compiled(t, meshed())
	for id, want := range map[string]string{
		"grant:" + read + "#0":   "permit (\n  principal is Service,\n  action == Action::\"GET\",\n  resource == Route::\"" + read + "\"\n)\nwhen { principal in [Service::\"payments\", Service::\"web\"] };",
		"grant:" + charge + "#1": "permit (\n  principal == Service::\"orders\",\n  action == Action::\"POST\",\n  resource == Route::\"" + charge + "\"\n)\nwhen { context has user && context.user in [Role::\"admin\", Role::\"support\"] && context.user.scopes.containsAll([\"pay\"]) };",
	} {
		if text, _, _ := s.Source(id); text != want {
			t.Errorf("got\n%s", text)
		}
	}
}

// TestMeshAgainstCedar holds the index to plain Cedar, with random policies about services and users on a mesh.
func TestMeshAgainstCedar(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 120 {
		s := someMesh(t, r, r.IntN(12))
		for range 40 {
			compare(t, s, someCall(r))
		}
	}
}

func FuzzMeshAgainstCedar(f *testing.F) {
	f.Add(uint64(1), uint64(2), byte(5))
	f.Add(uint64(3), uint64(4), byte(40))
	f.Fuzz(func(t *testing.T, a, b uint64, n byte) {
		r := rand.New(rand.NewPCG(a, b))
		s := someMesh(t, r, int(n%64))
		for range 8 {
			compare(t, s, someCall(r))
		}
	})
}

// someMesh is someSet on a mesh.
func someMesh(t testing.TB, r *rand.Rand, n int) *Set {
	t.Helper()
	principals := append([]string{
		"principal is Service", `principal == Service::"web"`, `principal in Service::"orders"`, `principal is Service in Service::"orders"`,
	}, somePrincipals...)
	resources := append([]string{
		`resource == Route::"` + read + `"`, `resource == Route::"` + charge + `"`, `resource in Service::"payments"`,
	}, someResources...)
	conditions := append([]string{
		` when { context has user }`, ` when { context has user && context.user in Role::"customer" }`,
		` when { principal in [Service::"web", Service::"orders"] && context.hour < 14 }`, ` unless { context.user.claims.level > 3 }`,
		` when { principal.name == "web" }`, ` when { principal has owner && principal.data.contains("payment") }`,
		` when { context has workload }`, ` when { context.user == principal }`,
	}, someConditions...)
	var b strings.Builder
	for range n {
		fmt.Fprintf(&b, "%s (%s, %s, %s)%s;\n", pick(r, []string{"permit", "permit", "forbid"}), pick(r, principals), pick(r, someActions), pick(r, resources), pick(r, conditions))
	}
	snap := meshed(b.String())
	if r.IntN(2) == 0 {
		snap.Routes[1].Callers = []string{edgeID}
	}
	c := newCompiler(snap)
	c.grants()
	c.files()
	if len(c.findings) > 0 {
		t.Fatal(lines(c.findings))
	}
	c.link()
	return c.set()
}

func someCall(r *rand.Rand) *Query {
	q := someQuery(r)
	q.Route = pick(r, []string{orders, catalog, refunds, read, charge, refund})
	q.Workload = pick(r, []string{"", webID, ordersID, edgeID, model.ServiceID(domain, "payments")})
	return q
}

// TestMeshDecisionDoesNotAllocate holds the common decisions between services to no allocation at all: a declared caller,
// with and without an end user who needs a role.
func TestMeshDecisionDoesNotAllocate(t *testing.T) {
	s := compiled(t, meshed())
	roles := []string{"customer"}
	if n := testing.AllocsPerRun(100, func() {
		if d, ok := s.DecideByRoles("GET", read, webID, false, nil); !ok || !d.Allow {
			t.Fatal("refused")
		}
		if d, ok := s.DecideByRoles("POST", charge, ordersID, true, roles); !ok || !d.Allow {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
