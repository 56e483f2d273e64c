package route_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/route"
)

// entry reads "GET,POST host/path"; its name and value are the text.
func entry(t testing.TB, text string) route.Entry[string] {
	t.Helper()
	methods, target, _ := strings.Cut(text, " ")
	slash := strings.IndexByte(target, '/')
	path, err := model.ParseTemplate(target[slash:])
	if err != nil {
		t.Fatal(err)
	}
	return route.Entry[string]{Name: text, Host: target[:slash], Path: path, Methods: strings.Split(methods, ","), Value: text}
}

func build(t testing.TB, texts ...string) *route.Matcher[string] {
	t.Helper()
	var entries []route.Entry[string]
	for _, text := range texts {
		entries = append(entries, entry(t, text))
	}
	m, err := route.Build(entries)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func segments(path string) []string { return strings.Split(path[1:], "/") }

func TestMatch(t *testing.T) {
	routes := []string{
		"GET,HEAD shop.example/",
		"GET shop.example/orders",
		"POST shop.example/orders",
		"GET shop.example/orders/",
		"GET shop.example/orders/{id}",
		"DELETE shop.example/orders/{order}",
		"GET shop.example/orders/search",
		"GET shop.example/orders/{id}/items/{item}",
		"GET shop.example/orders/search/items/all",
		"GET shop.example/{kind}/new/x",
		"GET shop.example/assets/**",
		"GET shop.example/assets/private/{name}",
		"GET shop.example/assets/private/sub/deep",
		"GET *.example/**",
		"PUT *.shop.example/{a}",
		"GET [::1]/x",
	}
	for _, tc := range []struct {
		request, want string // want: the route, "404", or "405 " and the methods
		params        []proxy.Param
	}{
		{"GET shop.example/", "GET,HEAD shop.example/", nil},
		{"POST shop.example/", "405 GET HEAD", nil},
		{"GET shop.example/orders", "GET shop.example/orders", nil},
		{"POST shop.example/orders", "POST shop.example/orders", nil},
		{"PUT shop.example/orders", "405 GET POST", nil},
		{"GET shop.example/orders/", "GET shop.example/orders/", nil},
		{"GET shop.example/orders/1", "GET shop.example/orders/{id}", []proxy.Param{{Name: "id", Value: "1"}}},
		{"DELETE shop.example/orders/1", "DELETE shop.example/orders/{order}", []proxy.Param{{Name: "order", Value: "1"}}},
		{"GET shop.example/orders/search", "GET shop.example/orders/search", nil},
		{"DELETE shop.example/orders/search", "405 GET", nil},
		{"GET shop.example/orders/1/", "404", nil},
		{"GET shop.example/orders/1/items/2", "GET shop.example/orders/{id}/items/{item}", []proxy.Param{{Name: "id", Value: "1"}, {Name: "item", Value: "2"}}},
		{"GET shop.example/orders/search/items/2", "GET shop.example/orders/{id}/items/{item}", []proxy.Param{{Name: "id", Value: "search"}, {Name: "item", Value: "2"}}},
		{"GET shop.example/orders/search/items/all", "GET shop.example/orders/search/items/all", nil},
		{"GET shop.example/orders/new/x", "GET shop.example/{kind}/new/x", []proxy.Param{{Name: "kind", Value: "orders"}}},
		{"GET shop.example/nothing", "404", nil},
		{"GET shop.example/Orders", "404", nil},
		{"GET shop.example/assets", "GET shop.example/assets/**", nil},
		{"GET shop.example/assets/", "GET shop.example/assets/**", nil},
		{"GET shop.example/assets/a/b/c", "GET shop.example/assets/**", nil},
		{"GET shop.example/assets/private/x", "GET shop.example/assets/private/{name}", []proxy.Param{{Name: "name", Value: "x"}}},
		{"GET shop.example/assets/private/", "GET shop.example/assets/**", nil},
		{"GET shop.example/assets/private/sub/other", "GET shop.example/assets/**", nil},
		{"GET other.example/a", "GET *.example/**", nil},
		{"GET other.example/", "GET *.example/**", nil},
		{"GET a.b.example/", "404", nil},
		{"GET example/", "404", nil},
		{"PUT a.shop.example/1", "PUT *.shop.example/{a}", []proxy.Param{{Name: "a", Value: "1"}}},
		{"GET [::1]/x", "GET [::1]/x", nil},
	} {
		rand.Shuffle(len(routes), func(i, j int) { routes[i], routes[j] = routes[j], routes[i] })
		m := build(t, routes...)
		method, target, _ := strings.Cut(tc.request, " ")
		slash := strings.IndexByte(target, '/')
		r := m.Match(target[:slash], method, segments(target[slash:]), nil)
		got := r.Value
		switch r.Outcome {
		case route.NotFound:
			got = "404"
		case route.MethodNotAllowed:
			got = "405 " + strings.Join(r.Allow, " ")
		case route.Found:
		}
		if got != tc.want || !slices.Equal(r.Params, tc.params) {
			t.Errorf("%s: got %q %v, want %q %v", tc.request, got, r.Params, tc.want, tc.params)
		}
	}
}

func TestBuildRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		routes    []string
		conflicts [][2]string
	}{
		"same":         {[]string{"GET a.example/x", "POST,GET a.example/x"}, [][2]string{{"GET a.example/x", "POST,GET a.example/x"}}},
		"other names":  {[]string{"GET a.example/{b}", "GET a.example/{a}"}, [][2]string{{"GET a.example/{a}", "GET a.example/{b}"}}},
		"rest":         {[]string{"GET,POST *.example/**", "GET *.example/**"}, [][2]string{{"GET *.example/**", "GET,POST *.example/**"}}},
		"bad host":     {[]string{"GET A.example/"}, nil},
		"port":         {[]string{"GET a.example:80/"}, nil},
		"any host":     {[]string{"GET */"}, nil},
		"two stars":    {[]string{"GET *.*.example/"}, nil},
		"empty host":   {[]string{"GET /"}, nil},
		"trailing dot": {[]string{"GET a.example./"}, nil},
	} {
		for range 2 {
			slices.Reverse(tc.routes)
			var entries []route.Entry[string]
			for _, text := range tc.routes {
				entries = append(entries, entry(t, text))
			}
			_, err := route.Build(entries)
			if err == nil {
				t.Errorf("%s: accepted", name)
				continue
			}
			for _, want := range tc.conflicts {
				var c *route.Conflict
				if !errors.As(err, &c) || c.First != want[0] || c.Second != want[1] || c.Method != "GET" {
					t.Errorf("%s: got %v, want %q", name, err, want)
				}
			}
		}
	}
	if _, err := route.Build([]route.Entry[int]{{Name: "x", Host: "a.example"}}); err == nil {
		t.Error("an entry without path and methods was accepted")
	}
}

func TestCompile(t *testing.T) {
	routes := []model.ResolvedRoute{
		{ID: "a shop.example/", Host: "shop.example", Path: "/", Methods: []string{"GET"}},
		{ID: "b shop.example/{x}", Host: "shop.example", Path: "/{x}", Methods: []string{"GET"}},
	}
	m, err := route.Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	if r := m.Match("shop.example", "GET", []string{"1"}, nil); r.Outcome != route.Found || r.Value != 1 {
		t.Errorf("got %+v", r)
	}
	_, err = route.Compile(append(routes,
		model.ResolvedRoute{ID: "c shop.example/{y}", Host: "shop.example", Path: "/{y}", Methods: []string{"GET"}},
		model.ResolvedRoute{ID: "d", Host: "shop.example", Path: "y", Methods: []string{"GET"}}))
	for _, want := range []string{"b shop.example/{x}", "c shop.example/{y}", `compiling route "d"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %q", err, want)
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	m := build(t, "GET shop.example/orders/{id}/items/{item}", "GET shop.example/**")
	path, params := segments("/orders/1/items/2"), make([]proxy.Param, 0, 4)
	if n := testing.AllocsPerRun(100, func() { m.Match("shop.example", "GET", path, params) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
