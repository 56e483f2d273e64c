package replay_test

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/replay"
)

const fleet = `version: 1
fleet: shop
trust_domain: shop.example
mesh: {}
edge: {listeners: {public: {address: "127.0.0.1:8443", tls: {local: true}}}}
providers:
  id: {issuer: https://id.example, audience: [shop], jwks_url: https://id.example/keys, claims: {tenant: string}}
roles:
  customer: {}
policies: [only.cedar]
services:
  web:
    address: http://127.0.0.1:9101
    egress: [{host: api.example, port: 443, protocol: tls}, {host: db.example, port: 5432, protocol: tcp}]
    expose:
      - {host: shop.example, path: "/orders/{id}", allow: [{roles: [customer], methods: [GET]}]}
      - {host: shop.example, path: /live, upgrade: [websocket], body: 1KiB, allow: [{anyone: true, methods: [GET, POST]}]}
  db:
    address: tcp://127.0.0.1:5432
    callers: [web]
`

const tenants = `forbid (principal is User, action, resource) unless { principal.claims has tenant && principal.claims.tenant == "blue" };`

func compile(t *testing.T) *replay.Replay {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"palisade.yaml": fleet, "only.cedar": tenants} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, findings, err := model.Load(dir)
	if err != nil || model.HasErrors(findings) {
		t.Fatal(err, findings)
	}
	snap, findings := d.Compile(model.Options{Elsewhere: true})
	if model.HasErrors(findings) {
		t.Fatal(findings)
	}
	r, findings, err := replay.New(t.Context(), snap)
	if err != nil {
		t.Fatal(err, findings)
	}
	return r
}

var at = time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC)

// request is one that was let pass, for a user with a tenant.
func request(change func(*event.Event)) *event.Event {
	e := &event.Event{
		Time: at, ID: "id", Method: "GET", Scheme: "https", Host: "shop.example", Path: "/orders/7", Proto: "HTTP/2.0", Client: "203.0.113.7",
		TLSVersion: "1.3", TLSServer: "shop.example", Route: "web shop.example/orders/{id}", Service: "web", Template: "/orders/{id}", Allowed: true, Status: 200,
		User: &event.User{
			Provider: "id", Issuer: "https://id.example", Subject: "user-1", Roles: []string{"customer"},
			Attributes: &event.Attributes{Claims: []event.Claim{{Name: "tenant", Value: "blue"}}},
		},
	}
	for _, stage := range []string{event.StageCanonicalise, event.StageRoute, event.StageAuthenticate, event.StageAuthorise} {
		e.Trail = append(e.Trail, event.Stage{Name: stage, Outcome: event.OutcomePass})
	}
	change(e)
	return e
}

// refused is a request that a stage refused.
func refused(stage, code string, change func(*event.Event)) *event.Event {
	return request(func(e *event.Event) {
		e.Allowed, e.Status, e.Problem, e.User = false, 403, "forbidden", nil
		i := slices.IndexFunc(e.Trail, func(s event.Stage) bool { return s.Name == stage })
		e.Trail = e.Trail[:i+1]
		e.Trail[i].Outcome, e.Trail[i].Reasons = event.OutcomeDeny, []event.Reason{{Code: code}}
		change(e)
	})
}

func claims(a *event.Attributes) func(*event.Event) {
	return func(e *event.Event) { e.User.Attributes = a }
}

// connection is one of web that was decided.
func connection(side event.Side, protocol, host, service string, allowed bool) *event.Event {
	e := &event.Event{
		Time: at, ID: "id", Host: host, Service: service, Workload: "spiffe://shop.example/service/web", Allowed: allowed,
		Connection: &event.Connection{Side: side, Protocol: protocol},
		Trail:      []event.Stage{{Name: event.StageAuthorise, Outcome: event.OutcomePass}},
	}
	if !allowed {
		e.Trail[0].Outcome, e.Trail[0].Reasons, e.Problem = event.OutcomeDeny, []event.Reason{{Code: "call-not-declared"}}, "forbidden"
	}
	return e
}

