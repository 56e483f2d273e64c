package plan

import (
	"slices"
	"strings"

	"github.com/palisade-security/palisade/model"
)

// access is one way to be permitted: this caller, on behalf of such a user. Every other way is another access.
type access struct {
	caller string // name of the workload; empty for a client of the edge
	anyone bool
	role   string   // empty: whoever signed in
	scopes []string // all of these
}

// accesses lists every way to be permitted a method of a route by its grants.
func accesses(r *model.ResolvedRoute, method string) []access {
	if r == nil || !slices.Contains(r.Methods, method) {
		return nil
	}
	callers := r.Callers
	if len(callers) == 0 {
		callers = []string{""}
	}
	var out []access
	for _, g := range r.Allow {
		if !slices.Contains(g.Methods, method) {
			continue
		}
		roles := g.Roles
		if len(roles) == 0 {
			roles = []string{""}
		}
		for _, caller := range callers {
			for _, role := range roles {
				out = append(out, access{caller[strings.LastIndex(caller, "/")+1:], g.Anyone, role, g.Scopes})
			}
		}
	}
	return out
}

// within tells whether who has a is permitted by o too, where roles include others.
func (a access) within(o access, includes func(role, other string) bool) bool {
	if a.caller != o.caller {
		return false
	}
	if o.anyone {
		return true
	}
	if a.anyone || o.role != "" && (a.role == "" || a.role != o.role && !includes(a.role, o.role)) {
		return false
	}
	return !slices.ContainsFunc(o.scopes, func(s string) bool { return !slices.Contains(a.scopes, s) })
}

// words name who it is.
func (a access) words() string {
	var user string
	switch {
	case a.anyone:
		user = "anyone"
	case a.role != "":
		user = "role " + a.role
	default:
		user = "whoever signed in"
	}
	if len(a.scopes) > 0 {
		user += " with scope " + strings.Join(a.scopes, " and ")
	}
	if a.caller == "" {
		return user
	}
	if a.anyone {
		return "service " + a.caller
	}
	return "service " + a.caller + " on behalf of " + user
}

// including answers whether a role includes another, by the roles of a snapshot.
func including(s *model.Snapshot) func(role, other string) bool {
	all := make(map[string][]string, len(s.Roles))
	for _, r := range s.Roles {
		all[r.Name] = r.Includes
	}
	return func(role, other string) bool { return slices.Contains(all[role], other) }
}

// permit compares who may ask methods of a path. By is the route that decided before, and the one that decides now;
// nil where none did.
func (d *differ) permit(key, path string, methods []string, was, is *model.ResolvedRoute) {
	gained, lost := map[string][]string{}, map[string][]string{} // who to methods
	for _, m := range methods {
		a, b := accesses(was, m), accesses(is, m)
		missing(b, a, d.included, m, gained)
		missing(a, b, d.includes, m, lost)
	}
	for who, methods := range gained {
		d.add(Widens, key, list(methods)+" "+path+" is permitted to "+who)
	}
	for who, methods := range lost {
		d.add(Narrows, key, list(methods)+" "+path+" is no longer permitted to "+who)
	}
}

// missing notes for each access of a that none of b contains.
func missing(a, b []access, includes func(role, other string) bool, method string, out map[string][]string) {
	for _, x := range a {
		if slices.ContainsFunc(b, func(y access) bool { return x.within(y, includes) }) {
			continue
		}
		if who := x.words(); !slices.Contains(out[who], method) {
			out[who] = append(out[who], method)
		}
	}
}
