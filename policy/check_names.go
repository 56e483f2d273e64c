package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/palisade-security/palisade/model"
)

// names reports entities that the model does not declare, wherever the policy names them.
func (c *compiler) names(r *rule) bool {
	ok := true
	seen := map[cedar.EntityUID]bool{}
	for _, uid := range entitiesOf(r.tree) {
		if seen[uid] {
			continue
		}
		seen[uid] = true
		if r.grant != nil && uid.Type == typeService {
			continue // who may call was looked up by the model, and may be of another trust domain
		}
		code, text, hint := c.unknown(uid)
		if code == "" {
			continue
		}
		ok = false
		c.find(model.Finding{Severity: model.Error, Code: code, Position: r.locate(uid.String()), Text: text, Hint: hint})
	}
	for _, condition := range r.tree.Conditions {
		xast.Inspect(xast.NewNode(condition.Body), func(n xast.IsNode) bool {
			if has, isHas := n.(xast.NodeTypeHas); isHas && !c.knownAttribute(r, has) {
				ok = false
			}
			return true
		})
	}
	return ok
}

// knownAttribute reports a test for an attribute that cannot be there. The type checker takes it for false,
// and a misspelt name would go unnoticed.
func (c *compiler) knownAttribute(r *rule, has xast.NodeTypeHas) bool {
	name := string(has.Value)
	owner, known := "", []string(nil)
	switch arg := has.Arg.(type) {
	case xast.NodeTypeVariable:
		owner = string(arg.Name)
		switch owner {
		case "context":
			known = c.contextAttributes()
		case "principal":
			known = userAttributes()
			if c.meshed() {
				known = append(known, serviceAttributes()...)
			}
		case "resource":
			known = routeAttributes()
		}
	case xast.NodeTypeAccess:
		switch {
		case arg.Value == "claims" && isVariable(arg.Arg, "principal"):
			owner, known = "principal.claims", slices.Sorted(maps.Keys(c.claims))
		case arg.Value == "claims" && isUser(arg.Arg):
			owner, known = "context.user.claims", slices.Sorted(maps.Keys(c.claims))
		case isUser(arg):
			owner, known = "context.user", userAttributes()
		case arg.Value == "params" && isVariable(arg.Arg, "context"):
			owner, known = "context.params", paramsOf(c.all)
		}
	}
	if owner == "" || slices.Contains(known, name) {
		return true
	}
	hint := suggestFrom(name, known)
	if hint == "" && len(known) > 0 {
		hint = "there are " + strings.Join(known, ", ")
	}
	c.find(model.Finding{
		Severity: model.Error, Code: "unknown-attribute", Position: r.locate(name),
		Text: owner + " never has " + quote(name), Hint: hint,
	})
	return false
}

// contextAttributes are those of this fleet: without a mesh there is no user beside the principal.
func (c *compiler) contextAttributes() []string {
	if c.meshed() {
		return append(contextAttributes(), "user")
	}
	return contextAttributes()
}

// isUser reports whether n is context.user.
func isUser(n xast.IsNode) bool {
	a, ok := n.(xast.NodeTypeAccess)
	return ok && a.Value == "user" && isVariable(a.Arg, "context")
}

// locate returns where a piece of Cedar stands in the policy, or where the policy begins. A grant is not
// written in Cedar, so its place is always its own.
func (r *rule) locate(piece string) model.Position {
	if r.grant != nil || piece == "" {
		return r.at
	}
	at := r.at
	for i := 0; i < len(r.text); {
		n, plain := skip(r.text[i:])
		if (plain || r.text[i] == '"') && strings.HasPrefix(r.text[i:], piece) && !wordBefore(r.text, i, piece) {
			return at
		}
		at.Line, at.Column = advance(r.text[i:i+n], at.Line, at.Column)
		i += n
	}
	return r.at
}

// wordBefore reports whether the match at i begins or ends within a longer word.
func wordBefore(text string, i int, piece string) bool {
	end := i + len(piece)
	return i > 0 && isWord(text[i-1]) && isWord(piece[0]) ||
		end < len(text) && isWord(text[end]) && isWord(piece[len(piece)-1])
}

func isWord(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z'
}

// unknown says what is wrong with an entity literal; the code is "" if nothing is.
func (c *compiler) unknown(uid cedar.EntityUID) (code, text, hint string) {
	id := string(uid.ID)
	switch uid.Type {
	case typeRole:
		if _, ok := c.roles[id]; !ok {
			return "unknown-role", "role " + quote(id) + " is not declared", suggest(id, c.roles)
		}
	case typeService:
		if !c.services[id] {
			return "unknown-service", "service " + quote(id) + " is not declared", suggest(id, c.services)
		}
	case typeRoute:
		if _, ok := c.routes[id]; !ok {
			return "unknown-route", "route " + quote(id) + " is not declared", suggest(id, c.routes)
		}
	case typeAction:
		if uid != actionRead && uid != actionWrite && !slices.Contains(c.methods, id) {
			return "unknown-action", "action " + quote(id) + " is not known",
				"actions are methods in upper case, and the groups read and write"
		}
	case typeAnonymous:
		if uid != anyone {
			return "unknown-entity", uid.String() + " does not exist", "write " + anyone.String()
		}
	case typeUser:
		provider, subject, ok := strings.Cut(id, "|")
		if !ok || subject == "" {
			return "unknown-user", uid.String() + " names no user", `write User::"<provider>|<subject>"`
		}
		if !c.providers[provider] {
			return "unknown-provider", "provider " + quote(provider) + " is not declared", suggest(provider, c.providers)
		}
	default:
		return "unknown-entity-type", "there is no entity type " + string(uid.Type),
			"types are User, Anonymous, Role, Service, Route and Action"
	}
	return "", "", ""
}

// entitiesOf returns every entity literal of a policy, scopes first.
func entitiesOf(p *xast.Policy) []cedar.EntityUID {
	var out []cedar.EntityUID
	for _, scope := range []xast.IsScopeNode{p.Principal, p.Action, p.Resource} {
		switch s := scope.(type) {
		case xast.ScopeTypeEq:
			out = append(out, s.Entity)
		case xast.ScopeTypeIn:
			out = append(out, s.Entity)
		case xast.ScopeTypeIsIn:
			out = append(out, s.Entity)
		case xast.ScopeTypeInSet:
			out = append(out, s.Entities...)
		}
	}
	for _, condition := range p.Conditions {
		xast.Inspect(xast.NewNode(condition.Body), func(n xast.IsNode) bool {
			if v, ok := n.(xast.NodeValue); ok {
				if uid, ok := v.Value.(cedar.EntityUID); ok {
					out = append(out, uid)
				}
			}
			return true
		})
	}
	return out
}
