package learn_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/learn"
	"github.com/palisade-security/palisade/model"
)

const fleet = `version: 1
fleet: shop
trust_domain: shop.example
mesh: {}
edge: {listeners: {public: {address: "127.0.0.1:8443", tls: {local: true}}}}
providers: {id: {issuer: https://id.example, audience: [shop], jwks_url: https://id.example/keys}}
roles: {customer: {}, clerk: {}, admin: {includes: [clerk]}}
services:
  web:
    address: http://127.0.0.1:1
    egress: [{host: a.example}, {host: b.example, port: 80, protocol: http}]
    expose:
      - {host: shop.example, path: /old, allow: [{anyone: true, methods: [GET]}]}
      - {host: shop.example, path: /a, allow: [{roles: [clerk, customer], methods: [GET, PUT]}, {users: true}]}
      - {host: shop.example, path: "/w/{id}", allow: [{anyone: true, methods: [GET]}]}
      - {host: shop.example, path: /w/x, allow: [{roles: [clerk], methods: [GET]}, {roles: [admin], methods: [PUT]}]}
  rates:
    address: http://127.0.0.1:2
    serve:
      - {path: /quote, methods: [POST], callers: [web, jobs]}
      - {path: /change, methods: [POST], callers: [jobs]}
  db: {address: "tcp://127.0.0.1:3", callers: [web, jobs, idle]}
  jobs: {address: "http://127.0.0.1:4", callers: [web]}
  idle: {address: "http://127.0.0.1:5", callers: [web]}
`

func load(t *testing.T) (*model.Snapshot, *model.Fleet) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "palisade.yaml")
	if err := os.WriteFile(path, []byte(fleet), 0o600); err != nil {
		t.Fatal(err)
	}
	d, findings, err := model.Load(path)
	if err != nil || model.HasErrors(findings) {
		t.Fatal(err, findings)
	}
	snap, findings := d.Compile(model.Options{Elsewhere: true})
	if model.HasErrors(findings) {
		t.Fatal(findings)
	}
	return snap, &d.Fleet
}

var start = time.Date(2026, 10, 1, 0, 30, 0, 0, time.UTC)

// edge is a request of a client at the edge.
func edge(at time.Time, route, method string, roles ...string) *event.Event {
	e := &event.Event{Time: at, ID: "id", Method: method, Host: "shop.example", Route: "web shop.example" + route, Service: "web", Allowed: true, Status: 200}
	if len(roles) > 0 {
		e.User = &event.User{Provider: "id", Subject: "u", Roles: roles}
	}
	return e
}

// call is a request between services, as the sidecar of the callee saw it.
func call(at time.Time, from, to, path string) *event.Event {
	return &event.Event{
		Time: at, ID: "id", Method: "POST", Side: event.SideInbound, Host: to, Route: "mesh:" + to + ":" + path, Service: to,
		Workload: "spiffe://shop.example/service/" + from, Allowed: true, Status: 200, TLSVersion: "1.3",
	}
}

func connection(at time.Time, side event.Side, host, service string) *event.Event {
	return &event.Event{
		Time: at, ID: "id", Host: host, Service: service, Workload: "spiffe://shop.example/service/web", Allowed: true, UpstreamTook: 1,
		Connection: &event.Connection{Side: side, Protocol: "tcp"},
	}
}

// month is four weeks and more of a fleet at work at every hour.
func month(v *learn.Evidence) (end time.Time) {
	at := start
	for range 30 * 24 {
		v.Event(edge(at, "/a", "GET", "customer"))
		v.Event(edge(at, "/w/{id}", "GET"))
		v.Event(edge(at, "/w/x", "GET", "admin", "clerk"))
		v.Event(call(at, "web", "rates", "/quote"))
		v.Event(call(at, "web", "jobs", "/**"))
		v.Event(connection(at, event.SideOutbound, "db:3", "db"))
		v.Event(connection(at, event.SideEgress, "a.example:443", ""))
		at = at.Add(time.Hour)
	}
	return at
}

func TestPropose(t *testing.T) {
	snap, declared := load(t)
	v := learn.New(snap, declared, start)
	v.Event(edge(start.Add(-48*time.Hour), "/old", "GET")) // before the time that counts
	v.Event(&event.Event{Time: start, Act: &event.Act{}})
	refused := call(start, "web", "idle", "/**")
	refused.Workload, refused.Allowed = "spiffe://shop.example/service/rates", false
	v.Event(refused)
	month(v)
	p := v.Propose(0.9)
	if p.Events != 30*24*7+1 || p.Hours != 168 || p.Days != 30 {
		t.Errorf("%d events, %d hours, %d days", p.Events, p.Hours, p.Days)
	}
	want := map[string]string{ // why it is not proposed; "": it is
		"services.web.expose[0]":                     "",
		"services.web.expose[1].allow[0].methods[1]": "",
		"services.web.expose[1].allow[0].roles[0]":   "",
		"services.web.expose[1].allow[1].methods":    "the grant names no methods: write methods: [GET]",
		"services.web.expose[3].allow[1]":            "web shop.example/w/{id} would take these requests of web shop.example/w/x: decide by hand",
		"services.web.egress[1]":                     "",
		"services.rates.serve[0].callers[1]":         "",
		"services.rates.serve[1]":                    "",
		"services.db.callers[1]":                     "",
		"services.db.callers[2]":                     "idle was not seen at work",
		"services.idle.callers[0]":                   "",
	}
	got := map[string]string{}
	for _, u := range p.Unseen {
		got[u.Key] = u.Why
		if u.Proposed != (u.Why == "") {
			t.Errorf("%+v", u)
		}
		if why, ok := want[u.Key]; !ok || why != u.Why {
			t.Errorf("%s is unseen: %q, want %q", u.Key, u.Why, why)
		}
	}
	for key := range want {
		if _, ok := got[key]; !ok {
			t.Errorf("%s is not among the unseen", key)
		}
	}
	i := slices.IndexFunc(p.Unseen, func(u learn.Unseen) bool { return u.Key == "services.web.expose[0]" })
	if i < 0 || !p.Unseen[i].Last.Equal(start.Add(-48*time.Hour)) || p.Unseen[i].Sure != 1 {
		t.Errorf("got %+v", p.Unseen)
	}
	if len(p.Attempts) != 1 || p.Attempts[0].From != "rates" || p.Attempts[0].To != "idle" {
		t.Errorf("tried: %+v", p.Attempts)
	}
}

// TestCoverage holds that time that was not watched makes nothing sure.
func TestCoverage(t *testing.T) {
	for _, c := range []struct {
		days, every int // hours
		least, most float64
	}{{0, 1, 0, 0}, {1, 1, 0.004, 0.006}, {7, 1, 0.24, 0.26}, {14, 1, 0.49, 0.51}, {30, 1, 1, 1}, {30, 24, 0.04, 0.05}, {400, 1, 1, 1}} {
		snap, declared := load(t)
		v := learn.New(snap, declared, time.Time{})
		for h := 0; h < c.days*24; h += c.every {
			v.Event(edge(start.Add(time.Duration(h)*time.Hour), "/a", "GET", "customer"))
		}
		p := v.Propose(0)
		i := slices.IndexFunc(p.Unseen, func(u learn.Unseen) bool { return u.Key == "services.web.expose[0]" })
		if sure := p.Unseen[i].Sure; sure < c.least || sure > c.most || p.Unseen[i].Proposed != (c.days > 0) {
			t.Errorf("%d days, every %d hours: %v", c.days, c.every, sure)
		}
	}
}
