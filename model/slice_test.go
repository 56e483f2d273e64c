package model

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// meshModel unpacks the golden model of the mesh, changed by pairs of old and new text.
func meshModel(t *testing.T, changes ...string) *Snapshot {
	t.Helper()
	archive, err := txtar.ParseFile(meshGolden)
	if err != nil {
		t.Fatal(err)
	}
	text := string(archive.Files[0].Data)
	for i := 0; i < len(changes); i += 2 {
		changed := strings.Replace(text, changes[i], changes[i+1], 1)
		if changed == text {
			t.Fatalf("%q is not in the model", changes[i])
		}
		text = changed
	}
	archive.Files[0].Data = []byte(text)
	unpack(t, archive.Files, "")
	return compileHere(t)
}

var meshGolden, _ = filepath.Abs("testdata/compile/mesh.txtar") //nolint:gochecknoglobals // tests change the directory

func compileHere(t *testing.T) *Snapshot {
	t.Helper()
	d, _, err := Load(".")
	if err != nil {
		t.Fatal(err)
	}
	s, findings := d.Compile(Options{})
	if s == nil {
		t.Fatal(findings)
	}
	return s
}

// slicesOf cuts every slice of a snapshot, by name; the edge's is "edge".
func slicesOf(s *Snapshot) map[string]*Snapshot {
	c := NewSlicer(s)
	out := map[string]*Snapshot{"edge": c.Edge()}
	for i := range s.Services {
		out[s.Services[i].Name] = c.Service(s.Services[i].Name)
	}
	return out
}

// TestSlices holds the slice of every proxy of the golden mesh.
func TestSlices(t *testing.T) {
	dir, err := filepath.Abs("testdata/slice")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range slicesOf(meshModel(t)) {
		travels(t, s)
		text, err := json.MarshalIndent(s, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, append(text, '\n'), filepath.Join(dir, name+".json"))
	}
}

