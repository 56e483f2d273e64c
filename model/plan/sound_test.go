package plan_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/model/plan"
)

// visitor is somebody who asks.
type visitor struct {
	signedIn bool
	roles    []string // with what they include
	scopes   []string
}

// TestNoWideningIsMissed compares plans of random small worlds with all requests there are: whoever may ask what
// nobody of his kind could before is in a plan that widens, and the other way round in one that narrows.
func TestNoWideningIsMissed(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	includes := []map[string][]string{
		{"admin": {"admin", "customer"}, "customer": {"customer"}, "other": {"other"}},
		{"admin": {"admin"}, "customer": {"customer"}, "other": {"customer", "other"}},
	}
	seen := map[string]int{}
	for range 1000 {
		roles := []map[string][]string{includes[0], includes[0]}
		if r.IntN(4) == 0 {
			roles[r.IntN(2)] = includes[1]
		}
		before, after := world(r, roles[0]), world(r, roles[1])
		if r.IntN(2) == 0 { // near each other, as models are
			after.Routes = slices.Clone(before.Routes)
			i := r.IntN(len(after.Routes))
			after.Routes = slices.Delete(after.Routes, i, i+1)
		}
		gained, lost := compareAll(before, after, roles)
		p := plan.Diff(before, after)
		widens, narrows := kinds(p)
		if gained != "" && !widens || lost != "" && !narrows {
			t.Fatalf("gained %q, lost %q:\n%s\n%s\n%s", gained, lost, describe(before), describe(after), show(p))
		}
		seen[map[bool]string{true: "gained", false: "same"}[gained != ""]]++
		if gained == "" && widens {
			seen["widens without need"]++
		}
	}
	if seen["gained"] < 200 || seen["same"] < 200 {
		t.Errorf("the worlds are too alike: %v", seen)
	}
	t.Log(seen)
}

func kinds(p plan.Plan) (widens, narrows bool) {
	for _, c := range p.Changes {
		widens = widens || c.Kind == plan.Widens
		narrows = narrows || c.Kind == plan.Narrows
	}
	return widens, narrows
}

