package event_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
)

// logs are events of log records as they occur; the full one has something in every field.
func logs() map[string]*event.Event {
	return map[string]*event.Event{
		"full": {
			Time: moment, ID: "01a204a7-2162-7c43-b77e-26d2b8aeda5c", Fleet: "shop", Snapshot: "s-42", Allowed: true,
			TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", SpanID: "00f067aa0ba902b7", Service: "orders", Host: "node-7",
			Client: "10.0.0.7", ClientPort: 51234, Workload: "spiffe://shop.example/service/orders",
			Log: &event.Log{
				Source: "orders", Form: "otlp", Severity: 18, Level: "ERROR2", Text: "stock is gone: \"item 7\"\n\tat reserve",
				Attributes: map[string]string{"order.id": "7", "empty": "", "a\"b": "<&>\u2028"},
				Observed:   moment.Add(time.Second), Original: "1970-01-01T00:00:00Z", Omitted: 3,
			},
		},
		"bare":    {Time: moment, Allowed: true, Log: &event.Log{}},
		"epoch":   {Time: time.UnixMilli(0).UTC(), Allowed: true, Log: &event.Log{Observed: time.UnixMilli(0).UTC()}},
		"unknown": {Time: moment, ID: "id", Allowed: true, Log: &event.Log{Source: "s", Form: "text", Severity: 99, Text: "x"}},
		"warning": {Time: moment, ID: "id", Allowed: true, SpanID: "00f067aa0ba902b7", Log: &event.Log{Source: "s", Form: "syslog", Severity: event.SeverityWarn, Level: "warning"}},
	}
}

func TestLogsMeetSchema(t *testing.T) {
	s := readSchema(t)
	for name, e := range logs() {
		var v map[string]any
		if err := json.Unmarshal(event.AppendJSON(nil, e), &v); err != nil {
			t.Fatal(err)
		}
		for _, w := range s.check("base_event", "event", v) {
			t.Errorf("%s: %s", name, w)
		}
		if v["type_uid"] != 99.0 {
			t.Errorf("%s: type_uid %v", name, v["type_uid"])
		}
	}
}

func TestSeverities(t *testing.T) {
	for s, want := range map[event.Severity]struct {
		level string
		id    float64
	}{
		-1: {"", 0}, 0: {"", 0}, 1: {"trace", 1}, 8: {"debug", 1}, 9: {"info", 1}, 12: {"info", 1}, 13: {"warn", 2},
		17: {"error", 3}, 18: {"error", 4}, 20: {"error", 4}, 21: {"fatal", 6}, 24: {"fatal", 6}, 25: {"", 0},
	} {
		var v map[string]any
		if err := json.Unmarshal(event.AppendJSON(nil, &event.Event{Log: &event.Log{Severity: s}}), &v); err != nil {
			t.Fatal(err)
		}
		if s.Level() != want.level || v["severity_id"] != want.id {
			t.Errorf("%d: %q, %v; want %v", s, s.Level(), v["severity_id"], want)
		}
	}
}

// TestRedactLog plants a secret wherever the writer of a record can put one.
func TestRedactLog(t *testing.T) {
	const secret = "hunter2hunter2"
	e := logs()["full"]
	e.Host = "token=" + secret
	e.Log.Text = "100% sure, Authorization: Bearer " + secret
	e.Log.Level, e.Log.Original = "password="+secret, "password="+secret
	e.Log.Attributes = map[string]string{
		"http.password": secret, "url": "/?p=1&pass%77ord=" + secret, "note": "password: " + secret, "token=" + secret: "x", "fine": "as it was", "password": "",
	}
	shared := e.Log
	e.Redact(event.NewRedactor(nil))
	line := string(event.AppendJSON(nil, e))
	if strings.Contains(line, secret) {
		t.Errorf("the secret stands in %s", line)
	}
	if shared.Attributes["http.password"] != secret {
		t.Error("redaction changed what somebody else may hold")
	}
	if e.Log.Attributes["fine"] != "as it was" || !strings.HasPrefix(e.Log.Text, "100% sure, ") || e.Log.Attributes["url"] != event.Redacted {
		t.Errorf("redacted too much or too little: %+v", e.Log)
	}
	before := *e.Log
	e.Redact(event.NewRedactor(nil))
	if !reflect.DeepEqual(before, *e.Log) {
		t.Errorf("redacted again it is %+v, it was %+v", *e.Log, before)
	}
}

func FuzzLog(f *testing.F) {
	f.Add("orders", "otlp", 17, "ERROR", "text\xff", "name", "value", "2026-11-22", int64(1_000_000_007))
	f.Add("\u2028", "", -3, "\"", "\\", "", "\x00", "::1%lo", int64(-1))
	f.Fuzz(func(t *testing.T, source, form string, severity int, level, text, name, value, original string, observed int64) {
		e := &event.Event{Time: moment, ID: text, TraceID: level, Service: name, Host: value, Allowed: true, Log: &event.Log{
			Source: source, Form: form, Severity: event.Severity(severity), Level: level, Text: text, Original: original,
			Attributes: map[string]string{name: value}, Observed: time.Unix(0, observed),
		}}
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
