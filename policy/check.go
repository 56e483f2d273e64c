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
	takes   map[string]bool // methods that routes in the scope take
	applies bool            // one of these methods is in the scope, too
}

// cover finds out, in one pass over the routes, what each rule's scope takes in.
func (c *compiler) cover() {
	c.scope = make([]coverage, len(c.rules))
	every := map[string]bool{} // methods that some route takes
	for _, rc := range c.routed {
		for _, m := range rc.methods {
			every[m] = true
			for _, r := range rc.cells[m].own.all {
				c.scope[r.order].applies = true
			}
			for _, r := range rc.named {
				c.scope[r.order].take(m)
			}
		}
	}
	for _, r := range c.common {
		c.scope[r.order].takes = every
	}
	for m := range every {
		action := cedar.NewEntityUID(typeAction, cedar.String(m))
		groups := ancestors(c.entities, action)
		for _, r := range c.common {
			if actionMatches(r.tree.Action, action, groups) {
				c.scope[r.order].applies = true
			}
		}
	}
}

func (s *coverage) take(method string) {
	if s.takes == nil {
		s.takes = map[string]bool{}
	}
	s.takes[method] = true
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
	takes := slices.Sorted(maps.Keys(c.scope[r.order].takes))
	switch {
	case len(takes) == 0:
		find(model.Warning, "no route is in the scope, so this policy never applies yet", "expose a route of the service")
		return
	case !c.scope[r.order].applies:
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
