package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go"
)

// method is an action with the rules for every route, by what sort of route that is.
type method struct {
	name   string
	action cedar.EntityUID
	groups []cedar.EntityUID
	edge   *cell // routes on which users ask
	open   *cell // routes on which services ask and that grant nothing for the method
	closed *cell // routes on which services ask and that grant something for it
}

// link indexes the rules and computes the candidates of every method on every route.
func (c *compiler) link() {
	if c.meshed() {
		for _, r := range c.rules {
			r.hoistUser()
		}
	}
	c.index = newIndex(c.rules)
	c.common = c.index.ofKind(typeRoute)
	methods := make([]method, len(c.methods))
	for i, name := range c.methods {
		action := cedar.NewEntityUID(typeAction, cedar.String(name))
		m := method{name: name, action: action, groups: ancestors(c.entities, action)}
		m.edge = newCell(c.common, m, func(r *rule) bool { return r.canBe(false) })
		m.open = newCell(c.common, m, func(r *rule) bool { return r.canBe(true) })
		m.closed = newCell(c.common, m, func(r *rule) bool { return r.canBe(true) && r.effect == cedar.Forbid })
		methods[i] = m
	}
	c.routed = make(map[string]*routeCells, len(c.all))
	for _, r := range c.all {
		uid := routeUID(r.ID)
		rc := &routeCells{uid: uid, methods: r.Methods, callers: c.callersOf(r), cells: make(map[string]*methodCell, len(methods))}
		rc.named = c.index.named(uid, ancestors(c.entities, uid))
		for _, m := range methods {
			rc.cells[m.name] = c.cellsOf(r, rc, m)
		}
		c.routed[r.ID] = rc
	}
}

// cellsOf picks the rules of one method on one route. Between services a route's own grants are the last word on
// the methods that they name: policies may forbid there, but permit only where no grant speaks. So a permit that
// was written for users, or for other services, never widens what serve declares.
func (c *compiler) cellsOf(r declared, rc *routeCells, m method) *methodCell {
	out := &methodCell{action: m.action, common: m.edge}
	keep := func(r *rule) bool { return r.canBe(false) }
	if rc.between {
		granted := slices.ContainsFunc(rc.named, func(r *rule) bool { return r.grant != nil && actionMatches(r.tree.Action, m.action, m.groups) })
		out.common = m.open
		if granted {
			out.common = m.closed
		}
		keep = func(r *rule) bool { return r.canBe(true) && (!granted || r.grant != nil || r.effect == cedar.Forbid) }
	}
	if r.outward {
		// Who may ask is checked on both sides; all that policies read is known on the other side alone.
		out.common = &cell{}
		keep = func(r *rule) bool { return r.grant != nil }
	}
	out.own = *newCell(rc.named, m, keep)
	return out
}

// canBe reports whether a service, or else a user or somebody anonymous, can be in the rule's principal scope.
func (r *rule) canBe(service bool) bool {
	fits := func(kind cedar.EntityType) bool { return kind == "" || (kind == typeService) == service }
	return slices.ContainsFunc(r.who, func(w who) bool { return fits(w.kind) && fits(w.is.Type) && fits(w.in.Type) })
}
