package app

import (
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/event"
)

const orders = "spiffe://shop.example/service/orders"

func TestActOfControl(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC)
	for _, c := range []struct {
		in   control.Event
		want event.Act
	}{
		{
			control.Event{Kind: "revoke", Who: "alice", Role: "operator", Object: "service/orders", Outcome: "done"},
			event.Act{Kind: event.KindRevoked, Who: "alice", Role: "operator", Object: "service/orders", Outcome: event.Done, Proxy: "control"},
		},
		{
			control.Event{Kind: "POST /v1/revoke", Who: "bob", Outcome: "denied", Text: "needs the role operator"},
			event.Act{Kind: event.KindAdminister, Who: "bob", Outcome: event.Denied, Reason: "POST /v1/revoke", Text: "needs the role operator", Proxy: "control"},
		},
		{
			control.Event{Kind: "enrolment-denied", Who: "10.0.0.7:99", Object: "service/orders", Outcome: "denied"},
			event.Act{Kind: event.KindEnrolment, Who: "10.0.0.7:99", Object: "service/orders", Outcome: event.Denied, Proxy: "control"},
		},
		{
			control.Event{Kind: "proxy-rejected", Who: orders, Object: "host-abc", Outcome: "done", Text: "v2: no"},
			event.Act{Kind: event.KindTook, Who: orders, Object: "host-abc", Outcome: event.Failed, Reason: "rejected", Text: "v2: no", Proxy: "control"},
		},
	} {
		c.in.At = at
		if got := actOfControl(c.in); *got.Act != c.want || !got.Time.Equal(at) {
			t.Errorf("%s: got %+v, want %+v", c.in.Kind, *got.Act, c.want)
		}
	}
}

// TestActOfNote holds that what a proxy notes has a kind of its own, and is marked as a failure where it is one.
func TestActOfNote(t *testing.T) {
	for kind, want := range map[string]event.Act{
		"enrolled": {Kind: event.KindEnrolled, Outcome: event.Done}, "not-enrolled": {Kind: event.KindEnrolment, Outcome: event.Denied},
		"denied": {Kind: event.KindIdentity, Outcome: event.Denied}, "accepted": {Kind: event.KindTook, Outcome: event.Done},
		"rejected": {Kind: event.KindTook, Outcome: event.Failed}, "refused": {Kind: event.KindStatement, Outcome: event.Denied},
		"stale-serve": {Kind: event.KindStale, Outcome: event.Failed}, "stale-stop": {Kind: event.KindStale, Outcome: event.Failed},
		"fresh": {Kind: event.KindFresh, Outcome: event.Done}, "state-lost": {Kind: event.KindState, Outcome: event.Failed},
		"not-kept": {Kind: event.KindState, Outcome: event.Failed}, "cut": {Kind: event.KindCut, Outcome: event.Done},
		"revoked": {Kind: event.KindIdentityRevoked, Outcome: event.Done}, "of a later version": {Kind: event.KindOther, Outcome: event.Done},
	} {
		want.Who, want.Reason, want.Text, want.Proxy = orders, kind, "text", "orders"
		if got := actOfNote(orders, wire.Note{Kind: kind, Text: "text"}); *got.Act != want {
			t.Errorf("%s: got %+v, want %+v", kind, *got.Act, want)
		}
	}
}

// TestEventQuery holds which events are shown.
func TestEventQuery(t *testing.T) {
	request := &event.Event{Allowed: true, Service: "orders"}
	connection := &event.Event{Allowed: true, Service: "orders", Connection: &event.Connection{}}
	revoked := &event.Event{Allowed: true, Act: &event.Act{Kind: event.KindRevoked, Who: "alice", Object: "service/orders", Outcome: event.Done}}
	refused := &event.Event{Act: &event.Act{Kind: event.KindRefused, Who: "spiffe://shop.example/service/web", Proxy: "orders", Outcome: event.Denied}}
	open := &event.Event{Allowed: true, Service: "orders", Open: true}
	all := []*event.Event{request, connection, revoked, refused, open}
	for _, c := range []struct {
		q    EventQuery
		want [5]bool
	}{
		{EventQuery{}, [5]bool{true, true, true, true, false}},
		{EventQuery{Refused: true}, [5]bool{3: true}},
		{EventQuery{Kind: "request"}, [5]bool{0: true}},
		{EventQuery{Kind: "connection"}, [5]bool{1: true}},
		{EventQuery{Kind: "act"}, [5]bool{2: true, 3: true}},
		{EventQuery{Kind: "revoked"}, [5]bool{2: true}},
		{EventQuery{Service: "orders"}, [5]bool{true, true, true, false}},
		{EventQuery{Service: "web"}, [5]bool{3: true}},
		{EventQuery{User: "alice"}, [5]bool{2: true}},
		{EventQuery{Text: "service:orders -kind:revoked"}, [5]bool{true, true}},
		{EventQuery{Text: "kind:open"}, [5]bool{4: true}},
	} {
		q, err := c.q.build()
		if err != nil {
			t.Error(err)
		}
		for i, e := range all {
			if got := q.Match(e); got != c.want[i] {
				t.Errorf("%+v: event %d: %t", c.q, i, got)
			}
		}
	}
	if _, err := (&EventQuery{Kind: "revokd"}).build(); err == nil {
		t.Error("an unknown kind is taken")
	}
	if _, err := (&EventQuery{Text: "service:orders servce:x"}).build(); err == nil || !strings.Contains(err.Error(), "\n                 ^") {
		t.Errorf("a mistake is not shown where it is: %v", err)
	}
}
