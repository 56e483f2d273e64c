package drift

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/ident"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/filter/openapi"
)

const small = `{"openapi": "3.1.0", "info": {"title": "a", "version": "1"}, "paths": {
"/orders": {"get": {"responses": {"200": {"description": "x"}}}}, "/a/b": {"get": {"responses": {"200": {"description": "x"}}}},
"/orders/{order}/lines": {"parameters": [{"name": "order", "in": "path", "required": true, "schema": {"type": "string"}}], "get": {"responses": {"200": {"description": "x"}}}}}}`

func evidence(t testing.TB) *Evidence {
	t.Helper()
	v, _, err := New(&model.Snapshot{Services: []model.ResolvedService{{Name: "s", API: []byte(small), APIFile: "s.json"}}}, "")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func ask(v *Evidence, method, path string) {
	v.Event(&event.Event{Service: "s", Method: method, Path: path, Allowed: true, Status: 200, UpstreamStatus: 200, ID: "1"})
}

// endpoints are the proposed ones as they are listed: method, template, count.
func endpoints(v *Evidence) (out []string) {
	r := v.Report(1)
	for i := range r.Undocumented {
		if u := &r.Undocumented[i]; u.Kind == Endpoint {
			out = append(out, fmt.Sprintf("%s %s %d", u.Method, u.Path, u.Count))
		}
	}
	slices.Sort(out)
	return out
}

func TestCollapse(t *testing.T) {
	v := evidence(t)
	for i := range 30 {
		ask(v, "GET", fmt.Sprintf("/users/%c%c/mail", 'a'+i%26, 'a'+i/26)) // names, too many to be names
		ask(v, "GET", fmt.Sprintf("/users/%d/mail", i))
		ask(v, "PUT", fmt.Sprintf("/orders/%d/lines/%d", i, i*i))
		ask(v, "GET", fmt.Sprintf("/v2/things/%08x-0000-4000-8000-%012x", i, i))
	}
	for i := range 20 {
		ask(v, "GET", fmt.Sprintf("/few/n%c/x", 'a'+i))
	}
	for _, path := range []string{"/orders/export/csv", "/orders/7/", "/a/b/c", "/a/c", "/", "/x%20y", "/orders/abc/refund"} {
		ask(v, "GET", path)
	}
	ask(v, "GET", "/"+strings.Repeat("a/", 40))
	got := endpoints(v)
	got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "GET /few/n") })
	want := []string{
		"GET / 1", "GET /a/b/c 1", "GET /a/c 1", "GET /orders/{order}/ 1", "GET /orders/{order}/csv 1", "GET /orders/{order}/refund 1", "GET /users/{id}/mail 60",
		"GET /v2/things/{id} 30", "GET /{id} 1", "PUT /orders/{order}/lines/{id} 30",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if n := len(endpoints(v)); n != len(want)+20 || v.services[0].dropped != 1 {
		t.Errorf("%d endpoints, %d dropped", n, v.services[0].dropped)
	}
}

// TestCollapseInAnyOrder holds that the order of requests makes no difference, that each path falls under its template, and that no template
// quotes an identifier.
func TestCollapseInAnyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	words := []string{"orders", "a", "b", "", "users", "export", "v1", "7", "4711", "550e8400-e29b-41d4-a716-446655440000", "x%2Fy"}
	for i := range 40 {
		words = append(words, fmt.Sprintf("n%c%c", 'a'+i%26, 'a'+i/26))
	}
	for range 30 {
		var paths []string
		for range 1 + r.IntN(120) {
			path := ""
			for range 1 + r.IntN(4) {
				path += "/" + words[r.IntN(1+r.IntN(len(words)))]
			}
			paths = append(paths, path)
		}
		var first []string
		for n := range 3 {
			v := evidence(t)
			for _, p := range paths {
				ask(v, "PUT", p)
			}
			got := endpoints(v)
			if n == 0 {
				first = got
				falls(t, v, paths)
			} else if !slices.Equal(got, first) {
				t.Fatalf("in another order\n%q\nnot\n%q", got, first)
			}
			r.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
		}
	}
}

// falls holds that a document with all templates of v has all paths.
func falls(t *testing.T, v *Evidence, paths []string) {
	t.Helper()
	report := v.Report(1)
	proposals, err := v.Propose(report)
	if err != nil {
		t.Fatal(err)
	}
	for i := range report.Undocumented {
		u := &report.Undocumented[i]
		if !u.Proposed {
			t.Errorf("%s is not proposed: %s", u.Path, u.Why)
		}
		for s := range strings.SplitSeq(u.Path, "/") {
			if !strings.HasPrefix(s, "{") && ident.One(s) {
				t.Errorf("%s has %s", u.Path, s)
			}
		}
	}
	api, findings := openapi.Compile(model.ResolvedService{Name: "s", API: proposals[0].Edited.After})
	if api == nil {
		t.Fatal(findings)
	}
	for _, p := range paths {
		segments, ok := segmentsOf(p)
		if _, found := api.Find("PUT", segments); ok && !found {
			t.Errorf("%s falls under no template", p)
		}
	}
}

// TestBounds holds that whoever may ask anything cannot fill what is held.
func TestBounds(t *testing.T) {
	v := evidence(t)
	r := rand.New(rand.NewPCG(3, 4))
	const asked = 30_000
	for i := range asked {
		path := ""
		for range 1 + r.IntN(10) {
			path += fmt.Sprintf("/n%c%c", 'a'+r.IntN(26), 'a'+r.IntN(26))
		}
		e := &event.Event{
			Service: "s", Method: fmt.Sprintf("M%d", r.IntN(1+r.IntN(400))), Path: path, Query: fmt.Sprintf("q%c%c%c=1", 'a'+r.IntN(26), 'a'+r.IntN(26), 'a'+r.IntN(26)), Allowed: true,
			Status: 200, UpstreamStatus: 200, ID: "1", User: &event.User{Provider: fmt.Sprint(i)},
		}
		v.Event(e)
	}
	s := v.services[0]
	places, operations := 0, 0
	var count func(p *place)
	count = func(p *place) {
		places++
		operations += len(p.ops)
		for _, o := range p.ops {
			if len(o.query) > mostNames || len(o.by) > mostWho+1 || len(o.samples) > mostSamples {
				t.Errorf("%d names, %d sorts of clients", len(o.query), len(o.by))
			}
		}
		for _, next := range p.names {
			count(next)
		}
		if p.param != nil {
			count(p.param)
		}
	}
	count(s.other)
	if operations > mostOperations || places > mostOperations*mostSegments || s.dropped == 0 {
		t.Errorf("%d places, %d operations, %d dropped", places, operations, s.dropped)
	}
	t.Logf("%d requests: %d places, %d operations, %d dropped", asked, places, operations, s.dropped)
}

// FuzzPath holds that any path makes a template that is valid in a document, has the path, and quotes no identifier.
func FuzzPath(f *testing.F) {
	for _, p := range []string{"/a/7", "/orders/x/y", "//", "/%7Bid%7D", "/a%2Fb", "/{id}", "/a/b/", "/$ref", "/paths/../x"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		v := evidence(t)
		ask(v, "PUT", path)
		if len(endpoints(v)) == 1 {
			falls(t, v, []string{path})
		}
	})
}
