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
		if _, _, err := d.receive(id, wire.Report{Instance: instance, Number: 1, Started: now}, now); err != nil {
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
	c.strangers.budget.begun = time.Now().Add(-span)
	if omitted, ok := c.strangers.may(time.Now()); !ok || omitted != strangersMost {
		t.Errorf("in the next span %v, %d not recorded", ok, omitted)
	}
}

// TestNotesWithoutEnd lets one identity report that something has happened, again and again: what is recorded of it is bounded, an honest
// proxy's notes come again until they are, and no other identity waits for it.
func TestNotesWithoutEnd(t *testing.T) {
	d := newDesk(newStore(t))
	now := time.Now()
	recorded := 0
	for i := range 50 { // each time as another process, so that nothing is known of its notes
		r := wire.Report{Instance: "liar", Number: 1, Started: now.Add(time.Duration(i))}
		for n := range uint64(maxNotes) {
			r.Notes = append(r.Notes, wire.Note{Number: n + 1, Kind: "x"})
		}
		fresh, _, err := d.receive("spiffe://a/service/liar", r, now)
		if err != nil {
			t.Fatal(err)
		}
		recorded += len(fresh)
	}
	if recorded != notesMost {
		t.Errorf("%d notes are recorded, expected %d", recorded, notesMost)
	}
	r := wire.Report{Instance: "honest", Number: 1, Started: now}
	for n := range uint64(2) {
		r.Notes = append(r.Notes, wire.Note{Number: n + 1, Kind: "x"})
	}
	d.budget("spiffe://a/service/honest").begun, d.budget("spiffe://a/service/honest").taken = now, notesMost-1
	if fresh, noted, err := d.receive("spiffe://a/service/honest", r, now); err != nil || len(fresh) != 1 || noted != 1 {
		t.Errorf("as far as there is room: %v, %d, %v", fresh, noted, err)
	}
	r.Number++
	if fresh, noted, err := d.receive("spiffe://a/service/honest", r, now.Add(span)); err != nil || len(fresh) != 1 || fresh[0].Number != 2 || noted != 2 {
		t.Errorf("the other one later: %v, %d, %v", fresh, noted, err)
	}
}

// TestReportRefused holds what no honest proxy says: administrators see it on their terminals, and callers connect to it.
func TestReportRefused(t *testing.T) {
	for name, change := range map[string]func(*wire.Report){
		"no instance": func(r *wire.Report) { r.Instance = "" }, "escape in the instance": func(r *wire.Report) { r.Instance = "a\x1b[2J" },
		"escape in an address": func(r *wire.Report) { r.Addresses = []string{"\x1b[2Ja:1"} }, "line break in an address": func(r *wire.Report) { r.Addresses = []string{"a\nb:1"} },
		"no port": func(r *wire.Report) { r.Addresses = []string{"a:"} }, "a name as port": func(r *wire.Report) { r.Addresses = []string{"a:https"} },
		"no host": func(r *wire.Report) { r.Addresses = []string{":1"} }, "stale": func(r *wire.Report) { r.Stale = "\x1b" },
		"a long reason": func(r *wire.Report) { r.Reason = strings.Repeat("x", maxReason+1) },
	} {
		r := wire.Report{Instance: "one", Addresses: []string{"10.0.0.5:9443", "[::1]:1", "host.example:65535"}}
		if err := checkReport(&r); err != nil {
			t.Fatal(err)
		}
		change(&r)
		if checkReport(&r) == nil {
			t.Errorf("%s is taken: %+v", name, r)
		}
	}
}
