package attest

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

var (
	hexA = strings.Repeat("a", 64)
	hexB = strings.Repeat("b", 64)
)

func TestMatch(t *testing.T) {
	user := func(name string) Selector { return Selector{Kind: UnixUser, Value: name} }
	path := Selector{Kind: UnixPath, Value: "/usr/bin/catalog"}
	label := func(key, value string) Selector { return Selector{ContainerLabel, key, value} }
	m, err := NewMatcher(map[string][]Workload{
		"catalog": {{user("shop"), path}, {label("app", "catalog")}},
		"orders":  {{user("shop"), {Kind: UnixSHA256, Value: hexA}}, {label("app", "catalog"), label("tier", "2")}},
		"web":     {{user("web")}},
		"nobody":  nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		proven   []Selector
		service  string
		services []string // of the refusal
	}{
		"all selectors of one":              {[]Selector{user("shop"), path}, "catalog", nil},
		"order does not matter":             {[]Selector{path, {Kind: UnixUID, Value: "7"}, user("shop")}, "catalog", nil},
		"second workload":                   {[]Selector{user("x"), label("app", "catalog")}, "catalog", nil},
		"one selector missing":              {[]Selector{user("shop")}, "", nil},
		"other user":                        {[]Selector{user("root"), path}, "", nil},
		"hash decides":                      {[]Selector{user("shop"), {Kind: UnixSHA256, Value: hexA}}, "orders", nil},
		"two services":                      {[]Selector{user("shop"), path, {Kind: UnixSHA256, Value: hexA}}, "", []string{"catalog", "orders"}},
		"more labels do not win":            {[]Selector{label("app", "catalog"), label("tier", "2")}, "", []string{"catalog", "orders"}},
		"label that only reads the same":    {[]Selector{label("app=catalog", "")}, "", nil},
		"kind matters":                      {[]Selector{{Kind: KubernetesNamespace, Value: "web"}}, "", nil},
		"both workloads of the same":        {[]Selector{user("shop"), path, label("app", "catalog")}, "catalog", nil},
		"nothing proven":                    {nil, "", nil},
		"the empty selector is no wildcard": {[]Selector{{}}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			service, err := m.Match(c.proven)
			if service != c.service {
				t.Errorf("service %q, want %q", service, c.service)
			}
			if c.service != "" {
				return
			}
			refusal, ok := errors.AsType[*Refusal](err)
			if !ok || !slices.Equal(refusal.Services, c.services) {
				t.Errorf("refusal %v, want services %v", err, c.services)
			}
		})
	}
}

func TestMatcherRefusesWhatCannotBeProven(t *testing.T) {
	for name, w := range map[string]Workload{
		"no selectors":        {},
		"relative path":       {{Kind: UnixPath, Value: "catalog"}},
		"unclean path":        {{Kind: UnixPath, Value: "/usr/../bin/x"}},
		"short hash":          {{Kind: UnixSHA256, Value: "abc"}},
		"upper-case hash":     {{Kind: UnixSHA256, Value: strings.Repeat("A", 64)}},
		"not hex":             {{Kind: UnixSHA256, Value: strings.Repeat("g", 64)}},
		"image by tag":        {{Kind: ContainerImage, Value: "catalog:latest"}},
		"image without kind":  {{Kind: ContainerImage, Value: hexA}},
		"label without key":   {{Kind: ContainerLabel, Value: "catalog"}},
		"key without label":   {{Kind: UnixUser, Key: "name", Value: "shop"}},
		"empty user":          {{Kind: UnixUser}},
		"uid with zeros":      {{Kind: UnixUID, Value: "007"}},
		"uid out of range":    {{Kind: UnixUID, Value: "4294967296"}},
		"unknown kind":        {{Kind: "unix:comm", Value: "catalog"}},
		"one of two is wrong": {{Kind: UnixUser, Value: "shop"}, {Kind: UnixSHA256}},
	} {
		if _, err := NewMatcher(map[string][]Workload{"catalog": {w}}); err == nil {
			t.Errorf("%s: accepted", name)
		} else if !strings.Contains(err.Error(), `"catalog"`) {
			t.Errorf("%s: the error does not name the service: %v", name, err)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	services := map[string][]Workload{}
	for i := range 10_000 {
		name := "s" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + string(rune('0'+i%10))
		services[name] = append(services[name], Workload{{Kind: UnixUser, Value: name}, {Kind: UnixPath, Value: "/usr/bin/" + name}})
	}
	services["catalog"] = []Workload{{{Kind: UnixUser, Value: "shop"}, {Kind: UnixPath, Value: "/usr/bin/catalog"}}}
	m, err := NewMatcher(services)
	if err != nil {
		b.Fatal(err)
	}
	proven := []Selector{{UnixUID, "", "7"}, {UnixUser, "", "shop"}, {UnixPath, "", "/usr/bin/catalog"}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Match(proven); err != nil {
			b.Fatal(err)
		}
	}
}
