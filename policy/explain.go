package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// maxFlips bounds how many ways an explanation shows.
const maxFlips = 5

// Flip is one way to turn a denial into a permission, the smallest first.
type Flip struct {
	Text     string // what to change, as a sentence without full stop: "add role customer"
	Position string // file:line:col of the policy it is about; "": none
	Policy   string // id of that policy; "": none
}

// candidate is a permit that does not apply, with all that keeps it from applying.
type candidateFlip struct {
	rule    *rule
	changes []string
	cost    int
}

// Explain returns what would flip a denial: the policies in the way, or else the permits that came closest and
// what each lacks. It returns nil if q is allowed or the route is not known. It is for people, not for the
// hot path, and its texts may hold values that policies compare with.
func (s *Set) Explain(q *Query) []Flip {
	mc, route := s.find(q.Method, q.Route)
	if mc == nil {
		return nil
	}
	service, ok := route.asks(q.Workload)
	if !ok {
		return []Flip{{Text: route.declare(q), Position: route.position}}
	}
	o := s.run(q, mc, route, service, nil)
	var flips []Flip
	for _, f := range o.failed {
		flips = append(flips, Flip{
			Text:     "mend policy " + f.rule.id + ", which could not be evaluated: " + f.message,
			Position: f.rule.position, Policy: f.rule.id,
		})
	}
	for _, r := range o.matched {
		if r.effect == cedar.Forbid {
			flips = append(flips, Flip{
				Text:     "remove forbid " + r.id + " at " + r.position + ", or do not meet its condition",
				Position: r.position, Policy: r.id,
			})
		}
	}
	if len(o.matched) > o.forbids {
		return flips // something permits already
	}
	a := asker{set: s, query: q, method: mc, route: route}
	a.principal, a.groups = s.principal(q, service, nil)
	return append(flips, a.nearest()...)
}

// asker is who asks for what.
type asker struct {
	set       *Set
	query     *Query
	method    *methodCell
	route     *routeCells
	principal cedar.EntityUID
	groups    []cedar.EntityUID // that it is in, itself first
}

// declare is what lets a caller in that the model does not name.
func (c *callers) declare(q *Query) string {
	if name, ok := strings.CutPrefix(c.name(q.Workload), "service "); ok {
		return "name " + name + " in callers of " + c.service + ", or in serve for " + q.Method + " " + c.template
	}
	return "call as one of these: " + c.names
}

// permits are those that can come to bear: between services a route's own grants shut out others.
func (a *asker) permits() []*rule {
	all := slices.Concat(a.route.named, a.set.common)
	return slices.DeleteFunc(all, func(r *rule) bool {
		barred := a.route.between && r.grant == nil && !slices.Contains(a.method.own.all, r) && !slices.Contains(a.method.common.all, r)
		return r.effect != cedar.Permit || barred || !r.canBe(a.route.between)
	})
}

// nearest ranks the permits of the route by how little they lack.
func (a *asker) nearest() []Flip {
	var all []candidateFlip
	for _, r := range a.permits() {
		if c := a.lacks(r); len(c.changes) > 0 {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b candidateFlip) int { return cmp.Compare(a.cost, b.cost) })
	var flips []Flip
	for _, c := range all {
		if len(flips) == maxFlips || c.cost > all[0].cost+2 {
			break
		}
		flips = append(flips, Flip{
			Text: strings.Join(c.changes, "; "), Position: c.rule.position, Policy: c.rule.id,
		})
	}
	if flips == nil {
		flips = []Flip{{Text: fmt.Sprintf("no policy permits anything on route %q; add a grant or a policy", a.query.Route)}}
	}
	return flips
}

// lacks lists what keeps a permit from applying. Missing a role is the smallest lack, then a condition, then signing
// in, then a method, which is a change to the policy and not to the request.
func (a *asker) lacks(r *rule) candidateFlip {
	c := candidateFlip{rule: r}
	if !actionMatches(r.tree.Action, a.method.action, ancestors(a.set.entities, a.method.action)) {
		what := "policy " + r.id
		if r.grant != nil {
			what = "the grant"
		}
		c.add(4, "method "+a.query.Method+" is not in "+what+" at "+r.position)
	}
	c.principal(a)
	if len(r.left) > 0 && (a.query.User != nil || a.route.between || !needsUser(r)) {
		c.conditions(a)
	}
	return c
}

func (c *candidateFlip) add(cost int, change string) {
	c.cost += cost
	c.changes = append(c.changes, change)
}

// needsUser reports whether no alternative of the rule takes in who did not sign in.
func needsUser(r *rule) bool {
	return !slices.ContainsFunc(r.who, func(w who) bool { return w.admits(anyone, []cedar.EntityUID{anyone}) })
}

