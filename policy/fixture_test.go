package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/model"
)

const (
	orders  = "orders shop.localhost/orders/{id}"
	catalog = "catalog shop.localhost/catalog"
	refunds = "payments shop.localhost/refunds"
)

func at(line int) model.Position {
	return model.Position{File: "palisade.yaml", Line: line, Column: 9}
}

// shop is a small fleet: grants on every route, and whatever Cedar text a test adds.
func shop(cedarText ...string) *model.Snapshot {
	grant := func(line int, g model.Grant) model.ResolvedGrant {
		return model.ResolvedGrant{Grant: g, Position: at(line)}
	}
	s := &model.Snapshot{
		Fleet: "shop",
		Providers: []model.ResolvedProvider{{Name: "idp", Provider: model.Provider{
			Claims: map[string]string{"team": "string", "level": "long", "staff": "bool", "regions": "set"},
		}}},
		Roles: []model.ResolvedRole{
			{Name: "admin", Includes: []string{"admin", "customer", "support"}},
			{Name: "customer", Includes: []string{"customer"}},
			{Name: "support", Includes: []string{"support"}},
		},
		Services: []model.ResolvedService{
			{Name: "catalog"},
			{Name: "orders", Owner: "team-orders", Data: []string{"personal"}},
			{Name: "payments", Owner: "team-money", Data: []string{"payment", "personal"}},
			{Name: "web"},
		},
		Routes: []model.ResolvedRoute{
			{ID: catalog, Service: "catalog", Host: "shop.localhost", Path: "/catalog", Methods: []string{"GET", "HEAD"}, Allow: []model.ResolvedGrant{
				grant(10, model.Grant{Anyone: true}),
			}},
			{ID: orders, Service: "orders", Host: "shop.localhost", Path: "/orders/{id}", Methods: []string{"DELETE", "GET", "PUT"}, Allow: []model.ResolvedGrant{
				grant(20, model.Grant{Roles: []string{"customer"}, Methods: []string{"GET"}}),
				grant(21, model.Grant{Roles: []string{"support", "admin"}, Scopes: []string{"orders:write"}, Methods: []string{"PUT"}}),
			}},
			{ID: refunds, Service: "payments", Host: "shop.localhost", Path: "/refunds", Methods: []string{"POST"}},
		},
	}
	for i, text := range cedarText {
		s.Policies = append(s.Policies, model.PolicyFile{Name: fmt.Sprintf("policies/p%d.cedar", i), Text: text})
	}
	return s
}

func compiled(t testing.TB, snap *model.Snapshot) *Set {
	t.Helper()
	s, findings := Compile(snap)
	if s == nil {
		t.Fatalf("the snapshot does not compile: %v", lines(findings))
	}
	return s
}

func lines(findings []model.Finding) string {
	var out []string
	for _, f := range findings {
		line := fmt.Sprintf("%s %s %s: %s", f.Severity, f.Code, place(f.Position), f.Text)
		if f.Hint != "" {
			line += " (" + f.Hint + ")"
		}
		if f.Other != (model.Position{}) {
			line += " [" + place(f.Other) + "]"
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// noon is Wednesday, 2026-07-01 12:30 UTC.
var noon = time.Date(2026, 7, 1, 12, 30, 0, 0, time.UTC)

func user(subject string, roles ...string) *User {
	return &User{Provider: "idp", Issuer: "https://idp.example", Subject: subject, Roles: roles}
}

func ask(u *User, method, route string) *Query {
	return &Query{
		User: u, Method: method, Route: route, Host: "shop.localhost", Path: "/x", Time: noon, TLSVersion: "1.3",
		Client: netip.MustParseAddr("192.0.2.7"), Params: []Param{{"id", "42"}},
	}
}

func codes(d Decision) string {
	var out []string
	for _, r := range d.Reasons {
		out = append(out, strings.TrimSpace(r.Code+" "+r.Policy+" "+r.Position))
	}
	return strings.Join(out, "\n")
}
