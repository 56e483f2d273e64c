package query_test

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// few are events of every sort, one second apart.
func few() query.Reference {
	at := func(s int, e *event.Event) *event.Event {
		e.Time, e.ID = noon.Add(time.Duration(s)*time.Second), "id-"+strconv.Itoa(s)
		return e
	}
	refusal := func(outcome event.Outcome, dry bool, code string) event.Stage {
		return event.Stage{Name: event.StageAuthorise, Outcome: outcome, DryRun: dry, Reasons: []event.Reason{{Code: code, Text: "Because of Rules", Data: map[string]string{"owner": "Übel"}}}}
	}
	return query.Reference{
		at(0, &event.Event{Service: "orders", Method: "GET", Path: "/orders/7", Route: "r1", Host: "shop.example", Client: "10.0.0.1", Allowed: true, Status: 200, Took: time.Millisecond, TraceID: "t1", User: &event.User{Subject: "alice"}}),
		at(1, &event.Event{Service: "orders", Method: "DELETE", Path: "/orders/7", Status: 403, Problem: "denied", Side: event.SideInbound, Workload: "spiffe://shop.example/service/web", Trail: []event.Stage{refusal(event.OutcomeDeny, true, "dry"), refusal(event.OutcomeDeny, false, "no-permit")}}),
		at(2, &event.Event{Service: "items", Allowed: true, DryRun: true, Status: 200, Trail: []event.Stage{refusal(event.OutcomeDeny, true, "forbid")}}),
		at(3, &event.Event{Service: "items", Status: 503, Trail: []event.Stage{refusal(event.OutcomeError, false, "broken")}}),
		at(4, &event.Event{Service: "items", Status: 429, Problem: "too-many"}),
		at(5, &event.Event{Service: "pay", Open: true, Allowed: true}),
		at(6, &event.Event{Service: "db", Allowed: true, Host: "db:5432", Connection: &event.Connection{Side: event.SideEgress}, Headers: []event.Header{{Name: "x", Value: "In Header"}}}),
		at(7, &event.Event{Act: &event.Act{Kind: event.KindRevoked, Who: "alice", Object: "service/pay", Outcome: event.Denied, Reason: "role", Text: "needs Operator"}}),
		at(8, &event.Event{Allowed: true, Act: &event.Act{Kind: event.KindEnrolled, Who: "spiffe://shop.example/service/pay", Outcome: event.Done, Proxy: "control"}}),
		at(9, &event.Event{Act: &event.Act{Kind: event.KindStale, Outcome: "odd", Proxy: "edge"}}),
	}
}

// TestMatch names the events by their second, newest first.
func TestMatch(t *testing.T) {
	for text, want := range map[string]string{
		"": "9876543210", "service:orders": "10", "-service:orders": "98765432", "service:pay": "875", "service:edge": "9",
		"outcome:allowed": "650", "outcome:denied": "741", "outcome:dry-run": "2", "outcome:error": "3", "outcome:done": "8", "outcome:failed": "9",
		"reason:no-permit": "1", "reason:forbid": "2", "reason:broken": "3", "reason:too-many": "4", "reason:role": "7", "reason:dry": "",
		"kind:request": "43210", "kind:open": "5", "kind:connection": "6", "kind:revoked": "7",
		"side:edge": "54320", "side:inbound": "1", "side:egress": "6", `side:""`: "987",
		"user:alice": "70", "user:a*": "70", "user:*": "70", "caller:web": "1", "caller:spiffe://shop.example/service/web": "1", "caller:eb": "", "caller:service/pay": "8",
		"method:GET or method:DELETE": "10", "path:/orders/*": "10", "host:shop.example": "0", "route:r1": "0", "address:10.*": "0", "trace:t1": "0", "id:id-3": "3",
		"status:>=500": "3", "status:<300 status:>0": "20", "status:>503": "", "status:<=200": "9876520", "duration:>=1ms": "0", "duration:0s": "987654321",
		"time:>2026-11-22T12:00:08Z": "9", "time:2026-11-22T12:00:08Z": "8",
		"ALICE": "70", "because": "321", "übel": "321", `"in header"`: "6", "operator": "7", "nothing": "", "denied": "1", "no-permit": "1",
		"service:orders or service:items outcome:denied": "410", "(service:orders or service:items) outcome:denied": "41",
	} {
		x, err := query.Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		page, err := few().Last(t.Context(), query.Query{Where: x}, 100, query.Cursor{})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, e := range page.Events {
			got += strings.TrimPrefix(e.ID, "id-")
		}
		if got != want {
			t.Errorf("%q finds %q, want %q", text, got, want)
		}
	}
}