// admits reports whether the alternative takes in a principal that is in all of groups.
func (w who) admits(principal cedar.EntityUID, groups []cedar.EntityUID) bool {
	return (w.kind == "" || w.kind == principal.Type) &&
		(w.is == cedar.EntityUID{} || w.is == principal) &&
		(w.in == cedar.EntityUID{} || slices.Contains(groups, w.in))
}

// principal adds what the principal lacks for the rule's scope.
func (c *candidateFlip) principal(a *asker) {
	var roles []string
	for _, w := range c.rule.who {
		if w.admits(a.principal, a.groups) {
			return
		}
		if w.in.Type == typeRole {
			roles = append(roles, string(w.in.ID))
		}
	}
	switch first := c.rule.who[0]; {
	case len(roles) > 0 && a.query.User == nil:
		c.add(4, "sign in as a user with role "+strings.Join(roles, " or "))
	case len(roles) > 0:
		c.add(1, "add role "+strings.Join(roles, " or "))
	case first.kind == typeUser && a.query.User == nil:
		c.add(3, "sign in")
	case first.is != cedar.EntityUID{}:
		c.add(5, "be "+first.is.String())
	default:
		c.add(6, "the principal is not in the scope of policy "+c.rule.id)
	}
}

// conditions adds the parts of the rule's conditions that are not true.
func (c *candidateFlip) conditions(a *asker) {
	entities := a.set.circumstances(a.query, a.route, needAll)
	env := eval.Env{
		Entities: entities, Principal: a.principal, Action: a.method.action, Resource: a.route.uid,
		Context: a.query.context(entities.needs),
	}
	var untrue []string
	for _, condition := range c.rule.left {
		for _, part := range conjuncts(condition) {
			// A part that fails stands behind one that is not true and guards it; both must become true.
			if v, err := eval.Eval(part, env); err == nil && v == cedar.Boolean(true) {
				continue
			}
			if cost, change := userLacks(part, a.query.User); change != "" {
				c.add(cost, change)
			} else {
				untrue = append(untrue, nodeText(part))
			}
		}
	}
	if len(untrue) > 0 {
		c.add(2*len(untrue), "make this true: "+strings.Join(untrue, " && "))
	}
}

// userLacks says what the end user lacks of a part of a condition in which grants ask for one; "" for any other.
func userLacks(part xast.IsNode, user *User) (cost int, change string) {
	switch n := part.(type) {
	case xast.NodeTypeHas:
		if n.Value == "user" && isVariable(n.Arg, "context") {
			return 3, "pass on the transaction token of an end user"
		}
	case xast.NodeTypeIn:
		var names []string
		for _, role := range userRoles(n) {
			names = append(names, string(role.ID))
		}
		if names != nil {
			return 1, "the end user needs role " + strings.Join(names, " or ")
		}
	case xast.NodeTypeContainsAll:
		if missing := missingScopes(n, user); len(missing) > 0 {
			return 2, "add scope " + strings.Join(missing, " ")
		}
	}
	return 0, ""
}

// conjuncts splits a chain of && into its operands.
func conjuncts(n xast.IsNode) []xast.IsNode {
	if and, ok := n.(xast.NodeTypeAnd); ok {
		return append(conjuncts(and.Left), conjuncts(and.Right)...)
	}
	return []xast.IsNode{n}
}

// missingScopes returns what the user lacks of "principal.scopes.containsAll([...])", or of the same of context.user;
// nil for any other expression.
func missingScopes(all xast.NodeTypeContainsAll, user *User) []string {
	access, ok := all.Left.(xast.NodeTypeAccess)
	set, isSet := all.Right.(xast.NodeTypeSet)
	if !ok || !isSet || access.Value != "scopes" || !isVariable(access.Arg, "principal") && !isUser(access.Arg) {
		return nil
	}
	var missing []string
	for _, e := range set.Elements {
		v, ok := e.(xast.NodeValue)
		if !ok {
			return nil
		}
		scope, ok := v.Value.(cedar.String)
		if !ok {
			return nil
		}
		if user == nil || !slices.Contains(user.Scopes, string(scope)) {
			missing = append(missing, string(scope))
		}
	}
	return missing
}

// nodeText writes an expression as Cedar text, on one line.
func nodeText(n xast.IsNode) string {
	p := xast.Permit().When(xast.NewNode(n))
	text := string(cedar.NewPolicyFromAST((*ast.Policy)(p)).MarshalCedar())
	_, text, _ = strings.Cut(text, "when {")
	text = strings.TrimSuffix(strings.TrimSpace(text), ";")
	text = strings.TrimSuffix(strings.TrimSpace(text), "}")
	return strings.Join(strings.Fields(text), " ")
}
