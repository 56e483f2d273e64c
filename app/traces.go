package app

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
)

// traces sends spans where the snapshot in force says. The zero value sends none.
type traces struct {
	spans atomic.Pointer[observe.Spans]

	mu      sync.Mutex
	of      model.Telemetry // what spans follows
	closing sync.WaitGroup  // those before
}

// untraced says that a proxy which control feeds goes on without.
const untraced = "traces are sent as before, or not at all"

const spansTimeout = 5 * time.Second

// follow takes over what a snapshot says of telemetry. On error it goes on as before. References in headers are resolved here, on
// the host that sends.
func (t *traces) follow(ctx context.Context, snap *model.Snapshot) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if reflect.DeepEqual(t.of, snap.Telemetry) {
		return nil
	}
	var next *observe.Spans
	if to := snap.Telemetry; to.OTLP != "" {
		headers, err := values(to.Headers)
		if err != nil {
			return fmt.Errorf("reading telemetry.headers: %w", err)
		}
		if next, err = observe.NewSpans(ctx, to.OTLP, headers, to.Sample, snap.Fleet); err != nil {
			return err
		}
	}
	t.of = snap.Telemetry
	if before := t.spans.Swap(next); before != nil {
		t.closing.Go(func() { closeSpans(ctx, before) })
	}
	return nil
}

// Observe makes a span of e.
func (t *traces) Observe(e *event.Event) {
	if spans := t.spans.Load(); spans != nil {
		spans.Observe(e)
	}
}

// close sends what is waiting.
func (t *traces) close(ctx context.Context) {
	if spans := t.spans.Swap(nil); spans != nil {
		closeSpans(ctx, spans)
	}
	t.closing.Wait()
}

func closeSpans(ctx context.Context, spans *observe.Spans) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), spansTimeout)
	defer cancel()
	if err := spans.Close(ctx); err != nil {
		slog.WarnContext(ctx, "sending the last spans", "error", err)
	}
}
