package querytest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// Forged gives a store a record that a sidecar made up under the id and the time of an edge's, then the edge's own; it fails the test unless both are
// there once and pages of one find both. Before its second delivery between is called.
func Forged(t *testing.T, store interface {
	Executor
	Append(ctx context.Context, events []*event.Event) error
}, between func(),
) {
	t.Helper()
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	own := &event.Event{ID: "01a20506-0392-7200", Time: at, Listener: "public", Service: "orders", Status: 403}
	forged := *own
	forged.Side, forged.Listener, forged.Status, forged.Allowed = event.SideInbound, "orders/inbound", 200, true
	for range 2 {
		for _, e := range []*event.Event{&forged, own} {
			if err := store.Append(t.Context(), []*event.Event{e}); err != nil {
				t.Fatal(err)
			}
		}
		between()
	}
	var got []int
	for from, more := (query.Cursor{}), true; more; more = !from.IsZero() {
		page, err := store.Last(t.Context(), query.Query{Where: query.Is{Field: query.ID, Value: own.ID}}, 1, from)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			got = append(got, e.Status)
		}
		from = page.Next
	}
	if slices.Sort(got); !slices.Equal(got, []int{200, 403}) {
		t.Errorf("found %v, want the edge's record and the sidecar's, each once", got)
	}
}
