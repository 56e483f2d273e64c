package event_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
)

// TestSummary compares with what is written.
func TestSummary(t *testing.T) {
	events := eventtest.New(3, moment, time.Second).Take(2000)
	events = append(events, eventtest.New(4, moment, time.Second).Logs(100)...)
	for _, e := range samples() {
		events = append(events, e)
	}
	for _, kind := range event.Kinds() {
		for _, outcome := range []event.Result{event.Done, event.Denied, event.Failed} {
			events = append(events, &event.Event{Time: moment, ID: "x", Act: &event.Act{Kind: kind, Outcome: outcome}})
		}
	}
	for _, e := range events {
		var written struct {
			Class    int    `json:"class_uid"`
			Name     string `json:"class_name"`
			Severity int    `json:"severity_id"`
			Metadata struct {
				UID string `json:"uid"`
			} `json:"metadata"`
		}
		text := event.AppendJSON(nil, e)
		if err := json.Unmarshal(text, &written); err != nil {
			t.Fatal(err)
		}
		uid, name := e.Class()
		if uid != written.Class || name != written.Name || e.SeverityID() != written.Severity || e.UID() != written.Metadata.UID {
			t.Errorf("%d %q %d %q, written as %s", uid, name, e.SeverityID(), e.UID(), text)
		}
	}
}
