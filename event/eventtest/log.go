package eventtest

import (
	"fmt"
	"strconv"
	"time"

	"github.com/palisade-security/palisade/event"
)

// Log returns a log record as a service writes them beside what is decided. It is the caller's.
func (f *Fleet) Log() *event.Event {
	f.now = f.now.Add(time.Duration(f.rand.ExpFloat64() * float64(f.gap)))
	services := [...]string{"orders", "items", "payments"}
	service := services[f.rand.IntN(len(services))]
	severities := [...]event.Severity{event.SeverityUnknown, event.SeverityDebug, event.SeverityInfo, event.SeverityInfo, event.SeverityWarn, event.SeverityError, 18, event.SeverityFatal}
	e := &event.Event{
		Time: f.now, ID: f.id(f.now), Fleet: "shop", Snapshot: f.snapshot, Service: service, Host: "node-" + strconv.Itoa(f.rand.IntN(4)),
		Client: "10.1.0.7", ClientPort: 40000 + f.rand.IntN(1000), Workload: "spiffe://shop.example/service/" + service, Allowed: true,
		Log: &event.Log{
			Source: service, Form: "otlp", Severity: severities[f.rand.IntN(len(severities))], Text: fmt.Sprintf("reserved %d of item %d", f.rand.IntN(9), f.rand.IntN(500)),
			Observed: f.now.Add(f.about(time.Millisecond)),
		},
	}
	e.Log.Level = e.Log.Severity.Level()
	if f.rand.IntN(2) == 0 {
		e.TraceID, e.SpanID = hexOf(f.rand, 16), hexOf(f.rand, 8)
		e.Log.Attributes = map[string]string{"http.route": "/orders/{id}", "order \"id\"": strconv.Itoa(f.rand.IntN(9000)) + "\n<&>"}
	}
	if f.rand.IntN(20) == 0 {
		e.Log.Original, e.Log.Omitted = "1970-01-01T00:00:00Z", int64(f.rand.IntN(5))
	}
	return e
}

// Logs returns the next n log records.
func (f *Fleet) Logs(n int) []*event.Event {
	out := make([]*event.Event, n)
	for i := range out {
		out[i] = f.Log()
	}
	return out
}
