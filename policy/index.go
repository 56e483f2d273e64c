package policy

import (
	"cmp"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// index finds the policies whose scope can match, first by resource, then (in a cell) by action and
// principal. What it leaves out does not match its scope, so it could neither decide nor fail.
type index struct {
	anywhere   []*rule                     // resource is not constrained, or only by type
	byResource map[cedar.EntityUID][]*rule // resource ==, in
}

// newIndex sorts rules by what their resource scope names.
func newIndex(rules []*rule) *index {
	x := &index{byResource: map[cedar.EntityUID][]*rule{}}
	for _, r := range rules {
		if uid, named := resourceOf(r.tree.Resource); named {
			x.byResource[uid] = append(x.byResource[uid], r)
		} else {
			x.anywhere = append(x.anywhere, r)
		}
	}
	return x
}

// ofKind returns the rules for every resource of a type.
func (x *index) ofKind(kind cedar.EntityType) []*rule {
	var out []*rule
	for _, r := range x.anywhere {
		if s, ok := r.tree.Resource.(xast.ScopeTypeIs); !ok || s.Type == kind {
			out = append(out, r)
		}
	}
	return out
}

// named returns the rules that match resource by its name or the name of something that it is in.
func (x *index) named(resource cedar.EntityUID, ancestors []cedar.EntityUID) []*rule {
	var out []*rule
	for _, a := range ancestors {
		for _, r := range x.byResource[a] {
			if resourceMatches(r.tree.Resource, resource) {
				out = append(out, r)
			}
		}
	}
	slices.SortFunc(out, compareRules)
	return out
}

// resourceMatches decides what being in the scope's entity does not settle.
func resourceMatches(scope xast.IsResourceScopeNode, resource cedar.EntityUID) bool {
	switch s := scope.(type) {
	case xast.ScopeTypeEq:
		return s.Entity == resource
	case xast.ScopeTypeIsIn:
		return s.Type == resource.Type
	}
	return true
}

// actionMatches reports whether an action scope takes in an action that is in all of ancestors, itself among
// them.
func actionMatches(scope xast.IsActionScopeNode, action cedar.EntityUID, ancestors []cedar.EntityUID) bool {
	switch s := scope.(type) {
	case xast.ScopeTypeAll:
		return true
	case xast.ScopeTypeEq:
		return s.Entity == action
	case xast.ScopeTypeIn:
		return slices.Contains(ancestors, s.Entity)
	case xast.ScopeTypeInSet:
		return slices.ContainsFunc(s.Entities, func(e cedar.EntityUID) bool { return slices.Contains(ancestors, e) })
	}
	return false
}

// cell holds the rules of one action on one resource, by principal.
type cell struct {
	all    []*rule // in order
	always []*rule // whoever asks
	byKind map[cedar.EntityType][]*rule
	byUID  map[cedar.EntityUID][]*rule
	byIn   map[cedar.EntityUID][]member
	users  bool // byUID or byIn names a user
}

// member is a rule for principals in an entity, possibly of one type only.
type member struct {
	rule *rule
	kind cedar.EntityType
}

// newCell sorts those of rules that take in the method, and that keep does not turn away.
func newCell(rules []*rule, m method, keep func(*rule) bool) *cell {
	c := &cell{}
	for _, r := range rules {
		if actionMatches(r.tree.Action, m.action, m.groups) && keep(r) {
			c.add(r)
		}
	}
	return c
}

func (c *cell) add(r *rule) {
	c.all = append(c.all, r)
	for _, w := range r.who {
		c.users = c.users || w.is.Type == typeUser || w.in.Type == typeUser
		switch {
		case w.in != cedar.EntityUID{}:
			if c.byIn == nil {
				c.byIn = map[cedar.EntityUID][]member{}
			}
			c.byIn[w.in] = append(c.byIn[w.in], member{r, w.kind})
		case w.is != cedar.EntityUID{}:
			if c.byUID == nil {
				c.byUID = map[cedar.EntityUID][]*rule{}
			}
			c.byUID[w.is] = append(c.byUID[w.is], r)
		case w.kind != "":
			if c.byKind == nil {
				c.byKind = map[cedar.EntityType][]*rule{}
			}
			c.byKind[w.kind] = append(c.byKind[w.kind], r)
		default:
			c.always = append(c.always, r)
		}
	}
}

// candidates appends to dst the rules whose whole scope matches; what is in dst then is in order and there
// once each. Ancestors are what the principal is in, itself among them.
func (c *cell) candidates(dst []*rule, principal cedar.EntityUID, ancestors []cedar.EntityUID) []*rule {
	sorted := len(dst) == 0 || len(c.always) == 0
	dst = append(dst, c.always...)
	if more := c.byKind[principal.Type]; len(more) > 0 {
		sorted = sorted && len(dst) == 0
		dst = append(dst, more...)
	}
	if len(c.byUID) > 0 {
		if more := c.byUID[principal]; len(more) > 0 {
			sorted = sorted && len(dst) == 0
			dst = append(dst, more...)
		}
	}
	if len(c.byIn) > 0 {
		for _, a := range ancestors {
			for _, m := range c.byIn[a] {
				if m.kind == "" || m.kind == principal.Type {
					sorted = sorted && len(dst) == 0
					dst = append(dst, m.rule)
				}
			}
		}
	}
	if sorted {
		return dst
	}
	slices.SortFunc(dst, compareRules)
	return slices.Compact(dst)
}

func compareRules(a, b *rule) int { return cmp.Compare(a.order, b.order) }

// ancestors returns uid and everything it is in, however many steps away.
func ancestors(entities types.EntityGetter, uid cedar.EntityUID) []cedar.EntityUID {
	out := []cedar.EntityUID{uid}
	seen := map[cedar.EntityUID]bool{uid: true}
	for i := 0; i < len(out); i++ {
		e, ok := entities.Get(out[i])
		if !ok {
			continue
		}
		for p := range e.Parents.All() {
			if !seen[p] {
				seen[p] = true
				out = append(out, p)
			}
		}
	}
	return out
}
