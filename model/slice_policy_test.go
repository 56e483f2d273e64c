package model

import (
	"slices"
	"testing"
)

// TestNarrowPolicies: a slice has the files that can concern its service, in their order; a change to another's reaches nobody
// else.
func TestNarrowPolicies(t *testing.T) {
	s := meshModel(t)
	var decides []string
	for name, slice := range slicesOf(s) {
		if name != "edge" && len(slice.Routes) > 0 {
			decides = append(decides, name)
		}
	}
	slices.Sort(decides)
	if len(decides) < 2 {
		t.Fatalf("%v decide", decides)
	}
	one, other := decides[0], decides[1]
	route := slicesOf(s)[other].Routes[0].ID
	s.Policies = []PolicyFile{{Name: "one", Text: "1"}, {Name: "all", Text: "2"}, {Name: "route", Text: "3"}}
	scopes := []PolicyScope{{Services: []string{one, one}}, {Everywhere: true}, {Routes: []string{route, "none such"}}}
	cut := func() (all map[string]*Snapshot) {
		c := NewSlicer(s)
		c.NarrowPolicies(scopes)
		all = map[string]*Snapshot{"edge": c.Edge()}
		for i := range s.Services {
			all[s.Services[i].Name] = c.Service(s.Services[i].Name)
		}
		return all
	}
	before := cut()
	for name, want := range map[string][]string{one: {"one", "all"}, other: {"all", "route"}, "edge": {"one", "all", "route"}} {
		var got []string
		for _, f := range before[name].Policies {
			got = append(got, f.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", name, got, want)
		}
	}
	s.Policies[0].Text = "4"
	for name, after := range cut() {
		if changed := after.Version != before[name].Version; changed != (name == one || name == "edge") {
			t.Errorf("%s changed: %t", name, changed)
		}
	}
	if v := before[one].Content(); v != before[one].Version {
		t.Errorf("the version %s is not that of the content, %s", before[one].Version, v)
	}
}
