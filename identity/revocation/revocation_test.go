package revocation

import (
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// TestList holds what each kind of entry refuses, before and after it is restored.
func TestList(t *testing.T) {
	domain := spiffeid.RequireTrustDomainFromString("shop.example")
	begin := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	list, err := New(domain, 7, []Entry{
		{Kind: Service, Value: "service/payments", Since: begin},
		{Kind: Serial, Value: "00:AB:cd", Since: begin},
		{Kind: Node, Value: "n1", Since: begin},
		{Kind: Service, Value: "spiffe://shop.example/service/web", Since: begin, Before: begin},
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := list.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if list, err = Parse(data); err != nil || list.Sequence() != 7 || len(list.Entries()) != 4 {
		t.Fatalf("after a journey: %v", err)
	}
	for name, c := range map[string]struct {
		subject         Subject
		refused, barred bool
	}{
		"revoked service":              {Subject{ID: domainID("service/payments"), Begins: begin.Add(time.Hour)}, true, true},
		"another service":              {Subject{ID: domainID("service/catalog")}, false, false},
		"longer name":                  {Subject{ID: domainID("service/payments/2")}, false, false},
		"same name elsewhere":          {Subject{ID: spiffeid.RequireFromString("spiffe://other.example/service/payments")}, false, false},
		"revoked serial":               {Subject{ID: domainID("service/catalog"), Serial: "abcd"}, true, false},
		"revoked node":                 {Subject{ID: domainID("service/catalog"), Node: "n1"}, true, true},
		"the node itself":              {Subject{ID: domainID("node/n1")}, true, true},
		"such a node elsewhere":        {Subject{ID: spiffeid.RequireFromString("spiffe://other.example/service/a"), Node: "n1"}, false, false},
		"restored, an SVID of before":  {Subject{ID: domainID("service/web"), Begins: begin}, true, false},
		"restored, a new SVID":         {Subject{ID: domainID("service/web"), Begins: begin.Add(time.Second)}, false, false},
		"a service named like a node":  {Subject{ID: domainID("service/n1")}, false, false},
		"an SVID that knows no serial": {Subject{ID: domainID("service/catalog"), Serial: ""}, false, false},
	} {
		if _, got := list.Refuses(c.subject); got != c.refused {
			t.Errorf("%s: refused %v", name, got)
		}
		if _, got := list.Bars(c.subject.ID, c.subject.Node); got != c.barred {
			t.Errorf("%s: barred %v", name, got)
		}
	}
	var none *List
	if _, got := none.Refuses(Subject{ID: domainID("service/payments")}); got || none.Sequence() != 0 || none.Entries() != nil {
		t.Error("no list refuses something")
	}
}

// TestBadEntries holds what cannot stand in a list.
func TestBadEntries(t *testing.T) {
	domain := spiffeid.RequireTrustDomainFromString("shop.example")
	for _, e := range []Entry{
		{Kind: "", Value: "x"},
		{Kind: "user", Value: "x"},
		{Kind: Service, Value: ""},
		{Kind: Service, Value: "spiffe://shop.example"},
		{Kind: Service, Value: "spiffe://other.example/service/a"},
		{Kind: Service, Value: "a/../b"},
		{Kind: Service, Value: "https://x/y"},
		{Kind: Serial, Value: ""},
		{Kind: Serial, Value: "0"},
		{Kind: Serial, Value: "-1"},
		{Kind: Serial, Value: "xyz"},
		{Kind: Node, Value: ""},
		{Kind: Node, Value: "a b"},
		{Kind: Node, Value: "a\n"},
	} {
		if _, err := New(domain, 1, []Entry{e}); err == nil {
			t.Errorf("%+v is accepted", e)
		}
	}
	if _, err := New(domain, 1, []Entry{{Kind: Serial, Value: "0a"}, {Kind: Serial, Value: "A"}}); err == nil {
		t.Error("one serial number twice is accepted")
	}
}

// FuzzParse holds that a list that is read can be asked and written again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"trust_domain":"shop.example","sequence":1,"entries":[{"kind":"service","value":"service/a","since":"2026-11-22T12:00:00Z"}]}`))
	f.Add([]byte(`{"trust_domain":"a","entries":[{"kind":"serial","value":"0a"},{"kind":"node","value":"n"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := Parse(data)
		if err != nil {
			return
		}
		list.Refuses(Subject{ID: domainID("service/a"), Serial: "a", Node: "n"})
		again, err := list.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(again); err != nil {
			t.Errorf("%s is not read again: %v", again, err)
		}
	})
}

func domainID(path string) spiffeid.ID {
	return spiffeid.RequireFromString("spiffe://shop.example/" + path)
}
