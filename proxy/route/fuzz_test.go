package route_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/route"
)

// FuzzRoute compares the matcher with a linear one that is too simple to be wrong: it tries every route and
// keeps the most specific.
func FuzzRoute(f *testing.F) {
	f.Add("GET a.example/x/{id}\nGET,POST a.example/x/**\nGET *.example/", "GET", "a.example", "/x/1")
	f.Add("GET a.example/{p}/y/z\nGET a.example/x/{q}\nGET a.example/x/**", "GET", "a.example", "/x/y/z")
	f.Add("GET a.example/{p}/b\nGET a.example/a/{q}/c\nPUT a.example/**", "PUT", "a.example", "/a/b")
	f.Add("GET a.example/a/\nGET a.example/a/{x}\nGET a.example/a", "GET", "a.example", "/a/")
	f.Fuzz(func(t *testing.T, routes, method, host, path string) {
		var entries []route.Entry[int]
		for line := range strings.SplitSeq(routes, "\n") {
			methods, target, ok := strings.Cut(line, " ")
			slash := strings.IndexByte(target, '/')
			if !ok || slash < 0 || len(entries) == 32 {
				return
			}
			template, err := model.ParseTemplate(target[slash:])
			if err != nil {
				return
			}
			entries = append(entries, route.Entry[int]{Name: line, Host: target[:slash], Path: template, Methods: strings.Split(methods, ","), Value: len(entries)})
		}
		if !strings.HasPrefix(path, "/") {
			return
		}
		m, err := route.Build(entries)
		if pair := clash(entries); pair {
			var c *route.Conflict
			if err == nil || !errors.As(err, &c) && !strings.Contains(err.Error(), "host") {
				t.Fatalf("a conflict was not found: %v", err)
			}
			return
		}
		if err != nil {
			if _, ok := errors.AsType[*route.Conflict](err); ok {
				t.Fatalf("no conflict, but %v", err)
			}
			return
		}
		got := m.Match(host, method, segments(path), nil)
		want := naive(entries, host, method, segments(path))
		if got.Outcome != want.Outcome || got.Value != want.Value || !slices.Equal(got.Params, want.Params) || !slices.Equal(got.Allow, want.Allow) {
			t.Fatalf("%s %s%s among %q: got %+v, want %+v", method, host, path, routes, got, want)
		}
	})
}

// clash reports whether two entries have host, shape and a method in common.
func clash(entries []route.Entry[int]) bool {
	for i, a := range entries {
		for _, b := range entries[:i] {
			common := slices.ContainsFunc(a.Methods, func(m string) bool { return slices.Contains(b.Methods, m) })
			if a.Host == b.Host && a.Path.Shape() == b.Path.Shape() && common {
				return true
			}
		}
	}
	return false
}

// naive matches by trying everything.
func naive(entries []route.Entry[int], host, method string, path []string) route.Result[int] {
	exact := slices.ContainsFunc(entries, func(e route.Entry[int]) bool { return e.Host == host })
	if !exact {
		_, parent, _ := strings.Cut(host, ".")
		host = "*." + parent
	}
	var best model.Template
	for _, e := range entries {
		if e.Host == host && covers(e.Path, path) && (best == nil || rank(e.Path) < rank(best)) {
			best = e.Path
		}
	}
	if best == nil {
		return route.Result[int]{}
	}
	r := route.Result[int]{Outcome: route.MethodNotAllowed}
	for _, e := range entries {
		if e.Host != host || e.Path.Shape() != best.Shape() {
			continue
		}
		if slices.Contains(e.Methods, method) {
			r = route.Result[int]{Outcome: route.Found, Value: e.Value}
			for i, s := range e.Path {
				if s.Param != "" {
					r.Params = append(r.Params, proxy.Param{Name: s.Param, Value: path[i]})
				}
			}
			return r
		}
		r.Allow = append(r.Allow, e.Methods...)
	}
	slices.Sort(r.Allow)
	r.Allow = slices.Compact(r.Allow)
	return r
}

// covers reports whether the template matches the path.
func covers(t model.Template, path []string) bool {
	for i, s := range t {
		switch {
		case s.Rest:
			return len(path) >= i
		case i >= len(path), s.Param != "" && path[i] == "", s.Param == "" && s.Literal != path[i]:
			return false
		}
	}
	return len(t) == len(path)
}

// rank writes a template so that the more specific of two that match the same path sorts first.
func rank(t model.Template) string {
	var b strings.Builder
	for _, s := range t {
		switch {
		case s.Rest:
			b.WriteByte('3')
		case s.Param != "":
			b.WriteByte('2')
		default:
			b.WriteByte('1')
		}
	}
	return b.String()
}

// TestAgainstLinear compares both matchers on small random worlds, dense enough that templates overlap.
func TestAgainstLinear(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(choices ...string) string { return choices[r.IntN(len(choices))] }
	found := map[route.Outcome]int{}
	for range 3000 {
		var entries []route.Entry[int]
		for i := range 1 + r.IntN(8) {
			target := ""
			for j := range 1 + r.IntN(3) {
				target += "/" + pick("a", "b", "{x"+strconv.Itoa(j)+"}")
			}
			target += pick("", "", "/", "/**")
			template, err := model.ParseTemplate(target)
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, route.Entry[int]{
				Name: strconv.Itoa(i) + target, Host: pick("h.example", "*.example"), Path: template, Methods: []string{pick("GET", "POST")}, Value: i,
			})
		}
		m, err := route.Build(entries)
		if clash(entries) != (err != nil) {
			t.Fatalf("%+v: %v", entries, err)
		}
		for range 20 {
			path := []string{pick("a", "b", "c")}
			for range r.IntN(4) {
				path = append(path, pick("a", "b", "c", ""))
			}
			host, method := pick("h.example", "g.example"), pick("GET", "POST")
			if err != nil {
				continue
			}
			got, want := m.Match(host, method, path, nil), naive(entries, host, method, path)
			if got.Outcome != want.Outcome || got.Value != want.Value || !slices.Equal(got.Params, want.Params) || !slices.Equal(got.Allow, want.Allow) {
				t.Fatalf("%s %s %q among %+v: got %+v, want %+v", method, host, path, entries, got, want)
			}
			found[got.Outcome]++
		}
	}
	if len(found) != 3 {
		t.Errorf("outcomes seen: %v", found)
	}
}
