package engine_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/engine"
)

// TestPanicHoldsNothing holds that a defect in a filter breaks one connection, and neither keeps a place nor
// tells the log what the request held.
func TestPanicHoldsNothing(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	var log bytes.Buffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	r := plain("/a")
	r.Steps = []engine.Step{{Stage: event.StageInspect, DryRun: true, Filter: proxy.FilterFunc(func(_ context.Context, r *proxy.Request) error { panic("at " + r.RawQuery) })}}
	h := newHouse(t, http.NotFoundHandler(), []*engine.Route{r}, nil)
	for range 3 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://shop.localhost/a?password=hunter2", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := h.client.Do(req); err == nil {
			_ = resp.Body.Close()
			t.Fatalf("got %d", resp.StatusCode)
		}
	}
	for begun := time.Now(); h.engine.InFlight() > 0; time.Sleep(time.Millisecond) {
		if time.Since(begun) > time.Second {
			t.Fatal("a place is held")
		}
	}
	if e := h.events.last(t); e.Aborted != "defect" || e.Allowed {
		t.Errorf("event %+v", e)
	}
	if s := log.String(); strings.Contains(s, "hunter2") || !strings.Contains(s, "request handling failed") {
		t.Errorf("log %q", s)
	}
}
