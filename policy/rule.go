package policy

import (
	"iter"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
)

// rule is one policy, taken apart: what the index settles (scope, roles) and what is left to evaluate.
type rule struct {
	id       string
	order    int
	effect   cedar.Effect
	tree     *xast.Policy
	at       model.Position
	position string // at, as text
	text     string
	who      []who
	behalf   *behalf                                  // nil: whoever the end user is
	rest     *cedar.Policy                            // a permit with the conditions that are left; nil: none are
	one      iter.Seq2[cedar.PolicyID, *cedar.Policy] // yields rest; made once, to spare each request the closure
	left     []xast.IsNode                            // the conditions behind who, "unless" turned into "not"
	needs    needs                                    // what rest reads
	reasons  []event.Reason                           // one: this policy matched
	grant    *model.ResolvedGrant
}

// who is one alternative of a principal scope. Empty fields do not constrain.
type who struct {
	kind cedar.EntityType // principal is kind
	is   cedar.EntityUID  // principal == is
	in   cedar.EntityUID  // principal in in
}

// newRule takes a policy apart. The policy's id, position and text must be final.
func newRule(id string, order int, tree *xast.Policy, at model.Position, text string) *rule {
	r := &rule{
		id: id, order: order, effect: cedar.Effect(tree.Effect), tree: tree,
		at: at, position: place(at), text: text,
	}
	conditions := tree.Conditions
	r.who, conditions = principals(tree.Principal, conditions)
	r.left = conditionNodes(conditions)
	r.setRest(conditions)
	reason := event.Reason{Code: CodePermit, Text: "a policy permits this", Policy: id, Position: r.position}
	if r.effect == cedar.Forbid {
		reason.Code, reason.Text = CodeForbid, "a policy forbids this"
	}
	r.reasons = []event.Reason{reason}
	return r
}

// setRest sets what is left to evaluate.
func (r *rule) setRest(conditions []xast.ConditionType) {
	r.rest, r.one, r.needs = nil, nil, 0
	if len(conditions) > 0 {
		r.rest = cedar.NewPolicyFromAST((*ast.Policy)(&xast.Policy{
			Effect:    xast.EffectPermit,
			Principal: xast.ScopeTypeAll{}, Action: xast.ScopeTypeAll{}, Resource: xast.ScopeTypeAll{},
			Conditions: conditions,
		}))
		r.one = func(yield func(cedar.PolicyID, *cedar.Policy) bool) { yield("", r.rest) }
		r.needs = needsOf(conditionNodes(conditions))
	}
}

func conditionNodes(conditions []xast.ConditionType) []xast.IsNode {
	var out []xast.IsNode
	for _, c := range conditions {
		out = append(out, conditionNode(c))
	}
	return out
}

// conditionNode returns the expression that must be true for the condition to hold.
func conditionNode(c xast.ConditionType) xast.IsNode {
	if c.Condition == xast.ConditionUnless {
		return xast.Not(xast.NewNode(c.Body)).AsIsNode()
	}
	return c.Body
}

// principals returns the alternatives of a principal scope. A leading "principal in Role" of the first
// condition says the same as a scope, so it is taken into the index; the conditions come back without it.
func principals(scope xast.IsPrincipalScopeNode, conditions []xast.ConditionType) ([]who, []xast.ConditionType) {
	switch s := scope.(type) {
	case xast.ScopeTypeEq:
		return []who{{is: s.Entity}}, conditions
	case xast.ScopeTypeIn:
		return []who{{in: s.Entity}}, conditions
	case xast.ScopeTypeIsIn:
		return []who{{kind: s.Type, in: s.Entity}}, conditions
	}
	base := who{}
	if s, ok := scope.(xast.ScopeTypeIs); ok {
		base.kind = s.Type
	}
	groups, rest, ok := hoist(conditions)
	if !ok {
		return []who{base}, conditions
	}
	alternatives := make([]who, len(groups))
	for i, g := range groups {
		alternatives[i] = who{kind: base.kind, in: g}
	}
	return alternatives, rest
}

// hoist splits "when { principal in [A, B] && rest }" into the entities and the rest. Only the leftmost
// operand is taken: where it is false Cedar evaluates nothing behind it, so no error can get lost.
func hoist(conditions []xast.ConditionType) ([]cedar.EntityUID, []xast.ConditionType, bool) {
	if len(conditions) == 0 || conditions[0].Condition != xast.ConditionWhen {
		return nil, nil, false
	}
	first, rest := splitLeft(conditions[0].Body)
	in, ok := first.(xast.NodeTypeIn)
	if !ok || !isVariable(in.Left, "principal") {
		return nil, nil, false
	}
	groups, ok := literals(in.Right)
	if !ok || len(groups) == 0 {
		return nil, nil, false
	}
	var out []xast.ConditionType
	if rest != nil {
		out = append(out, xast.ConditionType{Condition: xast.ConditionWhen, Body: rest})
	}
	return groups, append(out, conditions[1:]...), true
}

// splitLeft takes the leftmost operand off a chain of &&. The rest is nil if there is no chain.
func splitLeft(n xast.IsNode) (first, rest xast.IsNode) {
	and, ok := n.(xast.NodeTypeAnd)
	if !ok {
		return n, nil
	}
	first, rest = splitLeft(and.Left)
	if rest == nil {
		return first, and.Right
	}
	return first, xast.NodeTypeAnd{BinaryNode: xast.BinaryNode{Left: rest, Right: and.Right}}
}

// literals returns the entities of an entity literal or of a set of them.
func literals(n xast.IsNode) ([]cedar.EntityUID, bool) {
	switch n := n.(type) {
	case xast.NodeValue:
		uid, ok := n.Value.(cedar.EntityUID)
		return []cedar.EntityUID{uid}, ok
	case xast.NodeTypeSet:
		var out []cedar.EntityUID
		for _, e := range n.Elements {
			v, ok := e.(xast.NodeValue)
			if !ok {
				return nil, false
			}
			uid, ok := v.Value.(cedar.EntityUID)
			if !ok {
				return nil, false
			}
			out = append(out, uid)
		}
		return out, true
	}
	return nil, false
}

// isVariable reports whether n is principal, action, resource or context, as name says.
func isVariable(n xast.IsNode, name cedar.String) bool {
	v, ok := n.(xast.NodeTypeVariable)
	return ok && v.Name == name
}