// TestSliceVersion changes one place of the model and names the proxies for which that is a change.
func TestSliceVersion(t *testing.T) {
	all := []string{"bus", "catalog", "db", "edge", "orders", "web"}
	before := slicesOf(meshModel(t))
	for name, c := range map[string]struct {
		changes []string
		want    []string
	}{
		"nothing":               {nil, nil},
		"lines move":            {[]string{"trust_domain:", "# a comment\n# of two lines\ntrust_domain:"}, nil},
		"a service more":        {[]string{"  bus:\n", "  extra: {address: \"http://127.0.0.1:7009\", callers: [catalog]}\n  bus:\n"}, []string{"catalog"}},
		"a caller more":         {[]string{"callers: [web]\n    limits", "callers: [web, orders]\n    limits"}, []string{"catalog", "orders"}},
		"a path for one caller": {[]string{"callers: [catalog], timeout: 5m", "callers: [catalog], timeout: 6m"}, []string{"catalog", "orders"}},
		"who the user must be":  {[]string{"users: [{roles: [customer, admin]", "users: [{roles: [admin]"}, []string{"orders"}},
		"what it reaches":       {[]string{"{host: pay.example.com}", "{host: pay2.example.com}"}, []string{"orders"}},
		"where it listens":      {[]string{"h2c://127.0.0.1:7002", "h2c://127.0.0.1:7012"}, []string{"catalog", "web"}},
		"where its sidecar is":  {[]string{"10.0.0.6:9443", "10.0.0.7:9443"}, []string{"catalog", "web"}},
		"subjects":              {[]string{"payments.*", "payments.>"}, []string{"bus", "orders"}},
		"what may be it":        {[]string{"path: /usr/bin/web", "path: /usr/local/bin/web"}, []string{"web"}},
		"how control signs":     {[]string{"hashivault://palisade", "hashivault://other"}, nil},
		"another trust domain":  {[]string{"partner.example/bundle", "partner.example/bundle2"}, nil},
		"what the edge checks":  {[]string{"waf: {mode: detect}", "waf: {mode: block}"}, []string{"edge"}},
		"a grant at the edge":   {[]string{"{roles: [customer], methods: [GET]}", "{roles: [admin], methods: [GET]}"}, []string{"edge", "orders"}},
		"a role of nobody here": {[]string{"courier: {}", "courier: {includes: [customer]}"}, []string{"edge", "orders"}},
		"a role of nobody":      {[]string{"courier: {}", "courier: {}\n  driver: {includes: [courier]}"}, []string{"edge"}},
		"lives of identities":   {[]string{"lifetime: 30m", "lifetime: 20m"}, all},
		"a bound of bodies":     {[]string{"edge:\n", "edge:\n  timeouts: {body: 3s}\n"}, all},
	} {
		t.Run(name, func(t *testing.T) {
			after := slicesOf(meshModel(t, c.changes...))
			var got []string
			for _, proxy := range sortedKeys(after) {
				if b := before[proxy]; b == nil && proxy != "extra" || b != nil && b.Version != after[proxy].Version {
					got = append(got, proxy)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("changed %q, want %q", got, c.want)
			}
		})
	}
}

// TestSlicePolicies shows that policies and what they may name go with every slice that decides about requests.
func TestSlicePolicies(t *testing.T) {
	change := []string{"waf: {paranoia: 2}", "policies: [p.cedar]\nwaf: {paranoia: 2}"}
	with := func(text string) map[string]*Snapshot {
		archive, err := txtar.ParseFile(meshGolden)
		if err != nil {
			t.Fatal(err)
		}
		archive.Files[0].Data = []byte(strings.Replace(string(archive.Files[0].Data), change[0], change[1], 1))
		unpack(t, append(archive.Files, txtar.File{Name: "p.cedar", Data: []byte(text)}), "")
		return slicesOf(compileHere(t))
	}
	before, after := with("permit (principal, action, resource);"), with("forbid (principal, action, resource);")
	for name, s := range after {
		changed := before[name].Version != s.Version
		if decides := len(s.Routes) > 0; changed != decides || (len(s.Policies) == 1) != decides || (len(s.Roles) == 3) != decides {
			t.Errorf("%s: changed %t, %d policies, %d roles", name, changed, len(s.Policies), len(s.Roles))
		}
		if name != "edge" && len(s.Policies) > 0 && (len(s.Providers) != 1 || s.Providers[0].Issuer != "" || s.Providers[0].Claims["tenant"] != "string") {
			t.Errorf("%s: providers %+v", name, s.Providers)
		}
	}
}

// TestSliceOfAnotherFolder shows that a slice is the same wherever the model lies and after a way as text.
func TestSliceOfAnotherFolder(t *testing.T) {
	first := meshModel(t)
	second := meshModel(t)
	text, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	var back Snapshot
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	for name, s := range slicesOf(first) {
		if v := slicesOf(second)[name].Version; v != s.Version {
			t.Errorf("%s: version %s in another folder, want %s", name, v, s.Version)
		}
		if v := slicesOf(&back)[name].Version; v != s.Version {
			t.Errorf("%s: version %s after a way as text, want %s", name, v, s.Version)
		}
	}
	if got, want := first.ForService("orders"), slicesOf(first)["orders"]; !reflect.DeepEqual(got, want) {
		t.Error("ForService and the Slicer disagree")
	}
	if got, want := first.ForEdge(), slicesOf(first)["edge"]; !reflect.DeepEqual(got, want) {
		t.Error("ForEdge and the Slicer disagree")
	}
	if first.ForService("nobody") != nil || shopSlice(t) != nil {
		t.Error("a slice of nothing")
	}
}

// shopSlice asks for a service's slice in a fleet without a mesh.
func shopSlice(t *testing.T) *Snapshot {
	t.Helper()
	unpack(t, []txtar.File{{Name: "palisade.yaml", Data: []byte(`
version: 1
fleet: shop
trust_domain: shop.example
edge: {listeners: {main: {address: "127.0.0.1:8443", tls: {local: true}}}}
services:
  a: {address: "http://127.0.0.1:1", callers: [b]}
  b: {address: "http://127.0.0.1:2", expose: [{host: b.localhost, path: /, allow: [{anyone: true}]}]}
`)}}, "")
	s := compileHere(t)
	if e := s.ForEdge(); len(e.Services) != 1 || e.Services[0].Name != "b" || len(e.Routes) != 1 || e.Mesh != nil {
		t.Errorf("the edge's slice is %+v", e)
	}
	return s.ForService("a")
}

// BenchmarkSlices cuts every slice of fleets of several sizes, each service with four callers. The time per
// service must not grow with the fleet.
func BenchmarkSlices(b *testing.B) {
	for _, n := range []int{100, 1000, 3000} {
		var text strings.Builder
		text.WriteString("version: 1\nfleet: big\ntrust_domain: big.example\nmesh: {}\n" +
			"edge: {listeners: {main: {address: \"127.0.0.1:8443\", tls: {local: true}}}}\nservices:\n")
		var files []string
		dir := b.TempDir()
		flush := func() {
			name := filepath.Join(dir, fmt.Sprintf("%d.yaml", len(files)))
			if err := os.WriteFile(name, []byte(text.String()), 0o600); err != nil {
				b.Fatal(err)
			}
			files = append(files, name)
			text.Reset()
			text.WriteString("services:\n")
		}
		for i := range n {
			if i%500 == 499 {
				flush()
			}
			fmt.Fprintf(&text, "  s%d:\n    address: http://10.0.%d.%d:80\n    callers: [s%d, s%d, s%d, s%d]\n    workloads: [{unix: {path: /usr/bin/s%d}}]\n",
				i, i/250, i%250, (i+1)%n, (i+2)%n, (i+3)%n, (i+4)%n, i)
		}
		flush()
		d, _, err := Load(files...)
		if err != nil {
			b.Fatal(err)
		}
		s, findings := d.Compile(Options{})
		if s == nil {
			b.Fatal(findings[:1])
		}
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				slicesOf(s)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "µs/slice")
		})
	}
}

