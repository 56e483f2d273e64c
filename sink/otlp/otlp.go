// Package otlp sends events to OpenTelemetry collectors as log records, over OTLP/HTTP or OTLP/gRPC. The body is the event as
// recorded (OCSF, JSON); attributes follow the semantic conventions.
package otlp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/palisade-security/palisade/sink"
)

// Options say where log records go.
type Options struct {
	URL     string            // http(s)://host:port over OTLP/HTTP, grpc(s)://host:port over OTLP/gRPC
	Headers map[string]string // sent with each request; their values are taken for secret
	TLS     *tls.Config
}

// New connects lazily.
func New(o Options) (sink.Target, error) {
	scheme, address, _ := strings.Cut(o.URL, "://")
	switch scheme {
	case "grpc", "grpcs":
		return newRemote(scheme, strings.TrimRight(address, "/"), o)
	}
	var secrets []string
	for _, v := range o.Headers {
		secrets = append(secrets, v)
	}
	return &target{sink.NewPoster(sink.PosterOptions{
		URL: strings.TrimRight(o.URL, "/") + "/v1/logs", Header: o.Headers, Secrets: secrets, TLS: o.TLS,
	})}, nil
}

// target speaks OTLP/HTTP.
type target struct{ post *sink.Poster }

// Close ends idle connections.
func (t *target) Close() error { return t.post.Close() }

// Send is sink.Target's.
func (t *target) Send(ctx context.Context, records []sink.Record) error {
	body, err := proto.Marshal(request(records))
	if err != nil {
		return fmt.Errorf("writing log records: %w", err)
	}
	reply, err := t.post.Post(ctx, "application/x-protobuf", body)
	if err != nil {
		return err
	}
	if reply.Status != http.StatusOK {
		reply.Body = nil // a Status in protobuf, nothing to be shown
		return t.post.Judge(reply)
	}
	var said collector.ExportLogsServiceResponse
	if err := proto.Unmarshal(reply.Body, &said); err != nil {
		return fmt.Errorf("reading the collector's answer: %w", err)
	}
	return partly(said.GetPartialSuccess(), len(records))
}

// partly is what a partial success says. What it rejects must not be sent again (OTLP specification, partial success).
func partly(p *collector.ExportLogsPartialSuccess, n int) error {
	if rejected := p.GetRejectedLogRecords(); rejected > 0 {
		return &sink.PartialError{Unnamed: int(min(rejected, int64(n))), Reason: sink.Printable(p.GetErrorMessage())}
	}
	return nil
}
