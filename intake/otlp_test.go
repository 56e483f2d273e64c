package intake

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// otlpJSON is the example of the specification (opentelemetry-proto, examples/logs.json), with an event name and an unknown member.
const otlpJSON = `{"resourceLogs": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]}, "future": {"traceId": "x"},
  "scopeLogs": [{"scope": {"name": "my.library", "version": "1.0.0"}, "logRecords": [{
    "timeUnixNano": "1544712660300000000", "observedTimeUnixNano": "1544712660300000000", "severityNumber": 10, "severityText": "Information",
    "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174", "eventName": "browser.page", "body": {"stringValue": "Example log record"},
    "attributes": [
      {"key": "string.attribute", "value": {"stringValue": "some string"}}, {"key": "boolean.attribute", "value": {"boolValue": true}},
      {"key": "int.attribute", "value": {"intValue": "10"}}, {"key": "double.attribute", "value": {"doubleValue": 637.704}},
      {"key": "array.attribute", "value": {"arrayValue": {"values": [{"stringValue": "many"}, {"stringValue": "values"}]}}},
      {"key": "map.attribute", "value": {"kvlistValue": {"values": [{"key": "some.map.key", "value": {"stringValue": "some value"}}]}}}]}]}]}]}`

func TestReadOTLP(t *testing.T) {
	fromJSON, f := readOTLP(typeJSON, []byte(otlpJSON))
	if f != nil {
		t.Fatal(f)
	}
	r := fromJSON.records[0]
	want := map[string]string{
		"string.attribute": "some string", "boolean.attribute": "true", "int.attribute": "10", "double.attribute": "637.704", "array.attribute": `["many","values"]`,
		"map.attribute.some.map.key": "some value", "scope.name": "my.library", "event.name": "browser.page",
	}
	if r.text != "Example log record" || r.service != "my.service" || r.severity != 10 || r.trace != "5b8efff798038103d269b633813fc60c" || r.span != "eee19b7ec3c1b174" ||
		!r.time.Equal(time.Unix(0, 1544712660300000000)) || !maps.Equal(r.attributes, want) {
		t.Errorf("%+v", r)
	}
	kv := func(key string, v *common.AnyValue) *common.KeyValue { return &common.KeyValue{Key: key, Value: v} }
	text := func(s string) *common.AnyValue {
		return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: s}}
	}
	body, err := proto.Marshal(&collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{ScopeLogs: []*logs.ScopeLogs{{LogRecords: []*logs.LogRecord{
		{
			ObservedTimeUnixNano: 7, SeverityText: "warn", TraceId: make([]byte, 16), SpanId: []byte("short"), DroppedAttributesCount: 3,
			Body: &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{Values: []*common.KeyValue{kv("message", text("m")), kv("n", text("1"))}}}},
		},
		{Body: text(`{"msg":"inner","level":"error"}`)},
		{},
	}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	binary, f := readOTLP(typeProtobuf, body)
	if f != nil {
		t.Fatal(f)
	}
	if r := binary.records[0]; r.text != "m" || r.attributes["n"] != "1" || r.severity != 13 || r.trace != "" || r.span != "" || r.omitted != 3 || !r.time.IsZero() || r.observed.IsZero() {
		t.Errorf("%+v", r)
	}
	if r := binary.records[1]; r.text != "inner" || r.severity != 17 {
		t.Errorf("%+v", r)
	}
	for contentType, text := range map[string]string{typeJSON: `{"resourceLogs":7}`, typeProtobuf: "\xff", "text/xml": "", typeJSON + " ": "{}"} {
		if _, f := readOTLP(contentType, []byte(text)); f == nil {
			t.Errorf("%s: %q is taken", contentType, text)
		}
	}
	deep := strings.Repeat(`{"arrayValue":{"values":[`, 200) + strings.Repeat("]}}", 200)
	if _, f := readOTLP(typeJSON, []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":`+deep+`}]}]}]}`)); f == nil || f.status != http.StatusBadRequest {
		t.Errorf("what nests too deeply: %v", f)
	}
}

// TestPartialSuccess answers as the protocol says.
func TestPartialSuccess(t *testing.T) {
	body, err := proto.Marshal(&collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{ScopeLogs: []*logs.ScopeLogs{{LogRecords: slices.Repeat([]*logs.LogRecord{{}}, maxRecords+5)}}}}})
	if err != nil {
		t.Fatal(err)
	}
	b, f := readOTLP(typeProtobuf, body)
	if f != nil || len(b.records) != maxRecords {
		t.Fatal(f)
	}
	w := httptest.NewRecorder()
	answerOTLP(w, typeProtobuf, b)
	answer := &collector.ExportLogsServiceResponse{}
	if err := proto.Unmarshal(w.Body.Bytes(), answer); err != nil || w.Code != http.StatusOK || answer.GetPartialSuccess().GetRejectedLogRecords() != 5 || answer.GetPartialSuccess().GetErrorMessage() == "" {
		t.Errorf("%d %v %v", w.Code, answer, err)
	}
	w = httptest.NewRecorder()
	answerOTLP(w, typeJSON, b)
	if !strings.Contains(w.Body.String(), "rejectedLogRecords") || w.Header().Get("Content-Type") != typeJSON {
		t.Errorf("%s", w.Body)
	}
	w = httptest.NewRecorder()
	answerOTLP(w, typeJSON, &batch{})
	if w.Body.String() != "{}" {
		t.Errorf("full success is %s", w.Body)
	}
}

func TestStatus(t *testing.T) {
	w := httptest.NewRecorder()
	refuseOTLP(w, typeProtobuf, &fault{status: http.StatusTooManyRequests, text: "wait"})
	n, _, size := protowire.ConsumeTag(w.Body.Bytes())
	code, _ := protowire.ConsumeVarint(w.Body.Bytes()[size:])
	if w.Code != 429 || n != 1 || code != 8 || !strings.HasSuffix(w.Body.String(), "wait") {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	refuseOTLP(w, typeJSON, &fault{status: http.StatusBadRequest, text: "no"})
	if w.Body.String() != `{"code":3,"message":"no"}` {
		t.Errorf("%s", w.Body)
	}
}
