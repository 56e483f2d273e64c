package otlp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // what collectors take
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/palisade-security/palisade/sink"
)

// remote speaks OTLP/gRPC.
type remote struct {
	conn    *grpc.ClientConn
	client  collector.LogsServiceClient
	headers metadata.MD
	secrets []string
}

func newRemote(scheme, address string, o Options) (*remote, error) {
	secured := insecure.NewCredentials()
	if scheme == "grpcs" {
		config := o.TLS
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		secured = credentials.NewTLS(config)
	}
	conn, err := grpc.NewClient("dns:///"+address, grpc.WithTransportCredentials(secured), grpc.WithUserAgent("palisade"),
		grpc.WithDefaultCallOptions(grpc.UseCompressor("gzip")))
	if err != nil {
		return nil, fmt.Errorf("preparing OTLP logs to %q: %w", address, err)
	}
	out := &remote{conn: conn, client: collector.NewLogsServiceClient(conn), headers: metadata.MD{}}
	for name, value := range o.Headers {
		out.headers.Set(name, value)
		out.secrets = append(out.secrets, value)
	}
	return out, nil
}

// Close ends the connection.
func (r *remote) Close() error { return r.conn.Close() }

// Send is sink.Target's.
func (r *remote) Send(ctx context.Context, records []sink.Record) error {
	said, err := r.client.Export(metadata.NewOutgoingContext(ctx, r.headers), request(records))
	if err != nil {
		return r.judge(err)
	}
	return partly(said.GetPartialSuccess(), len(records))
}

// judge says what an error means (OTLP specification, failures of OTLP/gRPC).
func (r *remote) judge(err error) error {
	st := status.Convert(err)
	text := st.Message()
	for _, secret := range r.secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	reason := st.Code().String() + ": " + sink.Printable(text)
	switch st.Code() { //nolint:exhaustive // all others are for later
	case codes.InvalidArgument:
		return &sink.RefusedError{Reason: reason}
	case codes.ResourceExhausted:
		if strings.Contains(text, "larger than max") { // grpc's own bound of a message
			return sink.ErrTooLarge
		}
	case codes.Unauthenticated, codes.PermissionDenied:
		return errors.New("the collector does not accept our credentials: " + reason)
	}
	busy := &sink.BusyError{Reason: reason}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			busy.After = info.GetRetryDelay().AsDuration()
		}
	}
	return busy
}
