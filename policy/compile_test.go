package policy

import (
	"strings"
	"testing"

	"github.com/palisade-security/palisade/model"
)

func TestFindings(t *testing.T) {
	tests := []struct {
		name   string
		policy string
		want   string // one line for each finding; "" for none
	}{
		{
			"nothing wrong", `permit (principal in Role::"customer", action in Action::"write", resource in Service::"payments");`,
			"",
		},
		{"syntax", "permit (principal, action, resource);\n\npermit (principal action, resource);", "error policy-syntax policies/p0.cedar:3:25: not Cedar: expected ,, found action"},
		{"syntax, all of it", "permit (principal, action, resource) when { 1 + };\n  // a; comment\n  permit (who, action, resource);\nforbid (principal, action, resource)", "error policy-syntax policies/p0.cedar:1:50: not Cedar: near \";\": invalid primary\nerror policy-syntax policies/p0.cedar:3:14: not Cedar: expected principal, found who\nerror policy-syntax policies/p0.cedar:4:37: not Cedar: expected ;, found the end"},
		{"text without end", `permit (principal, action, resource) when { "`, "error policy-syntax policies/p0.cedar:1:45: not Cedar: literal not terminated"},
		{"not text", "permit (principal, action, resource) when { \"\xff\" };", "error policy-syntax policies/p0.cedar:1:45: not Cedar: invalid UTF-8 encoding"},
		{"deep", strings.Repeat("(", 100), "error policy-syntax policies/p0.cedar: brackets are nested more than 64 deep"},
		{"unknown role", "\n\n  permit (principal in Role::\"custommer\", action, resource);", `error unknown-role policies/p0.cedar:3:24: role "custommer" is not declared (did you mean "customer"?)`},
		{"unknown role in a condition", `permit (principal, action, resource) when { principal in [Role::"customer", Role::"suport"] };`, `error unknown-role policies/p0.cedar:1:77: role "suport" is not declared (did you mean "support"?)`},
		{"unknown service", `forbid (principal, action, resource in Service::"order");`, `error unknown-service policies/p0.cedar:1:40: service "order" is not declared (did you mean "orders"?)`},
		{"unknown route", `forbid (principal, action, resource == Route::"orders shop.localhost/orders/{ids}");`, `error unknown-route policies/p0.cedar:1:40: route "orders shop.localhost/orders/{ids}" is not declared (did you mean "orders shop.localhost/orders/{id}"?)`},
		{"unknown action", `forbid (principal, action == Action::"get", resource);`, `error unknown-action policies/p0.cedar:1:30: action "get" is not known (actions are methods in upper case, and the groups read and write)`},
		{"unknown type", `forbid (principal is Person, action, resource);`, "error policy-type policies/p0.cedar:1:1: the policy does not fit the schema: unrecognized entity type `Person`"},
		{"unknown provider", `forbid (principal == User::"ipd|mallory", action, resource);`, `error unknown-provider policies/p0.cedar:1:22: provider "ipd" is not declared (did you mean "idp"?)`},
		{"user without provider", `forbid (principal == User::"mallory", action, resource);`, `error unknown-user policies/p0.cedar:1:22: User::"mallory" names no user (write User::"<provider>|<subject>")`},
		{"nobody but anyone", `forbid (principal == Anonymous::"someone", action, resource);`, `error unknown-entity policies/p0.cedar:1:22: Anonymous::"someone" does not exist (write Anonymous::"anyone")`},
		{"role as a resource", `forbid (principal, action, resource in Role::"customer");`, "error policy-type policies/p0.cedar:1:1: the scope can match no request (principals are User (in Role) and Anonymous, actions are methods, resources are Route (in Service))"},
		{"service as a principal", `permit (principal == Service::"orders", action, resource);`, "error policy-type policies/p0.cedar:1:1: the scope can match no request (principals are User (in Role) and Anonymous, actions are methods, resources are Route (in Service))"},
		{"attribute that is not there", `permit (principal is User, action, resource) when { principal.age > 3 };`, "error policy-type policies/p0.cedar:1:63: the policy does not fit the schema: attribute `age` on entity type `User` not found"},
		{"attribute of anyone", `permit (principal, action, resource) when { principal.claims has team };`, "error policy-type policies/p0.cedar:1:55: the policy does not fit the schema: attribute `claims` on entity type `Anonymous` not found (anonymous principals have no attributes: begin with permit (principal is User, ...))"},
		{"optional attribute without has", `permit (principal is User, action, resource) when { principal.claims.team == "x" };`, "error policy-type policies/p0.cedar:1:70: the policy does not fit the schema: unable to guarantee safety of access to optional attribute `claims.team` on entity type `User` (ask first: context has acr && context.acr == ...)"},
		{"types that do not compare", `permit (principal is User, action, resource) when { context.hour == "8" };`, "error policy-type policies/p0.cedar:1:1: the policy does not fit the schema: the types Long and String are not compatible"},
		{"claim nobody declares", `permit (principal is User, action, resource) when { principal.claims has tema && principal.claims.tema == "x" };`, `error unknown-attribute policies/p0.cedar:1:74: principal.claims never has "tema" (did you mean "team"?)`},
		{"parameter nobody has", `permit (principal, action, resource) when { context.params has nr };`, `error unknown-attribute policies/p0.cedar:1:64: context.params never has "nr" (there are id)`},
		{"trivially false permit", `permit (principal, action, resource) when { false };`, "warning policy-never-applies policies/p0.cedar:1:1: the condition is never true, so this policy can never apply"},
		{"trivially false forbid", `forbid (principal is User, action, resource) unless { principal is User };`, "error policy-never-applies policies/p0.cedar:1:1: the condition is never true, so this policy can never apply"},
		{"false by two conditions", `permit (principal is Anonymous, action, resource) when { context.hour < 5 } when { principal in Role::"admin" };`, "warning policy-never-applies policies/p0.cedar:1:1: the condition is never true, so this policy can never apply"},
		{"method of no route in scope", `permit (principal, action == Action::"DELETE", resource in Service::"payments");`, "warning policy-never-applies policies/p0.cedar:1:1: no route in the scope takes a method of this policy, so it can never apply (they take POST)"},
		{"one of two methods", `permit (principal, action in [Action::"DELETE", Action::"POST"], resource in Service::"payments");`, "warning policy-never-applies policies/p0.cedar:1:1: no route in the scope takes DELETE (they take POST)"},
		{"forbid of a method of no route", `forbid (principal, action in Action::"read", resource == Route::"` + refunds + `");`, "error policy-never-applies policies/p0.cedar:1:1: no route in the scope takes a method of this policy, so it can never apply (they take POST)"},
		{"service without routes", `permit (principal, action, resource in Service::"web");`, "warning policy-never-applies policies/p0.cedar:1:1: no route is in the scope, so this policy never applies yet (expose a route of the service)"},
		{"same id", "@id(\"a\")\npermit (principal is User, action, resource);\n@id(\"a\")\nforbid (principal is User, action, resource);", `error policy-id policies/p0.cedar:3:1: policy id "a" is used twice (give each policy its own @id) [policies/p0.cedar:1:1]`},
		{"id of a grant", `@id("grant:x#0") permit (principal, action, resource);`, "error policy-id policies/p0.cedar:1:1: @id must be 1 to 200 printable characters and not begin with grant:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, findings := Compile(shop(tt.policy))
			got := lines(findings)
			if got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if hasError := strings.Contains("\n"+got, "\nerror "); hasError != (s == nil) {
				t.Errorf("error %v, set %v", hasError, s != nil)
			}
		})
	}
}

