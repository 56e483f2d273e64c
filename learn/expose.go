package learn

import (
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/topology"
)

// expose looks at what the edge lets in to a service: the path as a whole, its grants, and their methods and roles.
func (p *proposer) expose(s *model.ResolvedService, declared *model.Service, i int) {
	at := declared.Expose[i]
	r := p.route(s.Name, at)
	if r == nil {
		return
	}
	u := p.v.routes[r.ID]
	why := p.orFull(u, "")
	wider := meets(p.v.snap.Routes, r.ID)
	if used, last := u.any(func(who) bool { return true }); !used {
		if why == "" && wider != "" {
			why = wider + " would take its requests: decide by hand"
		}
		p.add(Unseen{Key: model.Key("services", s.Name, "expose", i), Kind: Exposure, Words: "clients ask " + r.ID, Last: last, Position: r.Position}, topology.EdgeNode, why)
		return
	}
	for n, g := range at.Allow {
		g := &g
		key := []any{"services", s.Name, "expose", i, "allow", n}
		used, last := p.granted(u, g, "", "")
		if !used {
			p.add(Unseen{Key: model.Key(key...), Kind: Grant, Words: r.ID + ": " + grantWords(g), Last: last, Position: p.position(r, n)}, topology.EdgeNode, p.methodsStay(r, at, n, wider, why))
			continue
		}
		for k, m := range g.Methods {
			if used, last = p.granted(u, g, m, ""); !used {
				p.add(Unseen{Key: model.Key(append(key, "methods", k)...), Kind: Method, Words: r.ID + ": " + m + " for " + people(g), Last: last, Position: p.position(r, n)}, topology.EdgeNode, p.methodsStay(r, at, n, wider, why))
			}
		}
		for k, role := range g.Roles {
			if used, last = p.granted(u, g, "", role); !used {
				p.add(Unseen{Key: model.Key(append(key, "roles", k)...), Kind: Role, Words: r.ID + ": " + role, Last: last, Position: p.position(r, n)}, topology.EdgeNode, why)
			}
		}
		if len(g.Methods) == 0 {
			p.unlisted(r, u, g, i, n)
		}
	}
}

// route is the resolved exposure.
func (p *proposer) route(service string, at model.Route) *model.ResolvedRoute {
	for i := range p.v.snap.Routes {
		if r := &p.v.snap.Routes[i]; r.Service == service && r.Path == at.Path && strings.EqualFold(r.Host, at.Host) {
			return r
		}
	}
	return nil
}

func (p *proposer) position(r *model.ResolvedRoute, n int) model.Position {
	if n < len(r.Allow) {
		return r.Allow[n].Position
	}
	return r.Position
}

// granted reports whether a grant let anything pass: with a method, for a role, unless they are empty. Who could have passed by
// several grants counts for each.
func (p *proposer) granted(u *uses, g *model.Grant, method, role string) (used bool, last time.Time) {
	return u.any(func(w who) bool {
		switch {
		case method != "" && w.method != method, len(g.Methods) > 0 && !slices.Contains(g.Methods, w.method):
			return false
		case g.Anyone:
			return true
		case !w.user:
			return false
		case role != "":
			return w.has(role)
		}
		return len(g.Roles) == 0 || slices.ContainsFunc(g.Roles, w.has)
	})
}

// methodsStay says why methods that a grant loses must stay: the route might take them no more, and a wider route would.
func (p *proposer) methodsStay(r *model.ResolvedRoute, at model.Route, n int, wider, why string) string {
	if why != "" || wider == "" {
		return why
	}
	for i, g := range at.Allow {
		if i != n && len(g.Methods) == 0 {
			return ""
		}
	}
	if len(at.Methods) > 0 {
		return ""
	}
	return wider + " would take these requests of " + r.ID + ": decide by hand"
}

// unlisted tells of methods that nobody used of a grant that names none.
func (p *proposer) unlisted(r *model.ResolvedRoute, u *uses, g *model.Grant, i, n int) {
	var used []string
	for _, m := range r.Methods {
		if ok, _ := p.granted(u, g, m, ""); ok {
			used = append(used, m)
		}
	}
	if len(used) == len(r.Methods) {
		return
	}
	p.add(Unseen{Key: model.Key("services", r.Service, "expose", i, "allow", n, "methods"), Kind: Method, Words: r.ID + ": all methods but " + strings.Join(used, ", ") + " for " + people(g), Position: p.position(r, n)},
		topology.EdgeNode, "the grant names no methods: write methods: ["+strings.Join(used, ", ")+"]")
}

// meets returns another one of routes that would take some requests of the one with an id if that were not there, "" if none would.
func meets(routes []model.ResolvedRoute, id string) string {
	i := slices.IndexFunc(routes, func(r model.ResolvedRoute) bool { return r.ID == id })
	if i < 0 {
		return ""
	}
	own, err := model.ParseTemplate(routes[i].Path)
	for n := range routes {
		o := &routes[n]
		if n == i || !hostsMeet(o.Host, routes[i].Host) {
			continue
		}
		if other, err2 := model.ParseTemplate(o.Path); err != nil || err2 != nil || pathsMeet(own, other) {
			return o.ID
		}
	}
	return ""
}

func hostsMeet(a, b string) bool {
	return strings.EqualFold(a, b) || strings.HasPrefix(a, "*") || strings.HasPrefix(b, "*")
}

// pathsMeet reports whether a path can match both templates.
func pathsMeet(a, b model.Template) bool {
	for i := range max(len(a), len(b)) {
		switch {
		case i < len(a) && a[i].Rest || i < len(b) && b[i].Rest:
			return true
		case i >= len(a) || i >= len(b):
			return false
		case a[i].Param == "" && b[i].Param == "" && a[i].Literal != b[i].Literal:
			return false
		}
	}
	return true
}

func grantWords(g *model.Grant) string {
	methods := "all methods"
	if len(g.Methods) > 0 {
		methods = strings.Join(g.Methods, ", ")
	}
	return methods + " for " + people(g)
}

func people(g *model.Grant) string {
	switch {
	case g.Anyone:
		return "anyone"
	case len(g.Roles) > 0:
		return strings.Join(g.Roles, ", ")
	}
	return "users"
}
