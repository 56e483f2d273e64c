package querytest

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// Taker takes events and hands them out by number.
type Taker interface {
	Append(ctx context.Context, events []*event.Event) error
	Records(ctx context.Context, from uint64) iter.Seq2[query.Record, error]
	Next(ctx context.Context) (uint64, error)
	Await(ctx context.Context, number uint64) error
}

// Numbered fails unless a store hands out exactly some records, by number, from every number on.
func Numbered(t testing.TB, store Taker, want map[uint64]string) {
	t.Helper()
	next, err := store.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []uint64{0, 1, 2, next / 2, next - 1, next, next + 10} {
		expected := 0
		for n := range want {
			if n >= from {
				expected++
			}
			if n >= next {
				t.Fatalf("number %d is not below the next, %d", n, next)
			}
		}
		last := uint64(0)
		for r, err := range store.Records(t.Context(), from) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Number < from || r.Number <= last || want[r.Number] != string(r.JSON()) {
				t.Fatalf("from %d, behind %d: number %d is %s, want %s", from, last, r.Number, r.JSON(), want[r.Number])
			}
			if e, err := event.Parse(r.JSON()); err != nil || !e.Time.Equal(r.Time) {
				t.Fatalf("number %d is of %s: %v", r.Number, r.Time, err)
			}
			last = r.Number
			expected--
		}
		if expected != 0 {
			t.Errorf("from %d: %d records are missing", from, expected)
		}
	}
}

// Follow appends events from several goroutines, some of them twice, while one follows what comes, and holds that numbers
// are dense, each event is there once, and nobody sees a number before those below it.
func Follow(t *testing.T, store Taker, given []*event.Event) {
	t.Helper()
	const writers, batch = 4, 30
	done := make(chan error, writers)
	for w := range writers {
		go func() {
			var failed error
			for at := w * batch; at < len(given); at += writers * batch {
				from, to := max(0, at-batch/3), min(len(given), at+batch)
				failed = errors.Join(failed, store.Append(t.Context(), given[from:to]))
			}
			done <- failed
		}()
	}
	seen := map[uint64]string{}
	once := map[string]bool{}
	for number := uint64(1); number <= uint64(len(given)); {
		if err := store.Await(t.Context(), number); err != nil {
			t.Fatal(err)
		}
		before := number
		for r, err := range store.Records(t.Context(), number) {
			if err != nil || r.Number != number || once[string(r.JSON())] {
				t.Fatalf("number %d, want %d (seen before: %t): %v", r.Number, number, once[string(r.JSON())], err)
			}
			seen[number], once[string(r.JSON())] = string(r.JSON()), true
			number++
		}
		if number == before {
			t.Fatalf("number %d was awaited and is not there", number)
		}
	}
	for range writers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range given {
		if !once[string(event.AppendJSON(nil, e))] {
			t.Errorf("event %s has no number", e.ID)
		}
	}
	Numbered(t, store, seen)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.Await(ctx, uint64(len(given)+1)); !errors.Is(err, context.Canceled) {
		t.Errorf("awaiting what does not come: %v", err)
	}
}
