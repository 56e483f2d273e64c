package authz

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/policy"
	"github.com/palisade-security/palisade/proxy"
)

const (
	orders = "orders shop/orders/{id}"
	home   = "web shop/"
)

func snapshot() *model.Snapshot {
	grant := func(line int, g model.Grant) model.ResolvedGrant {
		return model.ResolvedGrant{Grant: g, Position: model.Position{File: "palisade.yaml", Line: line, Column: 9}}
	}
	return &model.Snapshot{
		Providers: []model.ResolvedProvider{{Name: "idp", Provider: model.Provider{Claims: map[string]string{"team": "string", "level": "long"}}}},
		Roles:     []model.ResolvedRole{{Name: "customer", Includes: []string{"customer"}}},
		Services:  []model.ResolvedService{{Name: "orders"}, {Name: "web"}},
		Routes: []model.ResolvedRoute{
			{ID: orders, Service: "orders", Host: "shop", Path: "/orders/{id}", Methods: []string{"DELETE", "GET", "PUT"}, Allow: []model.ResolvedGrant{
				grant(5, model.Grant{Roles: []string{"customer"}, Methods: []string{"GET"}}),
			}},
			{ID: home, Service: "web", Host: "shop", Path: "/", Methods: []string{"GET"}, Allow: []model.ResolvedGrant{
				grant(9, model.Grant{Anyone: true}),
			}},
		},
		Policies: []model.PolicyFile{{Name: "p.cedar", Text: `
@id("mine") permit (principal is User, action == Action::"PUT", resource == Route::"` + orders + `")
when {
  context.params has id && context.params.id == principal.subject && context.host == "shop" && context.path like "/orders/*" &&
  context.ip.isInRange(ip("192.0.2.0/24")) && context has tls_version && context.tls_version == "1.3" &&
  context has workload && context.workload == "spiffe://shop/web" && context.hour == 9 &&
  context has acr && context.acr == "high" && principal.amr.contains("otp") && context has auth_age && context.auth_age == 60 &&
  principal.issuer == "https://idp" && principal.provider == "idp" && principal has client_id && principal.client_id == "app" &&
  principal.scopes.contains("s") && principal.claims has team && principal.claims.team == "t"
};
@id("blocked") forbid (principal, action, resource) when { context.ip.isInRange(ip("203.0.113.0/24")) };
@id("broken") permit (principal is User, action == Action::"GET", resource in Service::"orders")
when { principal.claims has level && principal.claims.level * 9223372036854775807 > 0 };
`}},
	}
}

func request(method, route string, user *proxy.User) *proxy.Request {
	return &proxy.Request{
		Method: method, Host: "shop", Path: "/orders/7", Client: netip.MustParseAddr("192.0.2.1"),
		Received: time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC), TLS: proxy.TLS{Version: "1.3"},
		Route: &proxy.Route{ID: route}, Params: []proxy.Param{{Name: "id", Value: "7"}}, User: user,
		Trail: []event.Stage{{Name: event.StageAuthorise}},
	}
}

func customer() *proxy.User {
	return &proxy.User{Provider: "idp", Issuer: "https://idp", Subject: "7", Roles: []string{"customer"}}
}

// full is a user for which every attribute that "mine" asks for is as it should be.
func full() *proxy.User {
	u := customer()
	u.Scopes, u.Claims, u.ClientID, u.ACR, u.AMR = []string{"s"}, map[string]any{"team": "t"}, "app", "high", []string{"otp"}
	u.AuthTime = time.Date(2026, 7, 1, 8, 59, 0, 0, time.UTC)
	return u
}

