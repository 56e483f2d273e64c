package policy

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/schema"

	"github.com/palisade-security/palisade/model"
)

func TestSchemaGolden(t *testing.T) {
	got := compiled(t, shop()).Schema()
	path := filepath.Join("testdata", "shop.cedarschema")
	if os.Getenv("GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("run with GOLDEN=1 if this is meant:\n%s", got)
	}
}

// TestSchemaAttributes holds the lists of attributes, the needs and what requests build to the schema.
func TestSchemaAttributes(t *testing.T) {
	s := compiled(t, shop())
	var text schema.Schema
	if err := text.UnmarshalCedar([]byte(s.Schema())); err != nil {
		t.Fatal(err)
	}
	resolved, err := text.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	full := ask(&User{
		Provider: "idp", Issuer: "i", Subject: "s", ClientID: "c", ACR: "a", AuthTime: noon,
		Claims: map[string]any{"team": "t", "level": int64(1), "staff": true, "regions": []string{"eu"}},
	}, "GET", orders)
	full.Workload = "spiffe://shop/web"
	context := full.context(needAll &^ needUser)
	for name := range resolved.Actions[cedar.NewEntityUID(typeAction, "GET")].AppliesTo.Context {
		if !slices.Contains(contextAttributes(), string(name)) {
			t.Errorf("context attribute %s is not listed", name)
		}
		if needOf(name) == 0 {
			t.Errorf("context attribute %s is never needed", name)
		}
		if one := full.context(needOf(name)); !one.Equal(cedar.NewRecord(cedar.RecordMap{name: must(context.Get(name))})) {
			t.Errorf("asked for %s, got %s", name, one)
		}
	}
	if context.Len() != len(contextAttributes()) {
		t.Errorf("%d attributes are listed, %d built", len(contextAttributes()), context.Len())
	}
	user := s.userEntity(userUID(full.User), full.User, needAll).Attributes
	for name := range resolved.Entities[typeUser].Shape {
		if _, ok := user.Get(name); !ok || needOf(name) == 0 || !slices.Contains(userAttributes(), string(name)) {
			t.Errorf("user attribute %s is not built, never needed or not listed", name)
		}
	}
	for name := range resolved.Entities[typeRoute].Shape {
		if _, ok := s.entities[routeUID(orders)].Attributes.Get(name); !ok || !slices.Contains(routeAttributes(), string(name)) {
			t.Errorf("route attribute %s is not built or not listed", name)
		}
	}
}

func must(v cedar.Value, ok bool) cedar.Value {
	if !ok {
		return cedar.Boolean(false)
	}
	return v
}

func TestSource(t *testing.T) {
	const first = "// why\n@id(\"first\")\npermit (principal, action, resource) when { \";\" == \";\" }; // because\n"
	const second = "forbid (principal is Anonymous, action, resource == Route::\"" + refunds + "\");"
	s := compiled(t, shop(first+second))
	tests := []struct{ id, text, position string }{
		{
			"grant:" + orders + "#0",
			"permit (\n  principal is User in Role::\"customer\",\n  action == Action::\"GET\",\n  resource == Route::\"" + orders + "\"\n);",
			"palisade.yaml:20:9",
		},
		{
			"grant:" + orders + "#1",
			"permit (\n  principal is User,\n  action == Action::\"PUT\",\n  resource == Route::\"" + orders + "\"\n)\n" +
				`when { principal in [Role::"support", Role::"admin"] && principal.scopes.containsAll(["orders:write"]) };`,
			"palisade.yaml:21:9",
		},
		{"first", "@id(\"first\")\npermit (principal, action, resource) when { \";\" == \";\" };", "policies/p0.cedar:2:1"},
		{"policies/p0.cedar#1", second, "policies/p0.cedar:4:1"},
	}
	for _, tt := range tests {
		if text, position, ok := s.Source(tt.id); !ok || text != tt.text || position != tt.position {
			t.Errorf("%s: got %v %q at %q", tt.id, ok, text, position)
		}
	}
	if _, _, ok := s.Source("nothing"); ok {
		t.Error("a policy that does not exist has a source")
	}
	if got := len(s.Policies()); got != 5 {
		t.Errorf("%d policies", got)
	}
}

// TestNamesAreQuoted shows that no name of the model can break out of the Cedar text made from it.
func TestNamesAreQuoted(t *testing.T) {
	const evil = `x", action, resource); permit (principal == User::"a`
	snap := shop()
	snap.Roles = append(snap.Roles, model.ResolvedRole{Name: evil, Includes: []string{evil}})
	snap.Providers[0].Claims[evil] = "string"
	snap.Routes[0].Path = "/{" + strings.ReplaceAll(evil, "/", "") + "}"
	snap.Routes[0].Allow = []model.ResolvedGrant{{Grant: model.Grant{Roles: []string{evil}, Scopes: []string{evil, "\x00\n"}}}}
	s := compiled(t, snap)
	if got := len(s.Policies()); got != 3 {
		t.Errorf("%d policies: %q", got, s.Policies())
	}
	who := user("u", evil)
	who.Scopes = []string{"\x00\n", evil}
	if d := s.Decide(ask(who, "GET", catalog)); !d.Allow {
		t.Errorf("denied: %+v", d)
	}
	if d := s.Decide(ask(user("a"), "GET", catalog)); d.Allow {
		t.Errorf("allowed: %+v", d)
	}
}

func TestConflictingClaims(t *testing.T) {
	snap := shop()
	snap.Providers = append(snap.Providers, model.ResolvedProvider{
		Name: "other", Provider: model.Provider{Claims: map[string]string{"team": "long"}},
	})
	s, findings := Compile(snap)
	want := `error claim-type : claim "team" is declared as long here and as string by provider "idp"; policies see one type`
	if s != nil || lines(findings) != want || findings[0].Key != "providers.other.claims.team" {
		t.Errorf("got %s", lines(findings))
	}
}

func TestConcurrentDecisions(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	s := someSet(t, r, 30)
	queries := make([]*Query, 50)
	for i := range queries {
		queries[i] = someQuery(r)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, q := range queries {
				allow, _, failed := plain(s, q)
				if d := s.Decide(q); d.Allow != (allow && len(failed) == 0) {
					t.Errorf("decided %v", d.Allow)
				}
			}
		})
	}
	wg.Wait()
}

// TestDecideDoesNotAllocate holds the common case, a grant by role, to the one allocation of the user's name.
func TestDecideDoesNotAllocate(t *testing.T) {
	s := compiled(t, shop())
	q := ask(user("c", "customer"), "GET", orders)
	if n := testing.AllocsPerRun(100, func() { s.Decide(q) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { s.Decide(ask(nil, "GET", catalog)) }); n > 2 {
		t.Errorf("%v allocations for anyone, two of them the question's own", n)
	}
}