func TestGrantFindings(t *testing.T) {
	tests := []struct {
		name  string
		grant model.Grant
		want  string
	}{
		{"nobody", model.Grant{}, "error grant-empty palisade.yaml:30:9: this grant permits nobody (name anyone, users, roles or scopes)"},
		{"anyone and roles", model.Grant{Anyone: true, Roles: []string{"admin"}}, "error grant-ambiguous palisade.yaml:30:9: a grant names one of anyone, users and roles (write one grant for each)"},
		{"anyone with scopes", model.Grant{Anyone: true, Scopes: []string{"a"}}, "error grant-ambiguous palisade.yaml:30:9: anyone has no token and so no scopes (use users with scopes)"},
		{"unknown role", model.Grant{Roles: []string{"custmer"}}, `error unknown-role palisade.yaml:30:9: role "custmer" is not declared (did you mean "customer"?)`},
		{"method", model.Grant{Users: true, Methods: []string{"GET"}}, "error method-not-in-route palisade.yaml:30:9: the route does not take GET, so this can never apply (it takes POST)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			snap := shop()
			snap.Routes[2].Allow = []model.ResolvedGrant{{Grant: tt.grant, Position: at(30)}}
			if s, findings := Compile(snap); s != nil || lines(findings) != tt.want {
				t.Errorf("got\n%s\nwant\n%s", lines(findings), tt.want)
			}
		})
	}
}
