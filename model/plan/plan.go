// Package plan says what a changed model permits more and what it permits less, before it is applied: in words for
// people and as data for programs. It compares compiled snapshots, so that a change counts by what it does and not
// by how it is written. It does not judge a model by itself; package model does.
package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/model"
)

// Kind is the direction of a change.
type Kind string

// The kinds of changes, in the order of a plan.
const (
	Widens   Kind = "widens"    // somebody may do more, or a protection is weaker
	MayWiden Kind = "may-widen" // what it permits cannot be told from here, such as the text of a policy
	Narrows  Kind = "narrows"   // somebody may do less, or a protection is stronger
	Changes  Kind = "changes"   // neither
)

// Change is one difference between two models.
type Change struct {
	Kind   Kind           `json:"kind"`
	Key    string         `json:"key"`   // what it is about: services.orders.serve["/orders/{id}"].users
	Words  string         `json:"words"` // one sentence without its full stop
	Before model.Position `json:"before,omitzero"`
	After  model.Position `json:"after,omitzero"`
}

// Plan is every difference, sorted by kind, key and words.
type Plan struct {
	Before  string   `json:"before"` // version; empty where there was none
	After   string   `json:"after"`
	Changes []Change `json:"changes"`
}

// Widens tells whether the change permits anything more, or cannot be told not to.
func (p Plan) Widens() bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Kind == Widens || c.Kind == MayWiden })
}

// Diff compares two snapshots. Without one before, nothing was permitted.
func Diff(before, after *model.Snapshot) Plan {
	if before == nil {
		before = &model.Snapshot{}
	}
	d := &differ{before: before, after: after}
	d.fleet()
	d.edge()
	d.roles()
	d.providers()
	d.mesh()
	d.services()
	d.routes()
	d.policies()
	d.records()
	if len(d.changes) == 0 && before.Content() != after.Content() {
		d.add(MayWiden, "", "something changes that this plan has no words for")
	}
	order := []Kind{Widens, MayWiden, Narrows, Changes}
	slices.SortFunc(d.changes, func(a, b Change) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.Kind), slices.Index(order, b.Kind)),
			strings.Compare(a.Key, b.Key), strings.Compare(a.Words, b.Words),
			strings.Compare(a.After.String(), b.After.String()), strings.Compare(a.Before.String(), b.Before.String()),
		)
	})
	return Plan{Before: before.Version, After: after.Version, Changes: slices.Compact(d.changes)}
}

// differ gathers the differences of two snapshots.
type differ struct {
	before, after *model.Snapshot
	changes       []Change
	was, is       model.Position                // of what is being compared
	includes      func(role, other string) bool // by the roles after
	included      func(role, other string) bool // by the roles before
}

func (d *differ) add(kind Kind, key, words string) {
	d.changes = append(d.changes, Change{Kind: kind, Key: key, Words: words, Before: d.was, After: d.is})
}

// at sets the places of what is compared next.
func (d *differ) at(was, is model.Position) { d.was, d.is = was, is }

// text reports a value that is another.
func (d *differ) text(kind Kind, key, what, was, is string) {
	if was != is {
		d.add(kind, key, what+" changes from "+orNothing(was)+" to "+orNothing(is))
	}
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// set reports what a list gains and loses. More of it widens; words come before each value.
func (d *differ) set(key, gains, loses string, was, is []string) {
	d.setOf(Widens, Narrows, key, gains, loses, was, is)
}

func (d *differ) setOf(gained, lost Kind, key, gains, loses string, was, is []string) {
	for _, s := range is {
		if !slices.Contains(was, s) {
			d.add(gained, key, gains+" "+s)
		}
	}
	for _, s := range was {
		if !slices.Contains(is, s) {
			d.add(lost, key, loses+" "+s)
		}
	}
}

// flag reports a switch; on has the direction of its words.
func (d *differ) flag(key string, was, is bool, on, off string) {
	if was != is && is {
		d.add(Widens, key, on)
	}
	if was != is && was {
		d.add(Narrows, key, off)
	}
}

// bound reports a limit that moves; a larger one permits more.
func (d *differ) bound(key, what string, was, is int64, show func(int64) string) {
	switch {
	case is > was:
		d.add(Widens, key, what+" is raised from "+show(was)+" to "+show(is))
	case is < was:
		d.add(Narrows, key, what+" is lowered from "+show(was)+" to "+show(is))
	}
}

// ranked reports a choice among words of growing protection.
func (d *differ) ranked(key, what, was, is string, weakest ...string) {
	switch a, b := slices.Index(weakest, was), slices.Index(weakest, is); {
	case a < 0 && b < 0 || was == is:
	case b < a:
		d.add(Widens, key, what+" is weakened from "+was+" to "+is)
	default:
		d.add(Narrows, key, what+" is strengthened from "+orNothing(was)+" to "+is)
	}
}

// union calls f for every name of both lists, with the values or zero.
func union[T any](was, is []T, name func(*T) string, f func(name string, was, is *T)) {
	index := func(list []T) map[string]*T {
		out := make(map[string]*T, len(list))
		for i := range list {
			out[name(&list[i])] = &list[i]
		}
		return out
	}
	a, b := index(was), index(is)
	names := make([]string, 0, len(a)+len(b))
	for n := range a {
		names = append(names, n)
	}
	for n := range b {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range slices.Compact(names) {
		f(n, a[n], b[n])
	}
}

// orZero returns what p points to, or zero.
func orZero[T any](p *T) *T {
	if p == nil {
		return new(T)
	}
	return p
}

// join writes a name that needs no quotes plainly, as model does for key paths.
func join(path, name string) string {
	if name == "" || strings.ContainsAny(name, ".[]\" /") {
		return path + `["` + name + `"]`
	}
	return path + "." + name
}

func list(all []string) string { return strings.Join(all, ", ") }
