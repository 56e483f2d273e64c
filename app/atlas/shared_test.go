package atlas

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/pgtest"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/shared"
	"github.com/palisade-security/palisade/topology"
)

var postgres pgtest.Server

func TestMain(m *testing.M) {
	code := m.Run()
	postgres.Stop()
	os.Exit(code)
}

func openShared(t *testing.T, location string) *shared.Store {
	t.Helper()
	s, err := shared.Open(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func sharedBook(s *shared.Store) Book {
	return Book{func(ctx context.Context) (fs.FS, error) { return s.Files(ctx, shared.Maps), nil }}
}

// TestOneKeepsForAll: of several controls one keeps the map. When it is gone, or has only lost its connection, another goes on with each
// event once, under the models that were in force while others kept it; who has lost the right cannot write.
func TestOneKeepsForAll(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	location := postgres.Database(t)
	s := openShared(t, location)
	snap, declared := fleet(t, "")
	inForce := func() (*model.Snapshot, *model.Fleet) { return snap, declared }
	control := func() *Keeper {
		return &Keeper{
			Model: inForce, Log: slog.New(slog.DiscardHandler), Open: func(context.Context) (Source, error) { return s, nil },
			Shelf: func(ctx context.Context) (Shelf, error) { return Shared(ctx, location) },
		}
	}
	want := topology.NewFold(Declared(inForce()))
	calls := 0
	call := func(at time.Time) {
		t.Helper()
		calls++
		e := &event.Event{
			Time: at, ID: fmt.Sprint("call-", calls), Side: event.SideInbound, Workload: "spiffe://shop.example/service/web", Service: "orders",
			Route: "mesh:orders:/**", Allowed: true, Status: 200, Took: time.Duration(calls) * time.Millisecond, TLSVersion: "1.3",
		}
		must(s.Append(t.Context(), []*event.Event{e}))
		want.Event(e)
	}
	take := func(k *Keeper, now time.Time) {
		t.Helper()
		var err error
		k.files, err = k.Shelf(t.Context())
		must(err)
		must(k.begin(t.Context(), s))
		must(k.note(now))
		_, err = k.read(t.Context(), s)
		must(err)
	}
	one, two := control(), control()
	call(noon)
	take(one, noon)
	must(one.flush())
	if err := two.follow(t.Context()); !errors.Is(err, ErrStandby) {
		t.Errorf("both keep it: %v", err)
	}
	call(noon.Add(time.Minute))
	_, err := one.read(t.Context(), s)
	must(err) // and it is not written: this one is cut off

	postgres.SQL(t, location, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
	take(two, noon.Add(time.Hour))
	must(two.flush())
	if err := one.flush(); err == nil {
		t.Error("who has lost the right has written")
	}
	_ = one.files.Close() // its connection is gone

	changed := noon.Add(2 * time.Hour)
	snap, declared = fleet(t, `, callers: [db]`)
	must(two.note(changed))
	must(two.files.Close())
	call(noon.Add(2 * time.Minute)) // late
	take(one, changed.Add(time.Hour))
	must(one.flush())
	defer func() { must(one.files.Close()) }()
	got, err := sharedBook(s).Map(t.Context(), noon, noon.Add(time.Hour))
	must(err)
	if len(got.Models) != 1 {
		t.Errorf("models of the first hour: %v", got.Models)
	}
	got.Models = nil
	if a, b := text(t, got), text(t, want.Map()); a != b {
		t.Errorf("kept\n%s\nwant\n%s", a, b)
	}
	c, err := sharedBook(s).Contents(t.Context())
	must(err)
	if len(c.Models) != 2 || !c.Models[1].Since.Equal(changed) {
		t.Errorf("models %v, and the second was in force from %v", c.Models, changed)
	}
}
