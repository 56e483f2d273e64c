package gate_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/gate"
	"github.com/palisade-security/palisade/proxy/route"
)

const fleet = `version: 1
fleet: small
trust_domain: small.example
edge:
  listeners:
    open: {address: "127.0.0.1:8443", tls: {local: true}}
  limits: [{per: address, rate: 10/1s}]
providers:
  dev: {development: true}
roles:
  customer: {}
policies: [policies]
services:
  shop:
    address: http://127.0.0.1:9001
    api: shop.yaml
    limits: [{per: user, rate: 5/1s}]
    expose:
      - host: small.example
        path: /orders/{id}
        dry_run: [inspect, limit]
        allow: [{roles: [customer], methods: [GET]}]
      - {host: small.example, path: /bare, validate: {off: true}, waf: {mode: "off"}, allow: [{anyone: true, methods: [GET]}]}
  pay:
    address: h2c://127.0.0.1:9002
    upstream: {connections: 4}
    expose:
      - {host: pay.small.example, path: /Charge, allow: [{anyone: true, methods: [POST]}]}
`

const document = `openapi: 3.0.3
info: {title: shop, version: "1"}
paths:
  /orders/{id}:
    get:
      parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
      responses: {"200": {description: an order}}
`

const forbid = "@id(\"never\")\nforbid (principal, action, resource in Service::\"pay\");\n"

// nobody signs nobody in.
type nobody struct{}

func (nobody) ForRoute(model.ResolvedRoute) proxy.Filter {
	return proxy.FilterFunc(func(context.Context, *proxy.Request) error { return nil })
}

// compile loads the fleet with its files changed by pairs of old and new text.
func compile(t *testing.T, pairs ...string) *model.Snapshot {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "policies"), 0o750); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"palisade.yaml": fleet, "shop.yaml": document, "policies/never.cedar": forbid} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.NewReplacer(pairs...).Replace(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, findings, err := model.Load(dir)
	if err != nil || model.HasErrors(findings) {
		t.Fatalf("loading: %v %v", err, findings)
	}
	snap, findings := d.Compile(model.Options{Development: true, Getenv: os.LookupEnv})
	if snap == nil {
		t.Fatalf("compiling: %v", findings)
	}
	return snap
}

func build(t *testing.T, b *gate.Builder, snap *model.Snapshot) *gate.Gate {
	t.Helper()
	g, findings, err := b.Build(t.Context(), snap, nobody{})
	if err != nil {
		t.Fatalf("building: %v %v", err, findings)
	}
	return g
}

func newBuilder(t *testing.T) *gate.Builder {
	t.Helper()
	b, err := gate.NewBuilder()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// match finds a compiled route.
func match(t *testing.T, g *gate.Gate, host, method string, segments ...string) *engine.Route {
	t.Helper()
	m := g.Table.Matcher.Match(host, method, segments, nil)
	if m.Outcome != route.Found {
		t.Fatalf("no route for %s %s%v: %v", method, host, segments, m.Outcome)
	}
	return m.Value
}

func stages(r *engine.Route) string {
	var out []string
	for _, s := range r.Steps {
		name := s.Stage
		if s.DryRun {
			name += "~"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

// TestPipeline: every route gets its stages in the order of the house, and dry run only where declared.
func TestPipeline(t *testing.T) {
	g := build(t, newBuilder(t), compile(t))
	for _, c := range []struct{ host, method, path, want string }{
		{"small.example", "GET", "orders/1", "limit-address~ authenticate limit-principal~ authorise inspect~ validate"},
		{"small.example", "GET", "bare", "limit-address authenticate limit-principal authorise"},
		{"pay.small.example", "POST", "Charge", "limit-address authenticate authorise inspect"},
	} {
		if got := stages(match(t, g, c.host, c.method, strings.Split(c.path, "/")...)); got != c.want {
			t.Errorf("%s /%s: %s, want %s", c.method, c.path, got, c.want)
		}
	}
	if got := strings.Join(g.Table.Hosts, " "); got != "pay.small.example small.example" {
		t.Errorf("hosts %s", got)
	}
	if got := g.Table.HSTS["open"]; got != "" {
		t.Errorf("HSTS with local certificates: %s", got)
	}
}

// TestKeptServices: connections outlive a change that does not concern them, and no other.
func TestKeptServices(t *testing.T) {
	b := newBuilder(t)
	first := build(t, b, compile(t))
	b.Applied()
	again := build(t, b, compile(t, "rate: 10/1s", "rate: 11/1s"))
	b.Applied()
	shop := func(g *gate.Gate) *engine.Service { return match(t, g, "small.example", "GET", "bare").Service }
	pay := func(g *gate.Gate) *engine.Service { return match(t, g, "pay.small.example", "POST", "Charge").Service }
	if shop(first) != shop(again) || pay(first) != pay(again) {
		t.Error("a new limit made new connections")
	}
	if shop(again) != match(t, again, "small.example", "GET", "orders", "1").Service {
		t.Error("two routes of a service do not share connections")
	}
	other := build(t, b, compile(t, "connections: 4", "connections: 5"))
	if shop(again) != shop(other) || pay(again) == pay(other) {
		t.Error("changed connections of one service: kept or renewed the wrong ones")
	}
	// That build is not applied: a refused snapshot takes nothing away.
	if last := build(t, b, compile(t)); pay(last) != pay(again) {
		t.Error("a build that was not applied took connections away")
	}
}

// TestFindings: mistakes in policies, documents and exclusions come back together, each with its place.
func TestFindings(t *testing.T) {
	snap := compile(t,
		"resource in Service::\"pay\"", "resource in Service::\"pya\"",
		"type: integer", "type: whole",
		"waf: {mode: \"off\"}", "waf: {exclude: [{rule: 1234567, reason: test}]}")
	_, findings, err := newBuilder(t).Build(t.Context(), snap, nobody{})
	if !errors.Is(err, gate.ErrFindings) {
		t.Fatalf("error %v, findings %v", err, findings)
	}
	for _, file := range []string{"never.cedar", "shop.yaml", "palisade.yaml"} {
		found := false
		for _, f := range findings {
			found = found || filepath.Base(f.Position.File) == file && f.Position.Line > 0
		}
		if !found {
			t.Errorf("nothing found in %s: %v", file, findings)
		}
	}
}

// TestHSTS: a listener with certificates of its own promises a year of https unless told otherwise.
func TestHSTS(t *testing.T) {
	snap := compile(t)
	for _, c := range []struct {
		name string
		with model.HSTS
		want string
	}{
		{"off", model.HSTS{Off: true}, ""},
		{"age", model.HSTS{MaxAge: model.Duration(3600e9)}, "max-age=3600"},
		{"all", model.HSTS{MaxAge: model.Duration(3600e9), IncludeSubdomains: true, Preload: true}, "max-age=3600; includeSubDomains; preload"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := snap.Edge.Listeners["open"]
			l.TLS, l.HSTS = model.TLS{Certificates: []model.Certificate{certificate(t, t.TempDir())}}, c.with
			snap.Edge.Listeners["open"] = l
			if got := build(t, newBuilder(t), snap).Table.HSTS["open"]; got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
