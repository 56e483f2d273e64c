package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// behalf is what a rule asks of the end user before anything else: that there is one, and with in that the user is in
// one of these. It decides the usual grant between services without an evaluation.
type behalf struct{ in []cedar.EntityUID }

// admits reports whether the end user, who is in all of groups, satisfies the rule. No groups: there is no user.
func (b *behalf) admits(groups []cedar.EntityUID) bool {
	if b == nil {
		return true
	}
	return len(groups) > 0 && (b.in == nil || slices.ContainsFunc(b.in, func(uid cedar.EntityUID) bool { return slices.Contains(groups, uid) }))
}

// hoistUser takes what the rule asks of the end user out of what is left to evaluate. It is for a mesh alone: without
// one there is no context.user, whoever has signed in.
func (r *rule) hoistUser() {
	_, conditions := principals(r.tree.Principal, r.tree.Conditions)
	var rest []xast.ConditionType
	if r.behalf, rest = onBehalf(conditions); r.behalf != nil {
		r.setRest(rest)
		r.needs |= needSignIn
	}
}

// onBehalf splits "when { context has user && context.user in [A, B] && rest }" as hoist does: where the left operand
// is false Cedar evaluates nothing behind it, so no error can get lost. Users by name stay in the conditions, for
// what decides by roles does not know the name.
func onBehalf(conditions []xast.ConditionType) (*behalf, []xast.ConditionType) {
	if len(conditions) == 0 || conditions[0].Condition != xast.ConditionWhen {
		return nil, conditions
	}
	first, rest := splitLeft(conditions[0].Body)
	has, ok := first.(xast.NodeTypeHas)
	if !ok || has.Value != "user" || !isVariable(has.Arg, "context") {
		return nil, conditions
	}
	out := &behalf{}
	if rest != nil {
		second, behind := splitLeft(rest)
		if roles := userRoles(second); roles != nil {
			out.in, rest = roles, behind
		}
	}
	var left []xast.ConditionType
	if rest != nil {
		left = append(left, xast.ConditionType{Condition: xast.ConditionWhen, Body: rest})
	}
	return out, append(left, conditions[1:]...)
}

// userRoles returns the roles of "context.user in [...]"; nil for any other expression.
func userRoles(n xast.IsNode) []cedar.EntityUID {
	in, ok := n.(xast.NodeTypeIn)
	if !ok || !isUser(in.Left) {
		return nil
	}
	roles, ok := literals(in.Right)
	if !ok || len(roles) == 0 || slices.ContainsFunc(roles, func(uid cedar.EntityUID) bool { return uid.Type != typeRole }) {
		return nil
	}
	return roles
}

// onBehalfOf drops, in place, the candidates that ask for another end user than the one who is in all of groups.
func onBehalfOf(candidates []*rule, groups []cedar.EntityUID) []*rule {
	return slices.DeleteFunc(candidates, func(r *rule) bool { return !r.behalf.admits(groups) })
}