func describe(s *model.Snapshot) string {
	var b strings.Builder
	for _, r := range s.Routes {
		b.WriteString(strings.Join(r.Methods, ",") + " " + r.Host + r.Path)
		for _, g := range r.Allow {
			b.WriteString(" anyone=" + strconv.FormatBool(g.Anyone) + " roles=" + strings.Join(g.Roles, "|") + " scopes=" + strings.Join(g.Scopes, "+") + " " + strings.Join(g.Methods, ","))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// world makes a few routes that overlap.
func world(r *rand.Rand, includes map[string][]string) *model.Snapshot {
	s := &model.Snapshot{Fleet: "f", Services: []model.ResolvedService{{Name: "s"}}}
	for _, role := range []string{"admin", "customer", "other"} {
		s.Roles = append(s.Roles, model.ResolvedRole{Name: role, Includes: includes[role]})
	}
	pick := func(choices ...string) string { return choices[r.IntN(len(choices))] }
	taken := map[string]bool{}
	for i := range 1 + r.IntN(5) {
		host := pick("a.x", "*.x", "a.x")
		path := "/" + pick("a", "b", "{p}") + pick("", "/c", "/{q}", "/**")
		if r.IntN(6) == 0 {
			path = "/**"
		}
		methods := [][]string{{"GET"}, {"GET", "POST"}, {"POST"}}[r.IntN(3)]
		template, err := model.ParseTemplate(path)
		if err != nil {
			panic(err)
		}
		clash := false
		for _, m := range methods {
			clash = clash || taken[host+template.Shape()+m]
		}
		if clash {
			continue
		}
		route := model.ResolvedRoute{ID: strconv.Itoa(i), Service: "s", Host: host, Path: path, Methods: methods}
		for _, m := range methods {
			taken[host+template.Shape()+m] = true
		}
		for range r.IntN(3) {
			g := model.Grant{Methods: [][]string{methods, methods[:1]}[r.IntN(2)]}
			switch r.IntN(5) {
			case 0:
				g.Anyone = true
			case 1:
				g.Users = true
			case 2:
				g.Scopes = [][]string{{"s"}, {"s", "t"}}[r.IntN(2)]
			case 3:
				g.Roles, g.Scopes = []string{pick("admin", "customer")}, []string{"s"}
			default:
				g.Roles = []string{pick("admin", "customer", "other")}
			}
			route.Allow = append(route.Allow, model.ResolvedGrant{Grant: g})
		}
		s.Routes = append(s.Routes, route)
	}
	return s
}

// compareAll asks every request of every visitor of both worlds.
func compareAll(before, after *model.Snapshot, includes []map[string][]string) (gained, lost string) {
	for _, tokens := range []struct{ roles, scopes []string }{
		{},
		{roles: []string{"admin"}},
		{roles: []string{"customer"}},
		{roles: []string{"other"}},
		{scopes: []string{"s"}},
		{scopes: []string{"s", "t"}},
		{[]string{"admin"}, []string{"s"}},
		{[]string{"customer"}, []string{"s"}},
	} {
		for _, signedIn := range []bool{false, true} {
			for _, host := range []string{"a.x", "b.x"} {
				for _, path := range []string{"/", "/a", "/b", "/z", "/a/", "/a/c", "/b/c", "/z/c", "/a/z", "/a/c/z", "/z/z/z"} {
					for _, method := range []string{"GET", "POST"} {
						was := ask(before, visitor{signedIn, closure(tokens.roles, includes[0]), tokens.scopes}, host, method, path)
						is := ask(after, visitor{signedIn, closure(tokens.roles, includes[1]), tokens.scopes}, host, method, path)
						what := method + " " + host + path + " by " + strings.Join(tokens.roles, ",") + "/" + strings.Join(tokens.scopes, ",")
						if is && !was {
							gained = what
						}
						if was && !is {
							lost = what
						}
					}
				}
			}
		}
	}
	return gained, lost
}

func closure(roles []string, includes map[string][]string) []string {
	var out []string
	for _, r := range roles {
		out = append(out, includes[r]...)
	}
	return out
}

// ask decides as a gateway does, by trying everything.
func ask(s *model.Snapshot, v visitor, host, method, path string) bool {
	if !slices.ContainsFunc(s.Routes, func(r model.ResolvedRoute) bool { return r.Host == host }) {
		host = "*.x"
	}
	best := ""
	segments := strings.Split(path[1:], "/")
	for _, r := range s.Routes {
		if rank, ok := match(r.Path, segments); ok && r.Host == host && (best == "" || rank < best) {
			best = rank
		}
	}
	for _, r := range s.Routes {
		if rank, ok := match(r.Path, segments); ok && r.Host == host && rank == best && slices.Contains(r.Methods, method) {
			return slices.ContainsFunc(r.Allow, func(g model.ResolvedGrant) bool { return grants(g, v, method) })
		}
	}
	return false
}

func grants(g model.ResolvedGrant, v visitor, method string) bool {
	if !slices.Contains(g.Methods, method) {
		return false
	}
	if g.Anyone {
		return true
	}
	role := len(g.Roles) == 0 || slices.ContainsFunc(g.Roles, func(n string) bool { return slices.Contains(v.roles, n) })
	return v.signedIn && role && !slices.ContainsFunc(g.Scopes, func(n string) bool { return !slices.Contains(v.scopes, n) })
}

// match returns how specific a template is that matches; less is more specific.
func match(path string, segments []string) (rank string, ok bool) {
	t, err := model.ParseTemplate(path)
	if err != nil {
		return "", false
	}
	for i, s := range t {
		switch {
		case s.Rest:
			return rank + "3", len(segments) >= i
		case i >= len(segments) || s.Param != "" && segments[i] == "" || s.Param == "" && s.Literal != segments[i]:
			return "", false
		case s.Param != "":
			rank += "2"
		default:
			rank += "1"
		}
	}
	return rank, len(t) == len(segments)
}