// TestSliceKinds makes sure that a version sees every kind of value that a snapshot is made of.
func TestSliceKinds(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var visit func(reflect.Type)
	visit = func(at reflect.Type) {
		if seen[at] || at == reflect.TypeFor[Prefix]() {
			return
		}
		seen[at] = true
		switch at.Kind() {
		case reflect.Struct:
			for f := range at.Fields() {
				if !f.IsExported() {
					t.Errorf("%s.%s is not exported", at, f.Name)
				}
				visit(f.Type)
			}
		case reflect.Map:
			if at.Key().Kind() != reflect.String {
				t.Errorf("%s has keys other than text", at)
			}
			visit(at.Elem())
		case reflect.Pointer, reflect.Slice:
			visit(at.Elem())
		case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64, reflect.Uint8:
		default:
			t.Errorf("no version sees %s", at)
		}
	}
	visit(reflect.TypeFor[Snapshot]())
}

// TestSliceCallers holds that a slice tells of who may call what policies may ask about them, where there are policies.
func TestSliceCallers(t *testing.T) {
	s := meshModel(t, "    address: http://127.0.0.1:7001\n", "    address: http://127.0.0.1:7001\n    owner: team-web\n")
	if got := s.ForService("catalog").Callers; got != nil {
		t.Errorf("without policies: %+v", got)
	}
	s.Policies = []PolicyFile{{Name: "p.cedar"}}
	want := []Caller{{Name: "web", ID: "spiffe://shop.example/service/web", Owner: "team-web"}}
	if got := s.ForService("catalog").Callers; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if got := s.ForEdge().Callers; got != nil {
		t.Errorf("the edge is told of %+v", got)
	}
}
