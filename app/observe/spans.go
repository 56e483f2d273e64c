package observe

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/palisade-security/palisade/event"
)

// Spans sends one server span per request to an OpenTelemetry collector over OTLP/HTTP, with the ids that
// the service saw in its traceparent header.
type Spans struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	base     context.Context //nolint:containedctx // spans are made after their requests; they hang on the exporter's life
}

// NewSpans connects lazily; an unreachable collector costs spans, never requests. Sample is the share of
// traces kept, decided by trace id, so that every part of a trace decides alike.
func NewSpans(ctx context.Context, endpoint string, headers map[string]string, sample float64, fleet string) (*Spans, error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint+"/v1/traces"), otlptracehttp.WithHeaders(headers))
	if err != nil {
		return nil, fmt.Errorf("preparing OTLP traces to %q: %w", endpoint, err)
	}
	p := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.TraceIDRatioBased(sample)),
		sdktrace.WithIDGenerator(givenIDs{}),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "palisade"), attribute.String("service.namespace", fleet))),
	)
	return &Spans{provider: p, tracer: p.Tracer("github.com/palisade-security/palisade"), base: context.WithoutCancel(ctx)}, nil
}

// Close sends what is waiting.
func (s *Spans) Close(ctx context.Context) error { return s.provider.Shutdown(ctx) }

type idsKey struct{}

type ids struct {
	trace trace.TraceID
	span  trace.SpanID
}

// givenIDs hands out the ids that the request already has.
type givenIDs struct{}

// NewIDs returns the ids in ctx.
func (givenIDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	v, _ := ctx.Value(idsKey{}).(ids)
	return v.trace, v.span
}

// NewSpanID returns the span id in ctx.
func (givenIDs) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	v, _ := ctx.Value(idsKey{}).(ids)
	return v.span
}

// Observe makes a span of e.
func (s *Spans) Observe(e *event.Event) {
	t, terr := trace.TraceIDFromHex(e.TraceID)
	sp, serr := trace.SpanIDFromHex(e.SpanID)
	if terr != nil || serr != nil || e.Log != nil {
		return
	}
	name := e.Method
	if e.Template != "" {
		name += " " + e.Template
	}
	ctx := context.WithValue(s.base, idsKey{}, ids{t, sp})
	kind := trace.SpanKindServer
	if e.Side == event.SideOutbound { // the sidecar of whoever asks
		kind = trace.SpanKindClient
	}
	_, span := s.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithTimestamp(e.Time), trace.WithNewRoot())
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("http.request.method", e.Method), attribute.String("url.path", e.Path), attribute.String("url.scheme", e.Scheme),
			attribute.String("server.address", e.Host), attribute.String("client.address", e.Client), attribute.String("http.route", e.Template),
			attribute.Int("http.response.status_code", e.Status), attribute.String("palisade.request_id", e.ID), attribute.String("palisade.service", e.Service), attribute.String("palisade.side", sideOf(e.Side)),
			attribute.Bool("palisade.allowed", e.Allowed), attribute.String("palisade.problem", e.Problem))
		at := e.Time
		for i := range e.Trail {
			st := &e.Trail[i]
			at = at.Add(st.Took)
			span.AddEvent(st.Name, trace.WithTimestamp(at), trace.WithAttributes(attribute.String("outcome", st.Outcome.String()), attribute.Int64("took_us", st.Took.Microseconds())))
		}
		if e.Status >= 500 {
			span.SetStatus(codes.Error, e.Problem)
		}
	}
	span.End(trace.WithTimestamp(e.Time.Add(max(e.Took, time.Microsecond))))
}
