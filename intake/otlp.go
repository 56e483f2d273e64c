package intake

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/palisade-security/palisade/event"
)

// The media types of OTLP/HTTP (OpenTelemetry Protocol Specification 1.x, section "OTLP/HTTP").
const (
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
)

// readOTLP reads an ExportLogsServiceRequest.
func readOTLP(contentType string, body []byte) (*batch, *fault) {
	request := &collector.ExportLogsServiceRequest{}
	var err error
	switch contentType {
	case typeProtobuf:
		err = proto.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: maxNesting}.Unmarshal(body, request)
	case typeJSON:
		var text []byte
		if text, err = idsToBase64(body); err == nil {
			err = protojson.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: maxNesting}.Unmarshal(text, request)
		}
	default:
		return nil, &fault{status: http.StatusUnsupportedMediaType, reason: ReasonForm, text: "send " + typeProtobuf + " or " + typeJSON}
	}
	if err != nil {
		return nil, &fault{status: http.StatusBadRequest, reason: ReasonForm, text: "the body is no ExportLogsServiceRequest, or nests too deeply"}
	}
	b := &batch{}
	for _, resource := range request.GetResourceLogs() {
		shared := &record{}
		for _, kv := range resource.GetResource().GetAttributes() {
			readAttribute(shared, kv)
		}
		for _, scope := range resource.GetScopeLogs() {
			for _, l := range scope.GetLogRecords() {
				if len(b.records) == maxRecords {
					b.reject(1, "a body may have "+strconv.Itoa(maxRecords)+" records")
					continue
				}
				b.records = append(b.records, readLogRecord(shared, scope.GetScope().GetName(), l))
			}
		}
	}
	return b, nil
}

// readLogRecord reads one LogRecord. What its resource says stands behind what it says itself.
func readLogRecord(shared *record, scope string, l *logs.LogRecord) *record {
	r := &record{form: formOTLP, level: l.GetSeverityText(), severity: event.Severity(l.GetSeverityNumber()), omitted: int64(l.GetDroppedAttributesCount()) + shared.omitted}
	if r.severity == 0 {
		r.severity = severityNamed(r.level)
	}
	r.time, r.observed = sinceEpoch(l.GetTimeUnixNano()), sinceEpoch(l.GetObservedTimeUnixNano())
	r.setTrace(hex.EncodeToString(l.GetTraceId()))
	r.setSpan(hex.EncodeToString(l.GetSpanId()))
	for _, kv := range l.GetAttributes() {
		readAttribute(r, kv)
	}
	body := valueOf(l.GetBody())
	if fields, ok := body.(map[string]any); ok {
		r.text = textOf(body)
		readFields(r, fields)
	} else {
		text := textOf(body)
		readLine(r, []byte(text))
		if r.text == "" {
			r.text = text
		}
	}
	if name := l.GetEventName(); name != "" {
		r.set("event.name", name)
	}
	if scope != "" {
		r.set("scope.name", scope)
	}
	if r.service == "" {
		r.service = shared.service
	}
	if r.host == "" {
		r.host = shared.host
	}
	for name, value := range shared.attributes {
		if _, own := r.attributes[name]; !own {
			r.set(name, value)
		}
	}
	return r
}

// readAttribute takes an attribute; those that name the service and the host are that.
func readAttribute(r *record, kv *common.KeyValue) {
	value := valueOf(kv.GetValue())
	switch kv.GetKey() {
	case "service.name":
		r.service = textOf(value)
	case "host.name":
		r.host = textOf(value)
	default:
		flatten(r, kv.GetKey(), value, 0)
	}
}

// valueOf is a value as JSON has it. How deep it nests was bounded when it was read.
func valueOf(v *common.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_BoolValue:
		return v.BoolValue
	case *common.AnyValue_IntValue:
		return json.Number(strconv.FormatInt(v.IntValue, 10))
	case *common.AnyValue_DoubleValue:
		return json.Number(strconv.FormatFloat(v.DoubleValue, 'g', -1, 64))
	case *common.AnyValue_BytesValue:
		return base64.StdEncoding.EncodeToString(v.BytesValue)
	case *common.AnyValue_ArrayValue:
		out := []any{}
		for _, one := range v.ArrayValue.GetValues() {
			out = append(out, valueOf(one))
		}
		return out
	case *common.AnyValue_KvlistValue:
		out := map[string]any{}
		for _, kv := range v.KvlistValue.GetValues() {
			out[kv.GetKey()] = valueOf(kv.GetValue())
		}
		return out
	}
	return nil
}

func textOf(value any) string {
	if text, ok := scalar(value); ok {
		return text
	}
	text, err := json.Marshal(value)
	if err != nil { // a number that JSON does not have
		return ""
	}
	return string(text)
}

func sinceEpoch(nanos uint64) time.Time {
	if nanos == 0 || nanos > 1<<63-1 {
		return time.Time{}
	}
	return time.Unix(0, int64(nanos)).UTC()
}

// answerOTLP answers 200, with partial_success where something was not taken.
func answerOTLP(w http.ResponseWriter, contentType string, b *batch) {
	answer := &collector.ExportLogsServiceResponse{}
	if b.rejected > 0 {
		answer.PartialSuccess = &collector.ExportLogsPartialSuccess{RejectedLogRecords: int64(b.rejected), ErrorMessage: b.why}
	}
	var text []byte
	if contentType == typeJSON {
		text, _ = protojson.Marshal(answer) // numbers and texts of our own
	} else {
		text, _ = proto.Marshal(answer)
	}
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(text) // whoever asked is gone if this fails
}

// refuseOTLP answers with a google.rpc.Status, as the protocol wants.
func refuseOTLP(w http.ResponseWriter, contentType string, f *fault) {
	code := uint64(3) // INVALID_ARGUMENT
	switch f.status {
	case http.StatusUnauthorized:
		code = 16 // UNAUTHENTICATED
	case http.StatusTooManyRequests:
		code = 8 // RESOURCE_EXHAUSTED
	case http.StatusServiceUnavailable:
		code = 14 // UNAVAILABLE
	}
	var text []byte
	if contentType == typeJSON {
		text, _ = json.Marshal(map[string]any{"code": code, "message": f.text}) // of our own
	} else {
		contentType = typeProtobuf
		text = protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), code)
		text = protowire.AppendString(protowire.AppendTag(text, 2, protowire.BytesType), f.text)
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(f.status)
	_, _ = w.Write(text) //nolint:gosec // texts of our own, as JSON or Protocol Buffers; and whoever asked is gone if this fails
}
