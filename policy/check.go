package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/palisade-security/palisade/model"
)

// check validates every policy and finds those that can never apply.
func (c *compiler) check() {
	c.link()
	if c.sliced() {
		return
	}
	c.cover()
	for _, r := range c.rules {
		names := c.names(r)
		if c.validator == nil {
			continue
		}
		valid := c.types(r)
		if names && valid {
			c.reach(r)
		}
	}
}

// coverage is what the scope of a rule takes in.
type coverage struct {
	takes   map[string]bool // methods that routes in the scope take, of those where the rule's principals can ask
	applies bool            // one of these methods is in the scope, too
	beside  bool            // a route is in the scope where others ask than the rule's principals
}

// cover finds out, in one pass over the routes, what each rule's scope takes in.
func (c *compiler) cover() {
	c.scope = make([]coverage, len(c.rules))
	every := map[bool]map[string]bool{false: {}, true: {}} // methods that some route takes, by whether services ask there
	shared := map[*cell]bool{}
	for _, rc := range c.routed {
		for _, r := range rc.named {
			if r.canBe(rc.between) {
				c.scope[r.order].take(rc.methods...)
			} else {
				c.scope[r.order].beside = true
			}
		}
		for _, m := range rc.methods {
			every[rc.between][m] = true
			c.scoped(&rc.cells[m].own)
			shared[rc.cells[m].common] = true
		}
	}
	for cell := range shared {
		c.scoped(cell)
	}
	for _, r := range c.common {
		for between, methods := range every {
			if r.canBe(between) {
				c.scope[r.order].take(slices.Collect(maps.Keys(methods))...)
			}
		}
	}
}

// scoped notes that the rules of a cell apply to some method.
func (c *compiler) scoped(of *cell) {
	for _, r := range of.all {
		c.scope[r.order].applies = true
	}
}

func (s *coverage) take(methods ...string) {
	if s.takes == nil {
		s.takes = map[string]bool{}
	}
	for _, m := range methods {
		s.takes[m] = true
	}
}

// reach finds policies that are well formed but can never apply. A forbid of that kind is an error, since
// someone relies on it.
func (c *compiler) reach(r *rule) {
	severity := model.Warning
	if r.effect == cedar.Forbid {
		severity = model.Error
	}
	find := func(severity model.Severity, text, hint string) {
		c.find(model.Finding{
			Severity: severity, Code: "policy-never-applies", Position: r.at, Text: text, Hint: hint,
		})
	}
	if c.alwaysFalse(r) {
		find(severity, "the condition is never true, so this policy can never apply", "")
		return
	}
	scope := c.scope[r.order]
	takes := slices.Sorted(maps.Keys(scope.takes))
	switch {
	case len(takes) == 0 && scope.beside && r.canBe(false):
		find(severity, "between services the calling service is the principal, so this policy can never apply",
			`ask for the end user: context has user && context.user in Role::"..."`)
		return
	case len(takes) == 0 && scope.beside:
		find(model.Warning, "only clients of the edge ask there, and no service, so this policy never applies yet", "name the service in callers")
		return
	case len(takes) == 0:
		find(model.Warning, "no route is in the scope, so this policy never applies yet", "expose a route of the service")
		return
	case !scope.applies && r.effect == cedar.Permit && c.shadowed(r):
		find(severity, "callers and serve say who may ask there, which no policy can widen", "add to serve what is to be permitted")
		return
	case !scope.applies:
		find(severity, "no route in the scope takes a method of this policy, so it can never apply",
			"they take "+strings.Join(takes, ", "))
		return
	}
	for _, uid := range actionLiterals(r.tree.Action) {
		if uid != actionRead && uid != actionWrite && !slices.Contains(takes, string(uid.ID)) {
			find(severity, "no route in the scope takes "+string(uid.ID), "they take "+strings.Join(takes, ", "))
		}
	}
}

// shadowed reports whether a permit takes in a method that serve speaks of already.
func (c *compiler) shadowed(r *rule) bool {
	for _, rc := range c.routed {
		if !rc.between || !slices.Contains(rc.named, r) && !slices.Contains(c.common, r) {
			continue
		}
		for _, m := range rc.methods {
			action := rc.cells[m].action
			if actionMatches(r.tree.Action, action, ancestors(c.entities, action)) {
				return true
			}
		}
	}
	return false
}

func actionLiterals(scope xast.IsActionScopeNode) []cedar.EntityUID {
	switch s := scope.(type) {
	case xast.ScopeTypeEq:
		return []cedar.EntityUID{s.Entity}
	case xast.ScopeTypeIn:
		return []cedar.EntityUID{s.Entity}
	case xast.ScopeTypeInSet:
		return s.Entities
	}
	return nil
}

// alwaysFalse reports whether the type checker can tell that the conditions are false in every environment.
// It gives the checker the conditions followed by an operand that cannot be typed: behind false it is not
// looked at, so no error means false everywhere.
func (c *compiler) alwaysFalse(r *rule) bool {
	if len(r.tree.Conditions) == 0 {
		return false
	}
	var all xast.IsNode
	for _, condition := range r.tree.Conditions {
		n := conditionNode(condition)
		if all == nil {
			all = n
			continue
		}
		all = xast.NodeTypeAnd{BinaryNode: xast.BinaryNode{Left: all, Right: n}}
	}
	probe := *r.tree
	untypable := xast.Long(1).LessThan(xast.String("")).AsIsNode()
	probe.Conditions = []xast.ConditionType{{
		Condition: xast.ConditionWhen,
		Body:      xast.NodeTypeAnd{BinaryNode: xast.BinaryNode{Left: all, Right: untypable}},
	}}
	return c.validator.Policy("", &probe) == nil
}
