package observe_test

import (
	"testing"
	"time"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/event"
)

func TestLogLine(t *testing.T) {
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for want, e := range map[string]*event.Event{
		"10:00:00 · error orders on node-1  stock?is gone  trace 4bf92f3577b34da6a3ce929d0e0e4736  id": {
			Time: at, ID: "id", Service: "orders", Host: "node-1", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", Log: &event.Log{Source: "s", Severity: 18, Text: "stock\x1bis gone\n"},
		},
		"10:00:00 · log   -    id": {Time: at, ID: "id", Log: &event.Log{}},
	} {
		if got := observe.Line(e, observe.Style{}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
