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

// names reports entities that the model does not declare, wherever the policy names them.
func (c *compiler) names(r *rule) bool {
	ok := true
	seen := map[cedar.EntityUID]bool{}
	for _, uid := range entitiesOf(r.tree) {
		if seen[uid] {
			continue
		}
		seen[uid] = true
		code, text, hint := c.unknown(uid)
		if code == "" {
			continue
		}
		ok = false
		c.find(model.Finding{Severity: model.Error, Code: code, Position: r.at, Text: text, Hint: hint})
	}
	return ok
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

// types validates a policy strictly against the schema.
func (c *compiler) types(r *rule) bool {
	err := c.validator.Policy("", r.tree)
	if err == nil {
		return true
	}
	seen := map[string]bool{}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if seen[line] {
			continue
		}
		seen[line] = true
		c.find(model.Finding{
			Severity: model.Error, Code: "policy-type", Position: r.at,
			Text: "the policy does not fit the schema: " + line, Hint: typeHint(r, line),
		})
	}
	return false
}

// typeHint helps with the two mistakes that everybody makes once.
func typeHint(r *rule, message string) string {
	kind, isKind := r.tree.Principal.(xast.ScopeTypeIs)
	switch {
	case strings.Contains(message, "Anonymous") && (!isKind || kind.Type != typeUser):
		return "anonymous principals have no attributes: begin with permit (principal is User, ...)"
	case strings.Contains(message, "optional") || strings.Contains(message, "not found") || strings.Contains(message, "unable to guarantee"):
		return "ask first: context has acr && context.acr == ..."
	}
	return ""
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
	routes, applies := 0, false
	var takes []string
	for _, rc := range c.routed {
		if _, on := slices.BinarySearchFunc(rc.on, r, compareRules); !on {
			continue
		}
		routes++
		for _, m := range rc.methods {
			takes = append(takes, m)
			if _, on := slices.BinarySearchFunc(rc.cells[m].all, r, compareRules); on {
				applies = true
			}
		}
	}
	slices.Sort(takes)
	takes = slices.Compact(takes)
	switch {
	case routes == 0:
		find(model.Warning, "no route is in the scope, so this policy never applies yet", "expose a route of the service")
		return
	case !applies:
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

// suggest returns a hint with the declared name nearest to name.
func suggest[V any](name string, declared map[string]V) string {
	best, distance := "", len(name)/3+2
	for _, d := range slices.Sorted(maps.Keys(declared)) {
		if n := editDistance(name, d, distance); n < distance {
			best, distance = d, n
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + quote(best) + "?"
}

// editDistance is the Levenshtein distance in bytes, or bound if it is not below that.
func editDistance(a, b string, bound int) int {
	if max(len(a)-len(b), len(b)-len(a)) >= bound {
		return bound
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
