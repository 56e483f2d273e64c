package control

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/store/table"
)

func newStore(t *testing.T) *table.Store {
	t.Helper()
	store, err := table.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "control.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func reports(t *testing.T, store *table.Store) (out []table.Report) {
	t.Helper()
	err := store.Read(t.Context(), func(tx *table.Tx) (err error) {
		out, err = tx.Reports(t.Context())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestInstancesWithoutEnd lets one identity report as thousands of instances: neither memory nor the store may grow with it,
// and nobody else is forgotten for it.
func TestInstancesWithoutEnd(t *testing.T) {
	store := newStore(t)
	d := newDesk(store)
	now := time.Now()
	report := func(id, instance string) {
		if _, err := d.receive(id, wire.Report{Instance: instance, Number: 1, Started: now}, now); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Millisecond)
	}
	report("spiffe://a/service/honest", "one")
	for i := range 1000 {
		report("spiffe://a/service/liar", fmt.Sprint("i", i))
		if i%100 == 0 {
			if err := d.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := d.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(reports(t, store)); n != maxInstances+1 || len(d.entries()) != maxInstances+1 {
		t.Errorf("%d rows, %d in memory, expected %d", n, len(d.entries()), maxInstances+1)
	}
	if d.get("spiffe://a/service/honest", "one") == nil || d.get("spiffe://a/service/liar", "i999") == nil {
		t.Error("the wrong ones were forgotten")
	}
	again := newDesk(store)
	if err := again.load(t.Context()); err != nil || len(again.entries()) != maxInstances+1 {
		t.Errorf("%d are read again: %v", len(again.entries()), err)
	}
}

// TestStrangersWithoutEnd lets nobody ask for what administrators may, again and again.
func TestStrangersWithoutEnd(t *testing.T) {
	events := 0
	c := &Control{o: Options{Store: newStore(t), Record: func(_ context.Context, _ Event) { events++ }}, log: slog.New(slog.DiscardHandler)}
	mux := http.NewServeMux()
	c.administrators(mux, c.byToken)
	for range 2 * strangersMost {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, admin.RevokePath, strings.NewReader("{}")))
		if w.Code != http.StatusUnauthorized {
			t.Fatalf("answered %d", w.Code)
		}
	}
	if events != strangersMost {
		t.Errorf("%d events, expected %d", events, strangersMost)
	}
	err := c.o.Store.Read(t.Context(), func(tx *table.Tx) error {
		acts, err := tx.Acts(t.Context(), 0, 10)
		if len(acts) > 0 {
			t.Errorf("strangers fill the table of acts: %+v", acts[0])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c.strangers.begun = time.Now().Add(-strangersSpan)
	if omitted, ok := c.strangers.may(time.Now()); !ok || omitted != strangersMost {
		t.Errorf("in the next span %v, %d not recorded", ok, omitted)
	}
}
