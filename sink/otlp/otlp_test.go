package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/sink/sinktest"
)

// double is a collector: its messages are OpenTelemetry's own.
type double struct {
	collector.UnimplementedLogsServiceServer
	t   *testing.T
	got []*collector.ExportLogsServiceRequest
	say *collector.ExportLogsServiceResponse
	err error // of gRPC
}

func (d *double) Export(ctx context.Context, q *collector.ExportLogsServiceRequest) (*collector.ExportLogsServiceResponse, error) {
	if in, _ := metadata.FromIncomingContext(ctx); len(in.Get("x-key")) != 1 || in.Get("x-key")[0] != "s3cret" {
		d.t.Errorf("metadata %v", in)
	}
	d.got = append(d.got, q)
	return d.say, d.err
}

func (d *double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/logs" || r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("X-Key") != "s3cret" {
		d.t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	if d.err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		d.t.Error(err)
		return
	}
	text, err := io.ReadAll(z)
	q := &collector.ExportLogsServiceRequest{}
	if err := errors.Join(err, proto.Unmarshal(text, q)); err != nil {
		d.t.Error(err)
	}
	d.got = append(d.got, q)
	out, _ := proto.Marshal(d.say)
	_, _ = w.Write(out)
}

// check compares what arrived with what was sent.
func (d *double) check(records []sink.Record) {
	d.t.Helper()
	at := 0
	for _, resource := range d.got[0].GetResourceLogs() {
		for _, l := range resource.GetScopeLogs()[0].GetLogRecords() {
			e, err := event.Parse([]byte(l.GetBody().GetStringValue()))
			want := records[at].Event
			if err != nil || e.ID != want.ID || l.GetTimeUnixNano() != uint64(want.Time.UnixNano()) || len(l.GetTraceId()) != len(want.TraceID)/2 {
				d.t.Errorf("%v: %v", err, l)
			}
			at++
		}
	}
	if at != len(records) {
		d.t.Errorf("%d log records of %d", at, len(records))
	}
	d.got = nil
}

// partial checks that what is refused without a name is counted.
func (d *double) partial(to sink.Target) {
	d.t.Helper()
	d.say = &collector.ExportLogsServiceResponse{PartialSuccess: &collector.ExportLogsPartialSuccess{RejectedLogRecords: 2, ErrorMessage: "too old"}}
	err := to.Send(d.t.Context(), sinktest.Records(5))
	if partial, ok := errors.AsType[*sink.PartialError](err); !ok || partial.Unnamed != 2 || partial.Reason != "too old" || partial.Again != nil {
		d.t.Errorf("%v", err)
	}
	d.say = nil
}

var secret = map[string]string{"x-key": "s3cret"} //nolint:gochecknoglobals // a constant

func TestHTTP(t *testing.T) {
	d := &double{t: t}
	server := httptest.NewServer(d)
	defer server.Close()
	to, err := New(Options{URL: server.URL + "/", Headers: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer to.(io.Closer).Close()
	records := sinktest.Records(1000)
	if err := to.Send(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	d.check(records)
	d.partial(to)
	if err := to.Send(t.Context(), sinktest.Samples()); err != nil {
		t.Errorf("of what breaks formats: %v", err)
	}
	d.err = errors.New("400")
	if _, refused := errors.AsType[*sink.RefusedError](to.Send(t.Context(), records)); !refused {
		t.Error("400 is for good")
	}
}

func TestGRPC(t *testing.T) {
	d := &double{t: t}
	secured := httptest.NewUnstartedServer(nil)
	secured.StartTLS()
	defer secured.Close()
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: secured.TLS.Certificates, NextProtos: []string{"h2"}})))
	collector.RegisterLogsServiceServer(server, d)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(ln) }()
	defer server.Stop()
	to, err := New(Options{URL: "grpcs://" + ln.Addr().String(), Headers: secret, TLS: secured.Client().Transport.(*http.Transport).TLSClientConfig})
	if err != nil {
		t.Fatal(err)
	}
	defer to.(io.Closer).Close()
	records := sinktest.Records(1000)
	if err := to.Send(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	d.check(records)
	d.partial(to)
	d.err = status.Error(codes.InvalidArgument, "bad")
	if _, refused := errors.AsType[*sink.RefusedError](to.Send(t.Context(), records)); !refused {
		t.Error("InvalidArgument is for good")
	}
	d.err = status.Error(codes.ResourceExhausted, "grpc: received message larger than max (5 vs. 4)")
	if err := to.Send(t.Context(), records); !errors.Is(err, sink.ErrTooLarge) {
		t.Errorf("%v", err)
	}
	d.err = status.Error(codes.Unauthenticated, "no s3cret for you")
	if err := to.Send(t.Context(), records); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
	later, err := status.New(codes.Unavailable, "later").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(42 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	d.err = later.Err()
	err = to.Send(t.Context(), records)
	if busy, ok := errors.AsType[*sink.BusyError](err); !ok || busy.After != 42*time.Second {
		t.Errorf("%v", err)
	}
	other, err := New(Options{URL: "grpcs://" + ln.Addr().String(), Headers: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer other.(io.Closer).Close()
	if err := other.Send(t.Context(), records); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority: %v", err)
	}
}

// TestRecords holds the log records of one event of each kind, but for their bodies.
func TestRecords(t *testing.T) {
	var out strings.Builder
	for _, r := range sinktest.Samples() {
		l := record(r.Event, 0)
		l.Body = nil
		text, err := protojson.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		var plain bytes.Buffer // protojson puts spaces in by chance
		if err := json.Compact(&plain, text); err != nil {
			t.Fatal(err)
		}
		out.WriteString(plain.String() + "\n")
	}
	sinktest.Golden(t, "testdata/records.golden", []byte(out.String()))
}

func TestFields(t *testing.T) {
	sinktest.CheckFields(t, Fields())
	sinktest.CheckTable(t, "../../docs/export-events.md", Fields())
}
