package topology

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/policy"
)

// declared draws a model from files.
func declared(t *testing.T, path string) *Map {
	t.Helper()
	m, _ := declaredWithPolicies(t, path)
	return m
}

func declaredWithPolicies(t *testing.T, path string) (*Map, *policy.Set) {
	t.Helper()
	d, findings, err := model.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	snap, more := d.Compile(model.Options{Development: true, Getenv: func(string) (string, bool) { return "x", true }})
	if snap == nil {
		t.Fatal(findings, more)
	}
	set, _ := policy.Compile(snap)
	return Declare(snap, &d.Fleet), set
}

func edges(m *Map) []string {
	var out []string
	for i := range m.Edges {
		e := &m.Edges[i]
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", e, e.Protocol, e.Encryption)))
	}
	return out
}

func TestShop(t *testing.T) {
	m := declared(t, filepath.FromSlash("../examples/shop"))
	want := []string{
		"(edge) -> catalog (call) http mtls",
		"(edge) -> orders (call) http mtls",
		"(edge) -> payments (call) h2c mtls",
		"(edge) -> web (call) http mtls",
		"orders -> catalog (call) http mtls",
		"orders -> payments (call) h2c mtls",
		"web -> catalog (call) http mtls",
	}
	if got := edges(m); !slices.Equal(got, want) {
		t.Errorf("edges\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if w := m.Weight(m.Node("orders")); w != 7 { // itself 1, personal and payment 3 each, for they redact
		t.Errorf("orders weighs %v", w)
	}
	b, err := m.Blast("orders")
	if err != nil {
		t.Fatal(err)
	}
	if b.Allowed.Total != 6 || b.Allowed.Direct != 6 || len(b.Allowed.Services) != 2 || b.Observed != nil { // catalog 1+1, payments 1+3
		t.Errorf("blast of orders: %+v", b)
	}
	if _, err := m.Blast("order"); err == nil || !strings.Contains(err.Error(), "catalog, orders, payments, web") {
		t.Errorf("blast of nothing: %v", err)
	}
	if a := m.Analyse(); a.Unused != nil || a.Privileges != nil {
		t.Errorf("without events nobody knows what is unused: %+v", a)
	}
}

// model writes a model into a folder of its own.
func written(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := writeFile(filepath.Join(dir, "palisade.yaml"), text); err != nil {
		t.Fatal(err)
	}
	return dir
}

const brokered = `version: 1
fleet: brokered
trust_domain: brokered.example
mesh: {}
edge: {listeners: {public: {address: 127.0.0.1:8443, tls: {local: true}}}}
providers: {dev: {development: true}}
roles: {guest: {}}
services:
  front:
    address: http://127.0.0.1:1
    run: {command: [x], env: {KEY: {from_env: SHARED}, OTHER: {from_env: OWN}}}
    expose: [{host: a.localhost, path: /, forward_token: true, allow: [{users: true}]}]
    publish: {queue: [orders.*.made, audit.>]}
  back:
    address: http://127.0.0.1:2
    run: {command: [x], env: {KEY: {from_env: SHARED}}, after: [other]}
    subscribe: {queue: [orders.eu.*]}
    egress: [{host: pay.example.com}, {host: log.example.com, protocol: http}]
  other:
    address: tcp://127.0.0.1:3
    callers: [back]
    subscribe: {queue: [orders.eu.made.late]}
  strict:
    address: http://127.0.0.1:4
    serve: [{path: /a, callers: [front, back], users: [{roles: [guest]}]}]
  shown:
    address: http://127.0.0.1:5
    expose: [{host: b.localhost, path: /, allow: [{anyone: true}]}]
  queue:
    address: tcp://127.0.0.1:4222
    broker: nats
    broker_keys: {from_file: keys}
`

func TestWhatTravels(t *testing.T) {
	dir := written(t, brokered)
	if err := writeFile(filepath.Join(dir, "keys"), "x"); err != nil {
		t.Fatal(err)
	}
	m := declared(t, dir)
	want := []string{
		"(edge) -> front (call) http mtls",
		"(edge) -> shown (call) http mtls",
		"back -> log.example.com:80 (egress) http plain",
		"back -> other (call) tcp mtls",
		"back -> pay.example.com:443 (egress) tls tls",
		"back -> queue (call) tcp mtls",
		"back -> strict (call) http mtls",
		"front -> back (message) nats mtls", // orders.*.made meets orders.eu.*; nothing of front meets what other wants
		"front -> queue (call) tcp mtls",
		"front -> strict (call) http mtls",
		"other -> queue (call) tcp mtls",
	}
	if got := edges(m); !slices.Equal(got, want) {
		t.Errorf("edges\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for name, tokens := range map[string]Tokens{"front": AccessTokens, "strict": Transactions, "back": NoTokens, "queue": Transactions} {
		if got := m.Node(name).Tokens; got != tokens {
			t.Errorf("%s sees tokens %q, want %q", name, got, tokens)
		}
	}
	for service, want := range map[string]string{
		"front": "back message+secret, queue identity, shown token, strict identity, other identity",
		"back":  "front secret, other identity, queue identity, shown token, strict identity",
		"other": "queue identity", // over the broker it says nothing to anybody
	} {
		b, err := m.Blast(service)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range b.Allowed.Services {
			by := ""
			for _, w := range r.By {
				by += "+" + string(w)
			}
			got = append(got, r.Name+" "+by[1:])
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("%s reaches %s, want %s", service, s, want)
		}
	}
}

func TestSubjectsMeet(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a.b", "a.b", true},
		{"a.b", "a.c", false},
		{"a.*", "a.c", true},
		{"a.*", "*.c", true},
		{"a.*", "a.b.c", false},
		{"a.>", "a.b.c", true},
		{"a.>", "a", false},
		{">", "a", true},
		{"a.*.c", "a.b.>", true},
		{"a.*.c", "b.>", false},
	} {
		if got := meet(c.a, c.b); got != c.want || meet(c.b, c.a) != c.want {
			t.Errorf("meet(%s, %s) = %v", c.a, c.b, got)
		}
	}
}
