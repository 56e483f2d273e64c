package intake

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/palisade-security/palisade/event"
)

// bounded holds what is kept of any record: it can be written and read back, and is within its limits.
func bounded(t *testing.T, records []*record) {
	t.Helper()
	const most = 4 << 10
	for _, r := range records {
		e := r.event(&source{Source: Source{Name: "s"}}, sender{address: "192.0.2.1"}, noon, most)
		size := len(e.Log.Text)
		for name, value := range e.Log.Attributes {
			size += len(name) + len(value)
		}
		if size > most || len(e.Log.Attributes) > maxAttributes || len(e.Host) > maxName || len(e.Service) > maxName {
			t.Fatalf("%d bytes, %d attributes", size, len(e.Log.Attributes))
		}
		if e.Time.Before(noon.Add(-oldest)) || e.Time.After(noon.Add(youngest)) {
			t.Fatalf("the time is %s", e.Time)
		}
		if _, err := hex.DecodeString(e.TraceID + e.SpanID); err != nil || len(e.TraceID) != 0 && len(e.TraceID) != 32 {
			t.Fatalf("trace %q", e.TraceID)
		}
		e.Redact(event.NewRedactor(nil))
		if _, err := event.Parse(event.AppendJSON(nil, e)); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte(`{"time":1763900000.5,"level":"warn","msg":"m","a":{"b":[1,{"c":null}]},"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}` + "\nplain\n\xff{\n"))
	f.Add([]byte(`{"ts":1e18,"@l":60,"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","":"","msg":7,"msg":{"x":"y"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		b, fault := readLines("", body)
		if fault == nil {
			bounded(t, b.records)
		}
	})
}

func FuzzOTLP(f *testing.F) {
	seed, err := proto.Marshal(&collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{ScopeLogs: []*logs.ScopeLogs{{LogRecords: []*logs.LogRecord{
		{TimeUnixNano: uint64(noon.UnixNano()), SeverityNumber: 17, SeverityText: "ERROR", TraceId: make([]byte, 16), SpanId: []byte("12345678")},
	}}}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(true, seed)
	f.Add(false, []byte(otlpJSON))
	f.Add(false, []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"zz\"","body":{"doubleValue":"NaN"},"attributes":[{"key":"a","value":{"arrayValue":{"values":[{"doubleValue":"Infinity"}]}}}]}]}]}]}`))
	f.Fuzz(func(t *testing.T, binary bool, body []byte) {
		contentType := typeJSON
		if binary {
			contentType = typeProtobuf
		}
		b, fault := readOTLP(contentType, body)
		if fault == nil {
			bounded(t, b.records)
		}
	})
}

func FuzzSyslog(f *testing.F) {
	f.Add([]byte(`<165>1 2003-10-11T22:14:15.003Z m evntslog - ID47 [x@1 a="\"]"] {"msg":"m"}`))
	f.Add([]byte("<34>Oct 11 22:14:15 mymachine su[1]: 'su root' failed"))
	f.Add([]byte("<13>Feb 29 00:00:00 h t: leap"))
	f.Fuzz(func(t *testing.T, message []byte) {
		bounded(t, []*record{readSyslog(message, noon)})
	})
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("5 <14>x3 abc<14>line\n\n9999999 x"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bufio.NewReader(bytes.NewReader(stream))
		total := int64(0)
		for {
			records, n, err := readFrames(r)
			bounded(t, records)
			if total += n; total > int64(len(stream)) {
				t.Fatalf("%d bytes of %d", total, len(stream))
			}
			if err != nil {
				return
			}
		}
	})
}

func FuzzMoment(f *testing.F) {
	f.Add("2026-11-23 12:00:00,5 +0100")
	f.Add("1763900000123456789")
	f.Fuzz(func(t *testing.T, text string) {
		if at, ok := moment(text); ok && at.Location() != time.UTC {
			t.Errorf("%q is %s", text, at)
		}
	})
}
