package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/store/query"
)

// sample is a request, one second after the one before it.
func sample(n int) *event.Event {
	at := time.Date(2026, 11, 22, 10, 0, n, 0, time.UTC)
	return &event.Event{
		Time: at, ID: fmt.Sprintf("id-%04d", n), Allowed: n%3 != 0, Service: []string{"orders", "web"}[n%2], Method: "GET", Path: fmt.Sprintf("/%d", n), Status: 200,
	}
}

// record writes samples to a journal.
func record(t *testing.T, o journal.Options, from, to int) {
	t.Helper()
	j, _, err := journal.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	for n := from; n < to; n++ {
		if _, err := j.Append(t.Context(), event.AppendJSON(nil, sample(n))); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// taker is where records are handed to.
type taker struct {
	mu    sync.Mutex
	ids   []string
	lost  uint64
	fails int // that many times
}

func (k *taker) follower(t *testing.T, dir string) *Follower {
	t.Helper()
	return &Follower{
		Journal: dir, Position: filepath.Join(dir, "..", "position"), Log: slog.New(slog.DiscardHandler),
		Deliver: func(_ context.Context, records []journal.Record) error {
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.fails > 0 {
				k.fails--
				return errors.New("away")
			}
			for i := range records {
				e, err := event.Parse(records[i].Data)
				if err != nil {
					t.Error(err)
					continue
				}
				k.ids = append(k.ids, e.ID)
			}
			return nil
		},
		Lost: func(_ context.Context, n uint64, _ string) { k.lost += n },
	}
}

func (k *taker) expect(t *testing.T, from, to int) {
	t.Helper()
	var want []string
	for n := from; n < to; n++ {
		want = append(want, sample(n).ID)
	}
	if !slices.Equal(k.ids, want) {
		t.Errorf("handed on %q, expected %q", k.ids, want)
	}
	k.ids = nil
}

// TestCatchUp hands on what came since, through failures, and all of a journal that has begun anew.
func TestCatchUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	o := journal.Options{Dir: dir}
	record(t, o, 0, 5)
	k := &taker{fails: 2}
	for _, c := range []struct{ from, to int }{{0, 5}, {5, 5}, {5, 9}} {
		if c.from == 5 && c.to > 5 {
			record(t, o, c.from, c.to)
		}
		if err := k.follower(t, dir).CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		k.expect(t, c.from, c.to)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	record(t, o, 20, 40) // more than before, so that the number of the last one is there again
	if err := k.follower(t, dir).CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.expect(t, 20, 40)
	if err := os.WriteFile(filepath.Join(dir, "..", "position"), []byte("{torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.follower(t, dir).CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.expect(t, 20, 40)
	if k.lost != 0 {
		t.Errorf("%d are told as lost", k.lost)
	}
}

// TestGap counts what left the journal before it was handed on.
func TestGap(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	o := journal.Options{Dir: dir, SegmentBytes: 1 << 10, KeepBytes: 4 << 10}
	record(t, o, 0, 3)
	k := &taker{}
	if err := k.follower(t, dir).CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.expect(t, 0, 3)
	record(t, o, 3, 60)
	if err := k.follower(t, dir).CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k.lost == 0 || int(k.lost)+len(k.ids) != 57 || k.ids[len(k.ids)-1] != sample(59).ID {
		t.Errorf("%d lost, handed on %q", k.lost, k.ids)
	}
}

// TestArchive keeps what a journal holds in a store, once, and finds it there as in the journal.
func TestArchive(t *testing.T) {
	folder := t.TempDir()
	dir := filepath.Join(folder, "events")
	record(t, journal.Options{Dir: dir}, 0, 50)
	lost := func(_ context.Context, n uint64, why string) { t.Errorf("%d lost: %s", n, why) }
	opened := 0
	a := New(func(ctx context.Context) (Store, error) {
		if opened++; opened == 1 {
			return nil, errors.New("not yet")
		}
		s, _, err := events.Open(ctx, events.Options{Dir: filepath.Join(folder, "archive")})
		return s, err
	}, lost, slog.New(slog.DiscardHandler))
	if _, err := a.Last(t.Context(), query.Query{}, 1, query.Cursor{}); !errors.Is(err, ErrOpening) {
		t.Errorf("before it is open: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	for range 2 { // the second time all is there already
		f := &Follower{Journal: dir, Position: filepath.Join(folder, "position"), Deliver: a.Take, Lost: lost, Log: slog.New(slog.DiscardHandler)}
		if err := f.CatchUp(ctx); err != nil {
			t.Fatal(err)
		}
		if f.Behind() != 0 || f.Err() != nil {
			t.Errorf("behind by %s, %v", f.Behind(), f.Err())
		}
		if err := os.Remove(f.Position); err != nil {
			t.Fatal(err)
		}
	}
	j := &Journal{Dir: dir, Warn: func(err error) { t.Error(err) }}
	for _, text := range []string{"", "service:orders", "outcome:denied path:/3*", "nobody"} {
		where, err := query.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		q := query.Query{Where: where, From: sample(2).Time, To: sample(48).Time}
		same(t, text+": last", func(e Finder) (any, error) { return ids(e.Last(ctx, q, 7, query.CursorOf(sample(30)))) }, a, j)
		same(t, text+": count", func(e Finder) (any, error) { return e.Count(ctx, q, query.Service, 5) }, a, j)
		same(t, text+": histogram", func(e Finder) (any, error) { return e.Histogram(ctx, q, 7*time.Second, query.Service, 5) }, a, j)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Finder is what stores and journals answer.
type Finder interface {
	Last(ctx context.Context, q query.Query, n int, from query.Cursor) (*query.Page, error)
	Count(ctx context.Context, q query.Query, by query.Field, top int) (*query.Counts, error)
	Histogram(ctx context.Context, q query.Query, step time.Duration, by query.Field, top int) (*query.Series, error)
}

func ids(p *query.Page, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range p.Events {
		out = append(out, e.ID)
	}
	return append(out, p.Next.Key), nil
}

func same(t *testing.T, what string, ask func(Finder) (any, error), a, b Finder) {
	t.Helper()
	one, err := ask(a)
	other, err2 := ask(b)
	if err != nil || err2 != nil || fmt.Sprintf("%+v", one) != fmt.Sprintf("%+v", other) {
		t.Errorf("%s: %+v (%v), %+v (%v)", what, one, err, other, err2)
	}
}

// TestKept: who is told that records need not stay learns it for all of them, also those that came last and those of an earlier run, and never before the file says so.
func TestKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	record(t, journal.Options{Dir: dir}, 0, 5)
	k := &taker{}
	for _, want := range [][]uint64{{5}, {5}} {
		f := k.follower(t, dir)
		told := make(chan uint64, 16)
		f.Kept = func(_ context.Context, upTo uint64) {
			data, err := os.ReadFile(f.Position)
			if err != nil || !strings.Contains(string(data), fmt.Sprintf(`"last":%d,`, upTo)) {
				t.Errorf("up to %d, and the file says %s, %v", upTo, data, err)
			}
			told <- upTo
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		for _, n := range want { // while nothing else comes
			select {
			case upTo := <-told:
				if upTo != n {
					t.Errorf("up to %d, expected %d", upTo, n)
				}
			case <-ctx.Done():
				t.Fatal("nobody is told")
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
