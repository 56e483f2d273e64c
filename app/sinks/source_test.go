package sinks_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app/sinks"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/store/query"
)

var start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// record is something that is written to and followed.
type record struct {
	add    func(t *testing.T, events []*event.Event)
	follow func(where query.Query) sink.Source
}

// inJournal is a journal with small segments, of which only a few are kept.
func inJournal(t *testing.T, keep int64) record {
	t.Helper()
	dir := t.TempDir()
	j, _, err := journal.Open(journal.Options{Dir: dir, SegmentBytes: 64 << 10, KeepBytes: keep})
	must(t, err)
	t.Cleanup(func() { must(t, j.Close()) })
	return record{
		add: func(t *testing.T, events []*event.Event) {
			for i, e := range events {
				text := event.AppendJSON(nil, e)
				if i+1 < len(events) && j.Offer(text) {
					continue
				}
				_, err := j.Append(t.Context(), text)
				must(t, err)
			}
		},
		follow: func(where query.Query) sink.Source { return sinks.FromJournal(dir, j.Next, where) },
	}
}

func inStore(t *testing.T) record {
	t.Helper()
	s, _, err := events.Open(t.Context(), events.Options{Dir: t.TempDir()})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return record{
		add: func(t *testing.T, events []*event.Event) { must(t, s.Append(t.Context(), events)) },
		follow: func(where query.Query) sink.Source {
			return sinks.FromStore(func(context.Context) (sinks.Records, error) { return s, nil }, where)
		},
	}
}

func each(t *testing.T, test func(t *testing.T, r record)) {
	t.Helper()
	for name, r := range map[string]func(t *testing.T) record{
		"journal": func(t *testing.T) record { return inJournal(t, 0) }, "store": inStore,
	} {
		t.Run(name, func(t *testing.T) { test(t, r(t)) })
	}
}

// take reads until a position is reached.
func take(t *testing.T, s sink.Source, from, to uint64, most sink.Bound) (ids []string, lost uint64) {
	t.Helper()
	for from < to {
		b, err := s.Next(t.Context(), from, most)
		must(t, err)
		if b.Next <= from || len(b.Records) > most.Records {
			t.Fatalf("from %d: %d records, next %d", from, len(b.Records), b.Next)
		}
		for _, r := range b.Records {
			if r.Number < from || r.Number >= b.Next {
				t.Fatalf("record %d of %d to %d", r.Number, from, b.Next)
			}
			ids = append(ids, r.Event.ID)
		}
		from, lost = b.Next, lost+b.Lost
	}
	return ids, lost
}

func ids(events []*event.Event) (out []string) {
	for _, e := range events {
		out = append(out, e.ID)
	}
	return out
}

// TestFollow reads what is there and what comes, in batches, from anywhere, all of it or what a query means.
func TestFollow(t *testing.T) {
	each(t, func(t *testing.T, r record) {
		all := eventtest.New(7, start, time.Second).Take(1200)
		r.add(t, all[:1000])
		s := r.follow(query.Query{})
		got, lost := take(t, s, 0, 1001, sink.Bound{Records: 300, Bytes: 1 << 30})
		if !slices.Equal(got, ids(all[:1000])) || lost != 0 {
			t.Fatalf("%d of 1000, %d lost", len(got), lost)
		}
		r.add(t, all[1000:])
		if got, _ = take(t, s, 1001, 1201, sink.Bound{Records: 5000, Bytes: 20 << 10}); !slices.Equal(got, ids(all[1000:])) || s.Head() != 1201 {
			t.Errorf("%d of 200, head %d", len(got), s.Head())
		}
		if got, _ = take(t, s, 600, 1201, sink.Bound{Records: 100, Bytes: 1}); !slices.Equal(got, ids(all[599:])) {
			t.Errorf("from the middle, one by one: %d of 601", len(got))
		}
		where, err := query.Parse("outcome:denied")
		must(t, err)
		want := slices.DeleteFunc(slices.Clone(all), func(e *event.Event) bool { return !(&query.Query{Where: where}).Match(e) })
		denied := r.follow(query.Query{Where: where})
		if got, _ = take(t, denied, 0, 1201, sink.Bound{Records: 7, Bytes: 1 << 20}); !slices.Equal(got, ids(want)) || len(want) == 0 {
			t.Errorf("%d of %d", len(got), len(want))
		}
		b, err := s.Next(t.Context(), 5000, sink.Bound{Records: 10, Bytes: 1 << 20})
		if err != nil || b.Next != 11 || len(b.Records) != 10 || b.Lost != 0 {
			t.Errorf("of another record: %v %+v", err, b.Next)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		stopped := errors.New("stopped")
		ended := make(chan error, 1)
		waiting := r.follow(query.Query{})
		go func() {
			_, err := waiting.Next(ctx, 1201, sink.Bound{Records: 7, Bytes: 1 << 20})
			ended <- err
		}()
		cancel(stopped)
		if err := <-ended; !errors.Is(err, stopped) {
			t.Errorf("%v", err)
		}
		for _, one := range []sink.Source{s, denied, waiting} {
			if c, ok := one.(interface{ Close() error }); ok {
				must(t, c.Close())
			}
		}
	})
}

// TestLook moves the head while nobody asks for more.
func TestLook(t *testing.T) {
	r := inStore(t)
	all := eventtest.New(3, start, time.Second).Take(50)
	r.add(t, all[:20])
	s := r.follow(query.Query{})
	take(t, s, 1, 21, sink.Bound{Records: 100, Bytes: 1 << 20})
	r.add(t, all[20:])
	if s.(sink.Looker).Look(t.Context()); s.Head() != 51 { //nolint:forcetypeassert // a test
		t.Errorf("the head is %d", s.Head())
	}
}

// TestGone counts what was deleted before it was read, but not what was gone before all began.
func TestGone(t *testing.T) {
	r := inJournal(t, 256<<10)
	r.add(t, eventtest.New(7, start, time.Second).Take(1000))
	s := r.follow(query.Query{})
	got, lost := take(t, s, 0, 1001, sink.Bound{Records: 5000, Bytes: 1 << 30})
	if len(got) == 0 || len(got) > 500 || lost != 0 {
		t.Errorf("from the oldest %d, %d lost", len(got), lost)
	}
	again, lost := take(t, s, 2, 1001, sink.Bound{Records: 5000, Bytes: 1 << 30})
	if !slices.Equal(again, got) || lost != uint64(999-len(got)) {
		t.Errorf("from 2: %d, %d lost", len(again), lost)
	}
	must(t, s.(interface{ Close() error }).Close())
}
