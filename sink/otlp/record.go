package otlp

import (
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/sink"
)

const scope = "github.com/palisade-security/palisade"

// request puts events under one resource for each fleet, in the order in which these begin.
func request(records []sink.Record) *collector.ExportLogsServiceRequest {
	out := &collector.ExportLogsServiceRequest{}
	known := map[string]*logs.ScopeLogs{}
	now := uint64(time.Now().UnixNano())
	for i := range records {
		e := records[i].Event
		in := known[e.Fleet]
		if in == nil {
			in = &logs.ScopeLogs{Scope: &common.InstrumentationScope{Name: scope}}
			known[e.Fleet] = in
			about := []*common.KeyValue{attribute("service.name", "palisade")}
			if e.Fleet != "" {
				about = append(about, attribute("service.namespace", e.Fleet))
			}
			out.ResourceLogs = append(out.ResourceLogs, &logs.ResourceLogs{Resource: &resource.Resource{Attributes: about}, ScopeLogs: []*logs.ScopeLogs{in}})
		}
		in.LogRecords = append(in.LogRecords, record(e, now))
	}
	return out
}

func record(e *event.Event, now uint64) *logs.LogRecord {
	number, text := severity(e.SeverityID())
	out := &logs.LogRecord{
		TimeUnixNano: nanos(e.Time), ObservedTimeUnixNano: now, SeverityNumber: number, SeverityText: text,
		Body: textValue(string(event.AppendJSON(nil, e))), EventName: "palisade." + sink.Class(e),
		TraceId: id(e.TraceID, 16), SpanId: id(e.SpanID, 8),
	}
	sink.Each(fields, e, func(name string, value any) {
		out.Attributes = append(out.Attributes, attribute(name, value))
	})
	if e.Log != nil {
		asWritten(out, e.Log)
	}
	return out
}

// asWritten makes out the log record that l was before it was taken in.
func asWritten(out *logs.LogRecord, l *event.Log) {
	out.EventName, out.Body = "", textValue(l.Text)
	out.SeverityNumber, out.SeverityText = logs.SeverityNumber(l.Severity), strings.ToValidUTF8(l.Level, "\uFFFD")
	if !l.Observed.IsZero() {
		out.ObservedTimeUnixNano = nanos(l.Observed)
	}
	for _, name := range slices.Sorted(maps.Keys(l.Attributes)) {
		out.Attributes = append(out.Attributes, attribute(strings.ToValidUTF8(name, "\uFFFD"), l.Attributes[name]))
	}
}

func nanos(t time.Time) uint64 { return uint64(max(t.UnixNano(), 0)) }

// severity is that of OpenTelemetry for one of OCSF: what is refused is a warning.
func severity(of int) (logs.SeverityNumber, string) {
	switch of {
	case 1:
		return logs.SeverityNumber_SEVERITY_NUMBER_INFO, "Informational"
	case 2:
		return logs.SeverityNumber_SEVERITY_NUMBER_WARN, "Low"
	case 3:
		return logs.SeverityNumber_SEVERITY_NUMBER_WARN2, "Medium"
	}
	return logs.SeverityNumber_SEVERITY_NUMBER_ERROR, "High"
}

// id is an id of n bytes; none if it is not one.
func id(text string, n int) []byte {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != n {
		return nil
	}
	return b
}

// textValue is a text; in protobuf nothing but UTF-8 can be one.
func textValue(s string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: strings.ToValidUTF8(s, "\uFFFD")}}
}

func attribute(name string, value any) *common.KeyValue {
	out := &common.KeyValue{Key: name}
	switch v := value.(type) {
	case string:
		out.Value = textValue(v)
	case int64:
		out.Value = &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: v}}
	}
	return out
}

// fields are the attributes of a log record, by the semantic conventions where these have a name; a constant table.
var fields = []sink.Field{
	field("log.record.uid", "metadata.uid", func(e *event.Event) any { return e.UID() }),
	field("http.request.method", "http_request.http_method", func(e *event.Event) any { return e.Method }),
	field("http.response.status_code", "http_response.code", func(e *event.Event) any { return sink.Positive(e.Status) }),
	field("http.route", "unmapped.template", func(e *event.Event) any { return e.Template }),
	field("url.scheme", "http_request.url.scheme", func(e *event.Event) any { return e.Scheme }),
	field("url.path", "http_request.url.path", func(e *event.Event) any { return e.Path }),
	field("server.address", "(http_request.url.hostname)", func(e *event.Event) any { host, _ := sink.HostPort(e.Host); return host }),
	field("client.address", "(src_endpoint)", func(e *event.Event) any { return e.Client }),
	field("user_agent.original", "http_request.user_agent", func(e *event.Event) any { return e.UserAgent }),
	field("user.id", "(actor.user.uid of a person)", func(e *event.Event) any { return sink.User(e) }),
	field("palisade.outcome", "(action_id, disposition_id)", func(e *event.Event) any { return sink.Outcome(e) }),
	field("palisade.problem", "(status_detail)", func(e *event.Event) any { return e.Problem }),
	field("palisade.service", "(dst_endpoint.svc_name of a request or connection)", func(e *event.Event) any { return sink.Service(e) }),
	field("palisade.route", "unmapped.route", func(e *event.Event) any { return e.Route }),
	field("palisade.workload", "unmapped.workload", func(e *event.Event) any { return e.Workload }),
	field("palisade.act", "unmapped.act.kind", act),
}

// Fields are the attributes of a log record.
func Fields() []sink.Field { return fields }

func field(name, from string, of func(*event.Event) any) sink.Field {
	return sink.Field{Name: name, From: from, Of: of}
}

func act(e *event.Event) any {
	if e.Act == nil {
		return nil
	}
	return string(e.Act.Kind)
}
