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
	o := s.run(q, mc, route, nil)
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
	return append(flips, s.nearest(q, mc, route)...)
}

// nearest ranks the permits of the route by how little they lack.
func (s *Set) nearest(q *Query, mc *methodCell, route *routeCells) []Flip {
	var all []candidateFlip
	for _, r := range slices.Concat(route.named, s.common) {
		if r.effect == cedar.Permit {
			if c := s.lacks(q, mc, route, r); len(c.changes) > 0 {
				all = append(all, c)
			}
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
		flips = []Flip{{Text: fmt.Sprintf("no policy permits anything on route %q; add a grant or a policy", q.Route)}}
	}
	return flips
}

// lacks lists what keeps a permit from applying to q. Missing a role is the smallest lack, then a condition,
// then signing in, then a method, which is a change to the policy and not to the request.
func (s *Set) lacks(q *Query, mc *methodCell, route *routeCells, r *rule) candidateFlip {
	c := candidateFlip{rule: r}
	if !actionMatches(r.tree.Action, mc.action, ancestors(s.entities, mc.action)) {
		what := "policy " + r.id
		if r.grant != nil {
			what = "the grant"
		}
		c.add(4, "method "+q.Method+" is not in "+what+" at "+r.position)
	}
	c.principal(s, q)
	if r.rest != nil && (q.User != nil || !needsUser(r)) {
		c.conditions(s, q, mc, route)
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
func (c *candidateFlip) principal(s *Set, q *Query) {
	principal, groups := anyone, []cedar.EntityUID{anyone}
	if q.User != nil {
		principal = userUID(q.User)
		groups = s.principalIn(nil, principal, q.User.Roles)
	}
	var roles []string
	for _, w := range c.rule.who {
		if w.admits(principal, groups) {
			return
		}
		if w.in.Type == typeRole {
			roles = append(roles, string(w.in.ID))
		}
	}
	switch {
	case len(roles) > 0 && q.User == nil:
		c.add(4, "sign in as a user with role "+strings.Join(roles, " or "))
	case len(roles) > 0:
		c.add(1, "add role "+strings.Join(roles, " or "))
	case c.rule.who[0].kind == typeUser && q.User == nil:
		c.add(3, "sign in")
	case c.rule.who[0].is != cedar.EntityUID{}:
		c.add(5, "be "+c.rule.who[0].is.String())
	default:
		c.add(6, "the principal is not in the scope of policy "+c.rule.id)
	}
}

// conditions adds the parts of the rule's conditions that are not true.
func (c *candidateFlip) conditions(s *Set, q *Query, mc *methodCell, route *routeCells) {
	principal := anyone
	if q.User != nil {
		principal = userUID(q.User)
	}
	env := eval.Env{
		Entities:  &circumstances{set: s, query: q, needs: needAll, principal: principal},
		Principal: principal, Action: mc.action, Resource: route.uid, Context: q.context(needAll),
	}
	var untrue []string
	for _, condition := range c.rule.left {
		for _, part := range conjuncts(condition) {
			// A part that fails stands behind one that is not true and guards it; both must become true.
			if v, err := eval.Eval(part, env); err == nil && v == cedar.Boolean(true) {
				continue
			}
			if missing := missingScopes(part, q.User); len(missing) > 0 {
				c.add(2, "add scope "+strings.Join(missing, " "))
			} else {
				untrue = append(untrue, nodeText(part))
			}
		}
	}
	if len(untrue) > 0 {
		c.add(2*len(untrue), "make this true: "+strings.Join(untrue, " && "))
	}
}

// conjuncts splits a chain of && into its operands.
func conjuncts(n xast.IsNode) []xast.IsNode {
	if and, ok := n.(xast.NodeTypeAnd); ok {
		return append(conjuncts(and.Left), conjuncts(and.Right)...)
	}
	return []xast.IsNode{n}
}

// missingScopes returns what the user lacks of "principal.scopes.containsAll([...])"; nil for any other
// expression.
func missingScopes(n xast.IsNode, user *User) []string {
	all, ok := n.(xast.NodeTypeContainsAll)
	if !ok || user == nil {
		return nil
	}
	access, ok := all.Left.(xast.NodeTypeAccess)
	set, isSet := all.Right.(xast.NodeTypeSet)
	if !ok || !isSet || access.Value != "scopes" || !isVariable(access.Arg, "principal") {
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
		if !slices.Contains(user.Scopes, string(scope)) {
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
