package topology

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
)

var noon = time.Date(2026, 11, 17, 12, 0, 0, 0, time.UTC)

const domain = "spiffe://shop.example"

// call is an event between services of the shop.
func call(side event.Side, from, to string, change func(*event.Event)) *event.Event {
	e := &event.Event{
		Time: noon, Side: side, Workload: domain + "/service/" + from, Service: to, Host: to, Route: "mesh:" + to + ":/**",
		Allowed: true, Status: 200, Took: 10 * time.Millisecond, TLSVersion: "1.3",
	}
	if from == "edge" {
		e.Workload = domain + "/edge/edge"
	}
	if change != nil {
		change(e)
	}
	return e
}

func TestFold(t *testing.T) {
	m := declared(t, "../examples/shop")
	f := NewFold(m)
	for i := range 10 {
		at := func(e *event.Event) { e.Time = noon.Add(time.Duration(i) * time.Second) }
		f.Event(call(event.SideOutbound, "orders", "catalog", at))
		f.Event(call(event.SideInbound, "orders", "catalog", at))
	}
	f.Event(call(event.SideOutbound, "orders", "catalog", func(e *event.Event) { e.Status = 502 })) // never got there
	f.Event(call(event.SideInbound, "web", "payments", func(e *event.Event) { e.Allowed, e.Status = false, 403 }))
	f.Event(call(event.SideOutbound, "web", "", func(e *event.Event) {
		e.Allowed, e.Status, e.Host, e.Route = false, 403, "orders.mesh.internal:80", ""
	}))
	f.Event(call(event.SideInbound, "old", "catalog", func(e *event.Event) { e.TLSVersion = "" }))
	f.Event(call(event.SideUnknown, "", "orders", func(e *event.Event) {
		e.Workload, e.User = "", &event.User{Subject: "user-1", Roles: []string{"customer"}}
	}))
	f.Event(call(event.SideInbound, "edge", "orders", func(e *event.Event) {
		e.User = &event.User{Subject: "user-1", Roles: []string{"customer"}}
	}))
	f.Event(&event.Event{
		Time: noon, Workload: domain + "/service/web", Host: "evil.example:443", BytesIn: 7,
		Connection: &event.Connection{Side: event.SideEgress, Protocol: "tls"},
	})
	f.Event(call(event.SideUnknown, "", "", func(e *event.Event) { e.Allowed, e.Host = false, "nothing.example" })) // of no service
	f.Event(call(event.SideInbound, "orders", "catalog", func(e *event.Event) { e.Open = true }))
	f.Event(&event.Event{Time: noon, Act: &event.Act{Kind: event.KindRevoked}})
	got := f.Map()

	if got.Events != 28 || got.Omitted != 1 || !got.From.Equal(noon) || !got.Until.Equal(noon.Add(9*time.Second)) {
		t.Errorf("%d events, %d omitted, %v to %v", got.Events, got.Omitted, got.From, got.Until)
	}
	catalog := got.Edge("orders", "catalog", Call)
	if s := catalog.Seen; s.Calls != 11 || s.Failed != 1 || s.Refused != 0 || !slices.Equal(s.Identities, []string{domain + "/service/orders"}) || !slices.Equal(s.Roles, []string{"-"}) {
		t.Errorf("orders to catalog %+v", s)
	}
	if r := got.Rate(catalog); r != 11.0/9 {
		t.Errorf("rate %v", r)
	}
	for name, want := range map[string]struct {
		from, to              string
		kind                  EdgeKind
		declared, used        bool
		calls, refused, plain int64
	}{
		"refused":         {"web", "payments", Call, false, false, 1, 1, 0},
		"refused by name": {"web", "orders", Call, false, false, 1, 1, 0},
		"no longer there": {"old", "catalog", Call, false, true, 1, 0, 1},
		"from outside":    {EdgeNode, "orders", Call, true, true, 1, 0, 0},
		"to outside":      {"web", "evil.example:443", Egress, false, false, 1, 1, 0},
	} {
		e := got.Edge(want.from, want.to, want.kind)
		if e == nil || e.Declared != want.declared || e.Used() != want.used || e.Seen.Calls != want.calls || e.Seen.Refused != want.refused || e.Seen.Plain != want.plain {
			t.Errorf("%s: %+v, %+v", name, e, e.Seen)
		}
	}
	if r := got.Edge(EdgeNode, "orders", Call).Seen.Roles; !slices.Equal(r, []string{"customer"}) {
		t.Errorf("roles %v", r)
	}
	a := got.Analyse()
	if len(a.Undeclared) != 4 || len(a.Unused) != 5 || len(a.Plain) != 1 {
		t.Errorf("undeclared %v, unused %v, plain %v", a.Undeclared, a.Unused, a.Plain)
	}
	if m.Observed() || m.Edge("orders", "catalog", Call).Seen != nil {
		t.Error("the map that was begun with has changed")
	}
}

// TestFoldOn adds a second day to the map of the first.
func TestFoldOn(t *testing.T) {
	first := NewFold(declared(t, "../examples/shop"))
	first.Event(call(event.SideInbound, "orders", "catalog", nil))
	second := NewFold(first.Map())
	second.Event(call(event.SideInbound, "orders", "catalog", func(e *event.Event) { e.Time, e.Took = noon.Add(24*time.Hour), time.Second }))
	m := second.Map()
	s := m.Edge("orders", "catalog", Call).Seen
	if m.Events != 2 || s.Calls != 2 || !s.First.Equal(noon) || !s.Last.Equal(noon.Add(24*time.Hour)) {
		t.Errorf("%d events, %+v", m.Events, s)
	}
	if lo, hi := s.Latency.Quantile(0.5), s.Latency.Quantile(1); !near(lo, 10*time.Millisecond) || !near(hi, time.Second) {
		t.Errorf("latency %v, %v", lo, hi)
	}
}

// TestFoldIsBounded lets attackers choose names.
func TestFoldIsBounded(t *testing.T) {
	f := NewFold(declared(t, "../examples/shop"))
	for i := range 3 * mostUndeclared {
		f.Event(&event.Event{
			Time: noon, Workload: domain + "/service/web", Host: fmt.Sprintf("%d.example:443", i),
			Connection: &event.Connection{Side: event.SideEgress, Protocol: "tls"},
		})
		f.Event(call(event.SideInbound, "orders", "catalog", func(e *event.Event) { e.Route = fmt.Sprint(i) }))
	}
	m := f.Map()
	if len(m.Nodes) > mostUndeclared+10 || m.Omitted != 2*mostUndeclared || len(m.Edge("orders", "catalog", Call).Seen.Routes) != mostNames {
		t.Errorf("%d nodes, %d omitted", len(m.Nodes), m.Omitted)
	}
}

func near(got, want time.Duration) bool {
	return math.Abs(float64(got)/float64(want)-1) < 0.051
}

func TestSketch(t *testing.T) {
	var s Sketch
	if s.Quantile(0.5) != 0 || !s.IsZero() {
		t.Error("an empty sketch knows nothing")
	}
	for i := 1000; i > 0; i-- {
		s.Add(time.Duration(i) * time.Millisecond)
	}
	for _, q := range []float64{0.01, 0.5, 0.95, 0.99, 1} {
		if got, want := s.Quantile(q), time.Duration(1000*q)*time.Millisecond; !near(got, want) {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	for _, d := range []time.Duration{-time.Second, 0, 1, time.Microsecond, math.MaxInt64} {
		s.Add(d)
	}
	if !s.sound() {
		t.Errorf("%+v", s)
	}
}
