package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
)

// plain asks Cedar itself about all policies of a set, with everything there is to know about the request.
func plain(s *Set, q *Query) (allow bool, reasons, failed []string) {
	if _, declared := s.routes[q.Route].asks(q.Workload); !declared {
		return false, nil, nil
	}
	decision, diagnostic := plainly(s)(q)
	for _, r := range diagnostic.Reasons {
		reasons = append(reasons, string(r.PolicyID))
	}
	for _, e := range diagnostic.Errors {
		failed = append(failed, string(e.PolicyID))
	}
	slices.Sort(reasons)
	slices.Sort(failed)
	return bool(decision), reasons, failed
}

// plainly returns a decider without an index.
func plainly(s *Set) func(q *Query) (cedar.Decision, cedar.Diagnostic) {
	return func(q *Query) (cedar.Decision, cedar.Diagnostic) {
		all := cedar.PolicyMap{}
		for _, r := range s.rules {
			if !shutOut(s, q, r) {
				all[cedar.PolicyID(r.id)] = cedar.NewPolicyFromAST((*ast.Policy)(r.tree))
			}
		}
		service, _ := s.routes[q.Route].asks(q.Workload)
		principal, _ := s.principal(q, service, nil)
		c := s.circumstances(q, s.routes[q.Route], needAll)
		return cedar.Authorize(all, c, cedar.Request{
			Principal: principal, Action: cedar.NewEntityUID(typeAction, cedar.String(q.Method)),
			Resource: routeUID(q.Route), Context: q.context(c.needs),
		})
	}
}

// shutOut tells whether a permit of a file is without say: between services a route's own grants have the last word
// on the methods that they name.
func shutOut(s *Set, q *Query, r *rule) bool {
	rc := s.routes[q.Route]
	if !rc.between || r.grant != nil || r.effect == cedar.Forbid {
		return false
	}
	return slices.ContainsFunc(s.rules, func(g *rule) bool {
		if !strings.HasPrefix(g.id, "grant:"+q.Route+"#") {
			return false
		}
		return slices.Contains(g.grant.Methods, q.Method) || len(g.grant.Methods) == 0 && slices.Contains(rc.methods, q.Method)
	})
}

// compare holds Decide to what plain Cedar says, with the one difference that an error denies.
func compare(t *testing.T, s *Set, q *Query) {
	t.Helper()
	allow, reasons, failed := plain(s, q)
	d := s.Decide(q)
	var gotReasons, gotFailed []string
	for _, r := range d.Reasons {
		switch r.Code {
		case CodePermit, CodeForbid:
			gotReasons = append(gotReasons, r.Policy)
		case CodePolicyError:
			gotFailed = append(gotFailed, r.Policy)
		case CodeNoPermit, CodeUndeclared:
		default:
			t.Fatalf("unexpected reason %+v", r)
		}
	}
	slices.Sort(gotReasons)
	slices.Sort(gotFailed)
	if len(failed) > 0 && allow {
		allow, reasons = false, nil // permits do not count any more
	}
	if d.Allow != allow || !slices.Equal(gotReasons, reasons) || !slices.Equal(gotFailed, failed) || d.Errors != (len(failed) > 0) {
		t.Fatalf("%s %s %+v\ngot  %v %q failed %q\nwant %v %q failed %q", q.Method, q.Route, q.User, d.Allow, gotReasons, gotFailed, allow, reasons, failed)
	}
	var roles []string
	if q.User != nil {
		roles = q.User.Roles
	}
	if quick, ok := s.DecideByRoles(q.Method, q.Route, q.Workload, q.User != nil, roles); ok && !reflect.DeepEqual(quick, d) {
		t.Fatalf("%s %s %+v\nby roles %+v\nwant     %+v", q.Method, q.Route, q.User, quick, d)
	}
	permits, forbids := s.Concerning(q.Route, q.Workload)
	for _, id := range slices.Concat(gotReasons, gotFailed) {
		if !slices.Contains(permits, id) && !slices.Contains(forbids, id) {
			t.Fatalf("%s %s %+v: policy %s decides, and is not among %q and %q", q.Method, q.Route, q.User, id, permits, forbids)
		}
	}
	if d.Allow && s.Explain(q) != nil || !d.Allow && len(s.Explain(q)) == 0 {
		t.Fatalf("allow %v but explained as %v", d.Allow, s.Explain(q))
	}
}

