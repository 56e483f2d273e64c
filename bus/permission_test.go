package bus

import (
	"slices"
	"strings"
	"testing"
)

func TestClaims(t *testing.T) {
	const id = "spiffe://example/service/web"
	inbox := Inbox(id) + ".>"
	for _, c := range []struct {
		name                 string
		p                    Permissions
		publish, sub         []string
		denyPublish, denySub []string
		refused              string
	}{
		{name: "nothing", sub: []string{inbox}, denyPublish: []string{">"}},
		{name: "both", p: Permissions{Publish: []string{"a.>"}, Subscribe: []string{"b"}}, publish: []string{"a.>"}, sub: []string{"b", inbox}},
		{name: "star", p: Permissions{Subscribe: []string{"b.*"}}, sub: []string{"b.*", inbox}, denyPublish: []string{">"}, denySub: []string{"b.*.>"}},
		{name: "star inside all", p: Permissions{Subscribe: []string{"b.*", "b.>"}}, sub: []string{"b.*", "b.>", inbox}, denyPublish: []string{">"}},
		{name: "star and part of what is deeper", p: Permissions{Subscribe: []string{"b.*", "b.c.d"}}, refused: "cannot hold"},
		{name: "star inside", p: Permissions{Subscribe: []string{"b.*.c"}}, sub: []string{"b.*.c", inbox}, denyPublish: []string{">"}},
		{name: "inboxes", p: Permissions{Subscribe: []string{"_INBOX.x"}}, refused: "answers to others"},
		{name: "star first", p: Permissions{Subscribe: []string{"*.x"}}, refused: "answers to others"},
		{name: "no subject", p: Permissions{Publish: []string{"a..b"}}, refused: "no subject"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.p.claims(id)
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Fatalf("%v, want %q", err, c.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, pair := range [][2][]string{
				{got.Pub.Allow, c.publish}, {got.Pub.Deny, c.denyPublish}, {got.Sub.Allow, c.sub}, {got.Sub.Deny, c.denySub},
			} {
				if !slices.Equal(pair[0], pair[1]) {
					t.Errorf("got %q, want %q", pair[0], pair[1])
				}
			}
			if len(got.Pub.Allow)+len(got.Pub.Deny) == 0 || len(got.Sub.Allow) == 0 {
				t.Error("an empty list is everything to the server")
			}
		})
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		one, two          string
		covers, intersect bool
	}{
		{"a", "a", true, true},
		{"a", "b", false, false},
		{"*", "a", true, true},
		{"a", "*", false, true},
		{">", "a.b", true, true},
		{"a.>", "a", false, false},
		{"a.>", "a.*.>", true, true},
		{"a.*", "a.>", false, true},
		{"a.*.c", "a.b.*", false, true},
		{"a.*.c", "a.b", false, false},
	} {
		if got := covers(c.one, c.two); got != c.covers {
			t.Errorf("%q covers %q: %v", c.one, c.two, got)
		}
		if got, back := intersect(c.one, c.two), intersect(c.two, c.one); got != c.intersect || got != back {
			t.Errorf("%q and %q intersect: %v, %v", c.one, c.two, got, back)
		}
	}
}
