package app

import (
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
)

func TestExplainConnection(t *testing.T) {
	e := &event.Event{
		Time: time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC), ID: "id-1", Client: "10.0.0.7", TLSVersion: "1.3",
		Workload: "spiffe://shop.example/service/web", Service: "db", Host: "db:5432", Problem: "forbidden", Took: time.Millisecond,
		Trail:      []event.Stage{{Name: event.StageAuthorise, Outcome: event.OutcomeDeny, Reasons: []event.Reason{{Code: "call-not-declared", Text: "web is not among the callers"}}}},
		Connection: &event.Connection{Side: event.SideInbound, Protocol: "tcp"},
	}
	snap := &model.Snapshot{Services: []model.ResolvedService{{Name: "db", Position: model.Position{File: "palisade.yaml", Line: 7, Column: 5}}}}
	show := func() string {
		var b strings.Builder
		explain(e, snap).Print(&b, observe.Style{})
		return b.String()
	}
	got := show()
	for _, want := range []string{
		"Connection inbound web → db:5432  refused", "client    10.0.0.7  tcp over TLS 1.3", "workload  spiffe://shop.example/service/web",
		"✗ authorise", "call-not-declared", "declare the call: services.db.callers: [web]  palisade.yaml:7:5",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	snap.Services[0].Callers = []string{"admin"} // those that serve names: what is written must not shut them out
	if got, want := show(), "declare the call: services.db.callers: [admin, web]  palisade.yaml:7:5"; !strings.Contains(got, want) {
		t.Errorf("%q is missing in\n%s", want, got)
	}
	snap.Services[0].Calls = model.Position{File: "palisade.yaml", Line: 9, Column: 5}
	if got, want := show(), "declare the call: add web to services.db.callers  palisade.yaml:9:5"; !strings.Contains(got, want) {
		t.Errorf("%q is missing in\n%s", want, got)
	}
	e.Service, e.Trail[0].Reasons[0] = "bus", event.Reason{Code: "subject-not-declared", Data: map[string]string{"verb": "publish", "subject": "a.b"}}
	if got, want := show(), `declare the subject: services.web.publish: {bus: ["a.b"]}`; !strings.Contains(got, want) {
		t.Errorf("%q is missing in\n%s", want, got)
	}
	e.Trail[0].Reasons[0] = event.Reason{Code: "call-not-declared"}
	e.Service, e.Host, e.Connection = "", "api.example.com:443", &event.Connection{Side: event.SideEgress, Protocol: "tls"}
	if got, want := show(), "declare the host: services.web.egress: [{host: api.example.com, port: 443}]"; !strings.Contains(got, want) {
		t.Errorf("%q is missing in\n%s", want, got)
	}
	request := *e
	e.Connection, e.Side, e.Host, e.Method, e.Path, e.Proto = nil, event.SideEgress, "evil.example.com:80", "GET", "/x", "HTTP/1.1"
	for _, want := range []string{"Request GET evil.example.com:80/x  refused", "services.web.egress: [{host: evil.example.com, port: 80, protocol: http}]"} {
		if got := show(); !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	e = &request
	e.Allowed, e.Aborted, e.Trail, e.BytesIn, e.Upstream = true, "client", nil, 5, "192.0.2.7:443"
	if got, want := show(), "carried   5 bytes there, 0 back, in 1ms"; !strings.Contains(got, want) || strings.Contains(got, "What would") {
		t.Errorf("%q is missing in\n%s", want, got)
	}
}
