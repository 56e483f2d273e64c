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
	for i := range c.snap.Routes {
		route := &c.snap.Routes[i]
		for n := range route.Allow {
			g := &route.Allow[n]
			if !c.checkGrant(route, g) {
				continue
			}
			text := grantText(route, g)
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
func grantText(route *model.ResolvedRoute, g *model.ResolvedGrant) string {
	methods := g.Methods
	if len(methods) == 0 {
		methods = route.Methods
	}
	principal := "principal"
	var conditions []string
	if !g.Anyone {
		principal = "principal is User"
	}
	if len(g.Roles) == 1 {
		principal += " in " + roleUID(g.Roles[0]).String()
	} else if len(g.Roles) > 1 {
		roles := make([]string, len(g.Roles))
		for i, name := range g.Roles {
			roles[i] = roleUID(name).String()
		}
		conditions = append(conditions, "principal in ["+strings.Join(roles, ", ")+"]")
	}
	if len(g.Scopes) > 0 {
		scopes := make([]string, len(g.Scopes))
		for i, s := range g.Scopes {
			scopes[i] = quote(s)
		}
		conditions = append(conditions, "principal.scopes.containsAll(["+strings.Join(scopes, ", ")+"])")
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

func contains(list []string, s string) bool {
	return slices.Contains(list, s)
}