func TestFilter(t *testing.T) {
	set, findings := policy.Compile(snapshot())
	if set == nil {
		t.Fatal(findings)
	}
	f := New(set, `shop "1"`)
	broken := customer()
	broken.Claims = map[string]any{"level": int64(3)}
	tests := []struct {
		name   string
		req    *proxy.Request
		edit   func(*proxy.Request)
		status int    // 0: passes
		code   string // of the first reason
		policy string
		place  string
	}{
		{"anyone", request("GET", home, nil), nil, 0, "permit", "grant:" + home + "#0", "palisade.yaml:9:9"},
		{"role", request("GET", orders, customer()), nil, 0, "permit", "grant:" + orders + "#0", "palisade.yaml:5:9"},
		{"nobody where a user may", request("GET", orders, nil), nil, 401, "no-permit", "", ""},
		{"nobody where nobody may", request("DELETE", orders, nil), nil, 403, "no-permit", "", ""},
		{"user without role", request("GET", orders, &proxy.User{Provider: "idp", Subject: "x"}), nil, 403, "no-permit", "", ""},
		{"nobody, forbidden to all", request("GET", orders, nil), func(r *proxy.Request) { r.Client = netip.MustParseAddr("203.0.113.5") }, 403, "forbid", "blocked", "p.cedar:11:1"},
		{"user, forbidden to all", request("GET", orders, customer()), func(r *proxy.Request) { r.Client = netip.MustParseAddr("203.0.113.5") }, 403, "forbid", "blocked", "p.cedar:11:1"},
		{"policy error", request("GET", orders, broken), nil, 403, "policy-error", "broken", "p.cedar:12:1"},
		{"no address", request("GET", home, nil), func(r *proxy.Request) { r.Client = netip.Addr{} }, 403, "policy-error", "blocked", "p.cedar:11:1"},
		{"everything mapped", request("PUT", orders, full()), func(r *proxy.Request) { r.Workload = &proxy.Workload{SPIFFEID: "spiffe://shop/web"} }, 0, "permit", "mine", "p.cedar:2:1"},
		{"no workload", request("PUT", orders, full()), nil, 403, "no-permit", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.edit != nil {
				tt.edit(tt.req)
			}
			err := f.Filter(t.Context(), tt.req)
			reasons := tt.req.Trail[0].Reasons
			if tt.status == 0 && err != nil {
				t.Fatalf("refused: %v", err)
			}
			if tt.status != 0 {
				var denial *proxy.Denial
				if !errors.As(err, &denial) {
					t.Fatalf("got %v, want a denial", err)
				}
				if len(reasons) != 0 {
					t.Errorf("a denial's reasons are noted twice: %v", reasons)
				}
				reasons = denial.Reasons
				challenge := denial.Header.Get("WWW-Authenticate")
				if denial.Kind.Status != tt.status || (challenge != "") != (tt.status == 401) || denial.Detail == "" {
					t.Errorf("got %d, challenge %q, detail %q", denial.Kind.Status, challenge, denial.Detail)
				}
				if challenge != "" && challenge != `Bearer realm="shop \"1\""` {
					t.Errorf("got challenge %s", challenge)
				}
			}
			if len(reasons) != 1 || reasons[0].Code != tt.code || reasons[0].Policy != tt.policy || reasons[0].Position != tt.place {
				t.Errorf("got reasons %+v", reasons)
			}
		})
	}
}

func TestCannotDecide(t *testing.T) {
	set, _ := policy.Compile(snapshot())
	f := New(set, "shop")
	for name, r := range map[string]*proxy.Request{
		"no route":       {Method: "GET"},
		"unknown route":  request("GET", "nowhere", nil),
		"unknown method": request("BREW", home, nil),
	} {
		err := f.Filter(t.Context(), r)
		var denial *proxy.Denial
		if err == nil || errors.As(err, &denial) {
			t.Errorf("%s: got %v, want an error that is no denial", name, err)
		}
	}
}

func TestQueryWithoutRoute(t *testing.T) {
	if q := Query(&proxy.Request{Method: "GET"}); q.Route != "" || q.User != nil || q.Method != "GET" {
		t.Errorf("got %+v", q)
	}
}