func TestDecide(t *testing.T) {
	r := compile(t)
	same := func(*event.Event) {}
	for name, c := range map[string]struct {
		e       *event.Event
		allowed bool
		code    string
		unknown string
		kept    string
	}{
		"as it was":         {e: request(same), allowed: true, code: "permit"},
		"another tenant":    {e: request(claims(&event.Attributes{Claims: []event.Claim{{Name: "tenant", Value: "red"}}})), code: "forbid"},
		"no tenant":         {e: request(claims(&event.Attributes{Claims: []event.Claim{{Name: "tenant"}}})), code: "forbid"},
		"tenant unread":     {e: request(claims(&event.Attributes{})), unknown: "claim tenant: no policy read it then"},
		"tenant redacted":   {e: request(claims(&event.Attributes{Claims: []event.Claim{{Name: "tenant", Value: event.Redacted}}})), unknown: "claim tenant: redacted"},
		"tenant too long":   {e: request(claims(&event.Attributes{Cut: []string{"claims.tenant"}})), unknown: "claim tenant: too long to be recorded"},
		"an older version":  {e: request(claims(nil)), unknown: "attributes of users: recorded by a version that did not keep them"},
		"role is gone":      {e: request(func(e *event.Event) { e.User.Roles = []string{"clerk"} }), code: "no-permit"},
		"provider is gone":  {e: request(func(e *event.Event) { e.User.Provider = "other" }), code: "wrong-issuer"},
		"path redacted":     {e: request(func(e *event.Event) { e.Path = "/orders/" + event.Redacted }), unknown: "path: redacted"},
		"no such route":     {e: request(func(e *event.Event) { e.Path = "/gone" }), code: "no-route"},
		"no token":          {e: refused(event.StageAuthenticate, "no-token", same), code: "no-token"},
		"no token needed":   {e: refused(event.StageAuthenticate, "no-token", func(e *event.Event) { e.Path = "/live" }), allowed: true, code: "permit"},
		"bad token":         {e: refused(event.StageAuthenticate, "bad-signature", func(e *event.Event) { e.Path = "/live" }), code: "bad-signature"},
		"never asked who":   {e: refused(event.StageRoute, "no-route", same), unknown: "user: the request was refused before anybody looked at who asked"},
		"ambiguous":         {e: refused(event.StageCanonicalise, "path-dots", same), code: "path-dots", kept: "refused by canonicalise"},
		"too large then":    {e: refused(event.StageRoute, "body-too-large", same), code: "body-too-large", kept: "refused for the size of its body"},
		"too large now":     {e: request(func(e *event.Event) { e.Method, e.Path, e.BytesIn = "POST", "/live", 2000 }), code: "body-too-large"},
		"upgrade":           {e: request(func(e *event.Event) { e.Path, e.Proto, e.Status = "/live", "HTTP/1.1", 101 }), allowed: true, code: "permit", unknown: ""},
		"upgrade elsewhere": {e: request(func(e *event.Event) { e.Proto, e.Status = "HTTP/1.1", 101 }), code: "upgrade-not-declared"},
		"preflight":         {e: request(func(e *event.Event) { e.Route = "" }), allowed: true, code: "", kept: "answered by the gateway itself"},
		"service is gone":   {e: request(func(e *event.Event) { e.Side, e.Listener = event.SideInbound, "old/inbound" }), code: "service-not-declared"},

		"connection":          {e: connection(event.SideInbound, "tcp", "db:5432", "db", true), allowed: true, code: "declared-caller"},
		"connection declared": {e: connection(event.SideOutbound, "tcp", "db:5432", "db", false), allowed: true, code: "declared-caller"},
		"connection denied":   {e: connection(event.SideInbound, "tcp", "web:80", "web", true), code: "call-not-declared"},
		"callee is gone":      {e: connection(event.SideOutbound, "tcp", "x:1", "x", true), code: "service-not-declared"},
		"outside":             {e: connection(event.SideEgress, "tls", "api.example:443", "", true), allowed: true, code: "declared-host"},
		"outside denied":      {e: connection(event.SideEgress, "tls", "evil.example:443", "", true), code: "call-not-declared"},
		"outside by address":  {e: connection(event.SideEgress, "tcp", "192.0.2.1:5432", "", false), unknown: "host: an address, and not whose it was"},
		"outside unread":      {e: connection(event.SideEgress, "tcp", "192.0.2.1:443", "", false), unknown: "host: the client may have named it in what nobody read then"},
		"outside port":        {e: connection(event.SideEgress, "tcp", "192.0.2.1:25", "", false), code: "call-not-declared"},
	} {
		o, err := r.Decide(t.Context(), c.e)
		if err != nil || o.Unknown != c.unknown || o.Kept != c.kept || c.unknown == "" && (o.Now.Allowed != c.allowed || o.Now.Code != c.code) {
			t.Errorf("%s: %v, %+v", name, err, o)
		}
	}
}

// TestReport holds that what is counted adds up, whatever the order and the number of workers.
func TestReport(t *testing.T) {
	r := compile(t)
	var events []*event.Event
	for i := range 2000 {
		e := request(func(e *event.Event) { e.ID, e.Time = fmt.Sprintf("%04d", i), at.Add(time.Duration(i)*time.Second) })
		switch i % 10 {
		case 1, 2, 3:
			e.User.Attributes.Claims[0].Value = "red"
		case 4:
			e.User.Attributes = nil
		case 5:
			e.Path = "/gone"
		case 6:
			e.Act = &event.Act{}
		}
		events = append(events, e)
	}
	rep, err := r.Run(t.Context(), each(events))
	if err != nil {
		t.Fatal(err)
	}
	if rep.Records != 1800 || rep.Same != 800 || rep.Denied != 800 || rep.Allowed != 0 || rep.NotDecided() != 200 || !rep.Narrows() || len(rep.Changes) != 2 {
		t.Fatalf("got %+v", rep)
	}
	c := rep.Changes[0]
	if c.Count != 600 || fmt.Sprint(c.Samples) != "[0001 0002 0003]" || fmt.Sprint(c.Who.Claims) != "[tenant=red]" || c.Now.Code != "forbid" || c.Was.Code != "" {
		t.Errorf("got %+v", c)
	}
	if !rep.First.Equal(at) || !rep.Last.Equal(at.Add(1999*time.Second)) {
		t.Errorf("%v to %v", rep.First, rep.Last)
	}
	broken := errors.New("broken")
	if _, err := r.Run(t.Context(), func(yield func(*event.Event, error) bool) { yield(nil, broken) }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func each(events []*event.Event) iter.Seq2[*event.Event, error] {
	return func(yield func(*event.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}
