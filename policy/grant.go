package policy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/palisade-security/palisade/model"
)

// grants turns the short form into Cedar: one policy for each grant, with the id "grant:<route id>#<n>".
func (c *compiler) grants() {
	for _, route := range c.all {
		for n := range route.Allow {
			g := &route.Allow[n]
			if !c.checkGrant(route.ResolvedRoute, g) {
				continue
			}
			text := c.grantText(route, g)
			var p cedar.Policy
			if err := p.UnmarshalCedar([]byte(text)); err != nil {
				c.find(model.Finding{
					Severity: model.Error, Code: "grant", Position: g.Position,
					Text: "this grant cannot be written in Cedar: " + err.Error(),
				})
				continue
			}
			r := newRule("grant:"+route.ID+"#"+strconv.Itoa(n), len(c.rules), (*xast.Policy)(p.AST()), g.Position, text)
			r.grant = g
			c.rules = append(c.rules, r)
			c.byID[r.id] = r
		}
	}
}

// checkGrant refuses a grant that does not say clearly whom it permits what.
func (c *compiler) checkGrant(route *model.ResolvedRoute, g *model.ResolvedGrant) bool {
	kinds := 0
	for _, set := range []bool{g.Anyone, g.Users, len(g.Roles) > 0} {
		if set {
			kinds++
		}
	}
	bad := func(code, text, hint string) bool {
		c.find(model.Finding{Severity: model.Error, Code: code, Position: g.Position, Text: text, Hint: hint})
		return false
	}
	switch {
	case kinds > 1:
		return bad("grant-ambiguous", "a grant names one of anyone, users and roles", "write one grant for each")
	case kinds == 0 && len(g.Scopes) == 0:
		return bad("grant-empty", "this grant permits nobody", "name anyone, users, roles or scopes")
	case g.Anyone && len(g.Scopes) > 0:
		return bad("grant-ambiguous", "anyone has no token and so no scopes", "use users with scopes")
	}
	ok := true
	for _, name := range g.Roles {
		if _, known := c.roles[name]; !known {
			ok = bad("unknown-role", "role "+quote(name)+" is not declared", suggest(name, c.roles))
		}
	}
	for _, m := range g.Methods {
		if !contains(route.Methods, m) {
			ok = bad("method-not-in-route", "the route does not take "+m+", so this can never apply",
				"it takes "+strings.Join(route.Methods, ", "))
		}
	}
	return ok
}

// grantText writes a grant as a Cedar policy. Every name goes in as a quoted literal.
func (c *compiler) grantText(route declared, g *model.ResolvedGrant) string {
	methods := g.Methods
	if len(methods) == 0 {
		methods = route.Methods
	}
	principal, conditions := "principal", []string(nil)
	user := "principal"
	if route.between() {
		user = "context.user"
		principal, conditions = c.callerScope(route)
		if !g.Anyone {
			conditions = append(conditions, "context has user")
		}
	} else if !g.Anyone {
		principal = "principal is User"
	}
	switch {
	case len(g.Roles) == 1 && !route.between():
		principal += " in " + roleUID(g.Roles[0]).String()
	case len(g.Roles) > 0:
		conditions = append(conditions, user+" in "+set(g.Roles, func(name string) string { return roleUID(name).String() }))
	}
	if len(g.Scopes) > 0 {
		conditions = append(conditions, user+".scopes.containsAll("+set(g.Scopes, quote)+")")
	}
	actions := make([]string, len(methods))
	for i, m := range methods {
		actions[i] = cedar.NewEntityUID(typeAction, cedar.String(m)).String()
	}
	action := "action in [" + strings.Join(actions, ", ") + "]"
	if len(actions) == 1 {
		action = "action == " + actions[0]
	}
	text := "permit (\n  " + principal + ",\n  " + action + ",\n  resource == " + routeUID(route.ID).String() + "\n)"
	if len(conditions) > 0 {
		text += "\nwhen { " + strings.Join(conditions, " && ") + " }"
	}
	return text + ";"
}

// callerScope writes who may ask between services: the scope of a principal, and the condition that goes with it.
func (c *compiler) callerScope(route declared) (scope string, conditions []string) {
	if len(route.Callers) == 1 {
		return "principal == " + callerUID(c.snap.TrustDomain, route.Callers[0]).String(), nil
	}
	return "principal is Service", []string{"principal in " + set(route.Callers, func(id string) string {
		return callerUID(c.snap.TrustDomain, id).String()
	})}
}

// set writes a Cedar set, each element as write puts it.
func set(list []string, write func(string) string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = write(s)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func contains(list []string, s string) bool {
	return slices.Contains(list, s)
}
