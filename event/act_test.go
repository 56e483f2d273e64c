package event_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/event"
)

// fullAct is an act with something in every field.
func fullAct() *event.Event {
	return &event.Event{
		Time: moment, ID: "01a204a7-2162-7c43-b77e-26d2b8aeda5c", Fleet: "shop", Snapshot: "s-42", Client: "10.0.0.7", ClientPort: 51234,
		Act: &event.Act{
			Kind: event.KindRevoked, Who: "alice", Role: "operator", Object: "service/payments", Outcome: event.Denied,
			Reason: "role", Text: "revoke needs the role operator", Proxy: "control", Omitted: 3,
		},
	}
}

// acts are events of acts as they occur, and one of each kind with as little in it as can be.
func acts() map[string]*event.Event {
	all := map[string]*event.Event{
		"full": fullAct(),
		"revoked": {
			Time: moment, ID: "id", Allowed: true, Client: "unix socket",
			Act: &event.Act{Kind: event.KindRevoked, Who: "alice", Object: "service/payments", Outcome: event.Done, Text: "stolen; 3 connections cut"},
		},
		"refused": {
			Time: moment, ID: "id", Client: "2001:db8::1", ClientPort: 9, Fleet: "shop", Snapshot: "s-42",
			Act: &event.Act{Kind: event.KindRefused, Who: "spiffe://shop.example/service/web", Outcome: event.Denied, Reason: "revoked", Proxy: "catalog", Omitted: 1 << 40},
		},
		"unknown kind": {Time: moment, ID: "id", Act: &event.Act{Kind: "of a later version", Outcome: event.Failed}},
	}
	for _, k := range event.Kinds() {
		all["bare "+string(k)] = &event.Event{Time: moment, ID: "id", Allowed: true, Act: &event.Act{Kind: k, Outcome: event.Done}}
		all["failed "+string(k)] = &event.Event{Time: moment, ID: "id", Act: &event.Act{Kind: k, Outcome: event.Failed}}
	}
	return all
}

// TestActsMeetSchema checks every kind against the facts of its class.
func TestActsMeetSchema(t *testing.T) {
	s := readSchema(t)
	classes := map[float64]string{3002: "authentication", 3004: "entity_management", 4001: "network_activity", 6003: "api_activity"}
	for name, e := range acts() {
		var v map[string]any
		if err := json.Unmarshal(event.AppendJSON(nil, e), &v); err != nil {
			t.Fatal(err)
		}
		uid, _ := v["class_uid"].(float64)
		activity, _ := v["activity_id"].(float64)
		for _, w := range s.check(classes[uid], "event", v) {
			t.Errorf("%s: %s", name, w)
		}
		if v["type_uid"] != 100*uid+activity {
			t.Errorf("%s: type_uid %v of class %v with activity %v", name, v["type_uid"], uid, activity)
		}
	}
}

// TestRedactAct plants a secret wherever somebody can put one.
func TestRedactAct(t *testing.T) {
	const secret = "hunter2hunter2"
	e := fullAct()
	e.Act.Who, e.Act.Object, e.Act.Text = "password="+secret, "token="+secret, "Authorization: Bearer "+secret
	shared := e.Act
	e.Redact(event.NewRedactor(nil))
	if line := string(event.AppendJSON(nil, e)); strings.Contains(line, secret) {
		t.Errorf("the secret stands in %s", line)
	}
	if shared.Object != "token="+secret {
		t.Error("redaction changed what somebody else may hold")
	}
}

func FuzzAct(f *testing.F) {
	f.Add("revoked", "alice", "operator", "service/payments", "done", "revoked", "text\xff", "10.0.0.7", 3)
	f.Add("\u2028", "spiffe://a/\x00", "\\", "\"", "", "", "", "::1%lo", -1)
	f.Fuzz(func(t *testing.T, kind, who, role, object, outcome, reason, text, client string, omitted int) {
		e := fullAct()
		e.Client = client
		*e.Act = event.Act{Kind: event.Kind(kind), Who: who, Role: role, Object: object, Outcome: event.Result(outcome), Reason: reason, Text: text, Omitted: int64(omitted)}
		line := event.AppendJSON(nil, e)
		once, err := event.Parse(line)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		twice, err := event.Parse(event.AppendJSON(nil, once))
		if err != nil || !reflect.DeepEqual(once, twice) {
			t.Fatalf("%v\nonce  %+v\ntwice %+v", err, once, twice)
		}
	})
}