// TestMatchLog asks for a log record: it says neither who was called nor what was decided.
func TestMatchLog(t *testing.T) {
	e := &event.Event{
		Time: noon, ID: "id", Allowed: true, Service: "stock", Host: "node-1", Client: "172.16.0.1", TraceID: "t9", Workload: "spiffe://shop.example/service/stock",
		Log: &event.Log{Source: "syslog", Severity: 18, Level: "crit", Text: "Disk Full", Attributes: map[string]string{"mount": "/var/Data"}},
	}
	for text, want := range map[string]bool{
		"kind:log": true, "level:error": true, "level:warn": false, `level:""`: false, "service:stock": true, "host:node-1": true, "trace:t9": true, "caller:stock": true,
		"disk full": true, "SYSLOG": true, "/var/data": true, "mount": false, `outcome:""`: true, `reason:""`: true, `side:""`: true, "kind:request": false, "address:172.*": true,
	} {
		x, err := query.Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if q := (query.Query{Where: x}); q.Match(e) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
	if _, err := query.Parse("level:panic"); err == nil || !strings.Contains(err.Error(), "trace, debug, info, warn, error, fatal") {
		t.Errorf("a level that is none: %v", err)
	}
}

func TestPages(t *testing.T) {
	events := few()
	events[3].Time = events[4].Time // the same moment: the greater key comes first
	q := query.Query{From: noon.Add(time.Second), To: noon.Add(8 * time.Second)}
	var got []string
	var from query.Cursor
	for {
		page, err := events.Last(t.Context(), q, 2, from)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			got = append(got, query.Key(e))
		}
		if from = page.Next; from.IsZero() {
			break
		}
	}
	if want := []string{"id-7@", "id-6@", "id-5:open@edge", "id-4@edge", "id-3@edge", "id-2@edge", "id-1@"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestCount(t *testing.T) {
	got, err := few().Count(t.Context(), query.Query{}, query.Service, 3)
	want := &query.Counts{Total: 10, Values: 5, Top: []query.Count{{Value: "items", Count: 3}, {Value: "pay", Count: 3}, {Value: "orders", Count: 2}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v, want %+v", got, err, want)
	}
	if _, err := few().Count(t.Context(), query.Query{}, query.Duration, 3); err == nil {
		t.Error("events are counted by duration")
	}
}

func TestHistogram(t *testing.T) {
	q := query.Query{From: noon.Add(-3 * time.Second), To: noon.Add(9 * time.Second)}
	got, err := few().Histogram(t.Context(), q, 4*time.Second, query.Outcome, 2)
	want := &query.Series{From: noon.Add(-4 * time.Second), Step: 4 * time.Second, All: []int64{0, 4, 4, 1}, By: []query.Line{
		{Value: "allowed", Counts: []int64{0, 1, 2, 0}}, {Value: "denied", Counts: []int64{0, 1, 2, 0}},
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v, want %+v", got, err, want)
	}
	if _, err := few().Histogram(t.Context(), query.Query{From: noon}, time.Second, query.None, 1); err == nil {
		t.Error("a histogram without end")
	}
	if _, err := few().Histogram(t.Context(), q, time.Millisecond, query.None, 1); err == nil || !strings.Contains(err.Error(), "choose a step longer than 1ms") {
		t.Errorf("12,000 steps: %v", err)
	}
}

func TestTallyIsBounded(t *testing.T) {
	tally := &query.Tally{}
	var err error
	for i := 0; err == nil && i < 2*query.MaxValues; i++ {
		err = tally.Add(strconv.Itoa(i), 1)
	}
	if !errors.Is(err, query.ErrTooMany) {
		t.Errorf("%v", err)
	}
}

// TestValidate is what Parse cannot make.
func TestValidate(t *testing.T) {
	for _, x := range []query.Expr{
		query.And{},
		query.Or{nil},
		query.Not{},
		query.Is{Field: query.Status},
		query.Is{Field: query.User, Value: "a\x00"},
		query.Prefix{Field: query.Time},
		query.Number{Field: query.User},
		query.Number{Field: query.Time, Op: 9},
		query.Text{},
		query.Is{Field: 99},
	} {
		q := query.Query{Where: x}
		if err := q.Validate(); err == nil {
			t.Errorf("%#v is accepted", x)
		}
	}
	q := query.Query{From: noon, To: noon.Add(-1)}
	if err := q.Validate(); err == nil {
		t.Error("a query that ends before it begins is accepted")
	}
}