var (
	somePrincipals = []string{
		"principal", "principal is User", "principal is Anonymous", `principal in Role::"customer"`,
		`principal in Role::"support"`, `principal is User in Role::"admin"`, `principal == User::"idp|u1"`,
		`principal in User::"idp|u2"`, `principal == Anonymous::"anyone"`, `principal in Anonymous::"anyone"`,
		`principal is Anonymous in Role::"customer"`, `principal == Role::"admin"`,
	}
	someActions = []string{
		"action", `action == Action::"GET"`, `action in Action::"read"`, `action in [Action::"write", Action::"HEAD"]`,
		`action in [Action::"POST", Action::"DELETE"]`, `action == Action::"read"`, "action in []",
	}
	someResources = []string{
		"resource", "resource is Route", "resource is Service", `resource in Service::"orders"`,
		`resource == Route::"` + orders + `"`, `resource in Route::"` + refunds + `"`,
		`resource is Route in Service::"payments"`, `resource == Service::"orders"`, `resource is Service in Service::"orders"`,
	}
	someConditions = []string{
		"", "", "",
		` when { principal in [Role::"support", Role::"customer"] }`,
		` when { principal in Role::"customer" && principal.scopes.contains("a") }`,
		` when { principal in [Role::"admin", Role::"admin"] && context.hour < 14 && resource.data.contains("personal") }`,
		` when { principal in Role::"support" } unless { principal.roles.contains("admin") }`,
		` unless { principal in Role::"customer" }`,
		` when { principal.claims.level > 3 }`,
		` when { principal.claims has level && principal.claims.level + 9223372036854775806 > 0 }`,
		` when { (if context.authenticated then principal.claims else {level: 4}) has level }`,
		` when { context has acr && context.acr == "high" } when { context.ip.isInRange(ip("10.0.0.0/8")) }`,
		` when { context.params has id && principal.subject == context.params.id }`,
		` when { resource has owner && [context].contains(context) }`,
		` when { {c: context}.c.time.toTime() > duration("12h") }`,
		` when { action in Action::"read" || resource in Service::"payments" }`,
		` when { context.path like "/x*" && context.weekday == 3 }`,
		` when { principal == User::"idp|u1" }`,
		` when { 1 }`,
		` when { context == {} }`,
		` when { principal in [] }`,
		` when { principal in Role::"customer" && 1 }`,
	}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func someQuery(r *rand.Rand) *Query {
	q := ask(nil, pick(r, []string{"GET", "HEAD", "POST", "PUT", "DELETE"}), pick(r, []string{orders, catalog, refunds}))
	q.Time = q.Time.Add(time.Duration(r.IntN(72)) * time.Hour)
	q.Client = pick(r, []netip.Addr{{}, netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("2001:db8::1")})
	if r.IntN(4) > 0 {
		q.User = user(pick(r, []string{"u1", "u2", "42"}))
		for _, role := range []string{"admin", "customer", "support", "undeclared"} {
			if r.IntN(3) == 0 {
				q.User.Roles = append(q.User.Roles, role)
			}
		}
		q.User.ACR = pick(r, []string{"", "low", "high"})
		q.User.Scopes = pick(r, [][]string{nil, {"a"}, {"b", "orders:write"}})
		q.User.Claims = pick(r, []map[string]any{nil, {"level": int64(1)}, {"level": int64(9)}, {"level": "x", "team": "t"}})
	}
	return q
}

// someSet compiles random policies. They are not validated, so that scopes and conditions that make no sense
// are held to Cedar's answer, too.
func someSet(t testing.TB, r *rand.Rand, n int) *Set {
	t.Helper()
	var b strings.Builder
	for range n {
		fmt.Fprintf(&b, "%s (%s, %s, %s)%s;\n", pick(r, []string{"permit", "permit", "permit", "forbid"}),
			pick(r, somePrincipals), pick(r, someActions), pick(r, someResources), pick(r, someConditions))
	}
	c := newCompiler(shop(b.String()))
	c.grants()
	c.files()
	if len(c.findings) > 0 {
		t.Fatal(lines(c.findings))
	}
	c.link()
	return c.set()
}

func TestIndexAgainstCedar(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		s := someSet(t, r, r.IntN(12))
		for range 40 {
			compare(t, s, someQuery(r))
		}
	}
}

func FuzzIndexAgainstCedar(f *testing.F) {
	f.Add(uint64(1), uint64(2), byte(5))
	f.Add(uint64(3), uint64(4), byte(40))
	f.Fuzz(func(t *testing.T, a, b uint64, n byte) {
		r := rand.New(rand.NewPCG(a, b))
		s := someSet(t, r, int(n%64))
		for range 8 {
			compare(t, s, someQuery(r))
		}
	})
}