func BenchmarkFilter(b *testing.B) {
	set, _ := policy.Compile(snapshot())
	f := New(set, "shop")
	ctx := b.Context()
	for _, tt := range []struct {
		name string
		req  *proxy.Request
	}{{"conditions", request("GET", orders, customer())}, {"anyone", request("GET", home, nil)}, {"denied", request("DELETE", orders, customer())}} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tt.req.Trail[0].Reasons = nil
				_ = f.Filter(ctx, tt.req)
			}
		})
	}
	granted := snapshot()
	granted.Policies = nil
	set, _ = policy.Compile(granted)
	f = New(set, "shop")
	b.Run("role", func(b *testing.B) {
		r := request("GET", orders, customer())
		b.ReportAllocs()
		for b.Loop() {
			r.Trail[0].Reasons = nil
			if err := f.Filter(ctx, r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// mesh is a fleet in which web may call orders, and charge for customers alone.
func mesh(t testing.TB) *policy.Set {
	t.Helper()
	grant := func(g model.Grant) []model.ResolvedGrant { return []model.ResolvedGrant{{Grant: g}} }
	web := []string{"spiffe://shop/service/web"}
	set, findings := policy.Compile(&model.Snapshot{
		TrustDomain: "shop", Mesh: &model.ResolvedMesh{}, Self: "spiffe://shop/service/orders",
		Roles:    []model.ResolvedRole{{Name: "customer", Includes: []string{"customer"}}},
		Services: []model.ResolvedService{{Name: "orders", ID: "spiffe://shop/service/orders"}},
		Routes: []model.ResolvedRoute{
			{ID: "mesh:orders:/list", Service: "orders", Host: "orders", Path: "/list", Methods: []string{"GET"}, Callers: web, Allow: grant(model.Grant{Anyone: true})},
			{ID: "mesh:orders:/charge", Service: "orders", Host: "orders", Path: "/charge", Methods: []string{"POST"}, Callers: web, Allow: grant(model.Grant{Roles: []string{"customer"}})},
			{ID: "orders shop/", Service: "orders", Host: "shop", Path: "/", Methods: []string{"GET"}, Callers: []string{"spiffe://shop/edge/edge"}, Allow: grant(model.Grant{Roles: []string{"customer"}})},
		},
	})
	if set == nil {
		t.Fatal(findings)
	}
	return set
}

// between is a request of a workload.
func between(workload, method, route string, user *proxy.User) *proxy.Request {
	r := request(method, route, user)
	if workload != "" {
		r.Workload = &proxy.Workload{SPIFFEID: "spiffe://shop/" + workload}
	}
	return r
}

func TestBetweenServices(t *testing.T) {
	f := New(mesh(t), "shop")
	const undeclared, needsUser = "This call is not declared.", "This needs an end user: hand on the Txn-Token field of the request that you serve."
	for name, tt := range map[string]struct {
		req      *proxy.Request
		status   int // 0: passes
		detail   string
		declared bool // that the caller may ask, whoever the user is
	}{
		"declared":             {between("service/web", "GET", "mesh:orders:/list", nil), 0, "", true},
		"undeclared":           {between("service/catalog", "GET", "mesh:orders:/list", customer()), 403, undeclared, false},
		"no identity":          {between("", "GET", "mesh:orders:/list", customer()), 403, undeclared, false},
		"for a user":           {between("service/web", "POST", "mesh:orders:/charge", customer()), 0, "", true},
		"for nobody":           {between("service/web", "POST", "mesh:orders:/charge", nil), 403, needsUser, true},
		"for a wrong user":     {between("service/web", "POST", "mesh:orders:/charge", &proxy.User{Provider: "idp", Subject: "x"}), 403, "No policy permits this.", true},
		"edge":                 {between("edge/edge", "GET", "orders shop/", customer()), 0, "", true},
		"edge for nobody":      {between("edge/edge", "GET", "orders shop/", nil), 401, "Sign in and send an access token.", true},
		"service for the edge": {between("service/web", "GET", "orders shop/", customer()), 403, undeclared, false},
	} {
		t.Run(name, func(t *testing.T) {
			denial, _ := errors.AsType[*proxy.Denial](f.Filter(t.Context(), tt.req))
			switch {
			case (denial == nil) != (tt.status == 0):
				t.Fatalf("got %+v", denial)
			case denial != nil && (denial.Kind.Status != tt.status || denial.Detail != tt.detail || (denial.Header.Get("WWW-Authenticate") != "") != (tt.status == 401)):
				t.Errorf("got %d, %q, %v", denial.Kind.Status, denial.Detail, denial.Header)
			}
			if tt.detail == undeclared && (denial.Reasons[0].Code != policy.CodeUndeclared || denial.Reasons[0].Data["declared"] == "") {
				t.Errorf("got %+v", denial.Reasons)
			}
			denial, _ = errors.AsType[*proxy.Denial](f.Callers().Filter(t.Context(), tt.req))
			if (denial == nil) != tt.declared {
				t.Errorf("the caller by itself: %+v", denial)
			}
		})
	}
	for name, r := range map[string]*proxy.Request{"no route": {Method: "GET"}, "unknown route": request("GET", "nowhere", nil)} {
		if _, ok := errors.AsType[*proxy.Denial](f.Callers().Filter(t.Context(), r)); ok || f.Callers().Filter(t.Context(), r) == nil {
			t.Errorf("%s is decided", name)
		}
	}
}

// BenchmarkBetween is the common decision of a sidecar: a declared caller.
func BenchmarkBetween(b *testing.B) {
	f := New(mesh(b), "shop")
	r := between("service/web", "GET", "mesh:orders:/list", nil)
	b.ReportAllocs()
	for b.Loop() {
		r.Trail[0].Reasons = nil
		if err := f.Filter(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}
