package policy

import (
	"reflect"
	"testing"

	"github.com/palisade-security/palisade/model"
)

// scoped are files of policies, each with what it can concern.
var scoped = []struct { //nolint:gochecknoglobals // constant
	text  string
	scope model.PolicyScope
}{
	{
		`permit (principal, action, resource in Service::"orders") when { context has user };
@id("two") forbid (principal is Service, action, resource is Route in Service::"orders") unless { context has user };`,
		model.PolicyScope{Services: []string{"orders", "orders"}},
	},
	{
		`forbid (principal, action == Action::"POST", resource == Route::"` + refund + `") when { !(context has user) };`,
		model.PolicyScope{Routes: []string{refund}},
	},
	{
		`forbid (principal, action, resource) when { context has user && resource in Service::"payments" && context.user in Role::"customer" };`,
		model.PolicyScope{Everywhere: true},
	},
	{
		`forbid (principal, action, resource is Route) when { resource.data.contains("card") && !(context has user) };`,
		model.PolicyScope{Everywhere: true},
	},
	{
		`permit (principal is User, action, resource in Service::"catalog");
permit (principal, action, resource == Route::"` + read + `") when { context has user && context.user in Role::"support" };`,
		model.PolicyScope{Services: []string{"catalog"}, Routes: []string{read}},
	},
	{`permit (principal is User in Role::"support", action, resource == Route::"` + orders + `");`, model.PolicyScope{Routes: []string{orders}}},
}

func TestScopes(t *testing.T) {
	files := []model.PolicyFile{{Name: "broken", Text: "permit (;"}, {Name: "deep", Text: string(make([]byte, maxFile+1))}, {Name: "empty"}}
	want := []model.PolicyScope{{Everywhere: true}, {Everywhere: true}, {}}
	for _, s := range scoped {
		files, want = append(files, model.PolicyFile{Text: s.text}), append(want, s.scope)
	}
	if got := Scopes(files); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestNarrowed holds that a slice without the policies that cannot concern it decides as one with all of them.
func TestNarrowed(t *testing.T) {
	var texts []string
	for _, s := range scoped {
		texts = append(texts, s.text)
	}
	whole := meshed(texts...)
	if _, findings := Compile(whole); len(findings) > 0 {
		t.Fatal(lines(findings))
	}
	slicer := model.NewSlicer(whole)
	slicer.NarrowPolicies(Scopes(whole.Policies))
	left, decided := 0, 0
	for i := range whole.Services {
		name := whole.Services[i].Name
		narrow, wide := slicer.Service(name), whole.ForService(name)
		left += len(wide.Policies) - len(narrow.Policies)
		one, all := compiled(t, narrow), compiled(t, wide)
		for _, r := range routesOf(wide) {
			for _, m := range r.Methods {
				for _, workload := range []string{"", webID, ordersID, edgeID, model.ServiceID(domain, "payments"), model.ServiceID(domain, "catalog")} {
					for _, u := range []*User{nil, user("root"), user("c", "customer"), user("s", "support")} {
						q := call(workload, u, m, r.ID)
						got, want := one.Decide(q), all.Decide(q)
						if got.Allow != want.Allow || codes(got) != codes(want) || got.Errors != want.Errors {
							t.Errorf("%s: %s %s by %q for %+v: %v %q, with all policies %v %q", name, m, r.ID, workload, u, got.Allow, codes(got), want.Allow, codes(want))
						}
						decided++
					}
				}
			}
		}
	}
	if left == 0 || decided == 0 {
		t.Errorf("%d files left out, %d decisions", left, decided)
	}
}
