package events_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/internal/buckettest"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/segment"
)

// TestHold: what is held stays when the rest of its segments is deleted, through a restart, until it is released; and counts as deleted
// only then.
func TestHold(t *testing.T) {
	o := events.Options{Dir: t.TempDir(), Keep: map[string]time.Duration{segment.ClassRequest: time.Hour}}
	s, _ := open(t, o)
	given := eventtest.New(3, start, time.Second).Take(4000)
	for part := range slices.Chunk(given, 500) {
		must(t, s.Append(t.Context(), part))
		must(t, s.Seal(t.Context()))
	}
	hold := query.Hold{Name: "case-1", Query: "service:orders", From: start.Add(10 * time.Minute), Reason: "a lawsuit", By: "root", Placed: start}
	must(t, s.Hold(t.Context(), hold))
	if err := s.Hold(t.Context(), hold); !errors.Is(err, query.ErrHeld) {
		t.Error(err)
	}
	meant, err := hold.Meant()
	must(t, err)
	stays := func(e *event.Event) bool { return segment.ClassOf(e) != segment.ClassRequest || meant.Match(e) }
	held, gone := slices.DeleteFunc(slices.Clone(given), func(e *event.Event) bool { return !stays(e) }), uint64(0)
	for _, e := range given {
		if !stays(e) {
			gone++
		}
	}
	told := map[string]events.Deleted{}
	s.OnDelete(func(all map[string]events.Deleted) error { told = all; return nil })
	must(t, s.Retain(t.Context(), start.Add(24*time.Hour)))
	same(t, s, held)
	if n := told[segment.ClassRequest].Count; n != gone || gone == 0 {
		t.Errorf("%d are told as deleted, want %d", n, gone)
	}
	before := files(t, o.Dir)
	must(t, s.Retain(t.Context(), start.Add(25*time.Hour)))
	if after := files(t, o.Dir); !slices.Equal(before, after) {
		t.Error("what is left was written again")
	}
	must(t, s.Close())

	s, _ = open(t, o)
	if all, err := s.Holds(t.Context()); err != nil || len(all) != 1 || all[0] != hold {
		t.Errorf("%+v, %v", all, err)
	}
	must(t, s.Retain(t.Context(), start.Add(26*time.Hour)))
	must(t, s.Compact(t.Context(), start.Add(50*time.Hour)))
	must(t, s.Retain(t.Context(), start.Add(51*time.Hour)))
	same(t, s, held)

	late := *held[slices.IndexFunc(held, meant.Match)]
	late.ID = event.NewID(late.Time)
	must(t, s.Append(t.Context(), []*event.Event{&late})) // as old as what was deleted, and held
	same(t, s, append(slices.Clone(held), &late))

	if was, err := s.Release(t.Context(), "case-1"); err != nil || was != hold {
		t.Errorf("%+v, %v", was, err)
	}
	if _, err := s.Release(t.Context(), "case-1"); !errors.Is(err, query.ErrNoHold) {
		t.Error(err)
	}
	must(t, s.Seal(t.Context()))
	must(t, s.Retain(t.Context(), start.Add(51*time.Hour)))
	same(t, s, slices.DeleteFunc(slices.Clone(given), func(e *event.Event) bool { return segment.ClassOf(e) == segment.ClassRequest }))
}

// TestLonger keeps the events of some services longer than others of their class.
func TestLonger(t *testing.T) {
	orders := query.Is{Field: query.Service, Value: "orders"}
	o := events.Options{
		Dir: t.TempDir(), Keep: map[string]time.Duration{segment.ClassRequest: time.Hour, segment.ClassConnection: time.Hour, segment.ClassAct: time.Hour},
		Longer: []query.Longer{{Where: orders, Keep: 48 * time.Hour}},
	}
	s, _ := open(t, o)
	given := eventtest.New(3, start, time.Second).Take(1000)
	must(t, s.Append(t.Context(), given))
	must(t, s.Seal(t.Context()))
	must(t, s.Retain(t.Context(), start.Add(24*time.Hour)))
	q := query.Query{Where: orders}
	same(t, s, slices.DeleteFunc(slices.Clone(given), func(e *event.Event) bool { return !q.Match(e) }))
	must(t, s.Retain(t.Context(), start.Add(72*time.Hour)))
	same(t, s, nil)
}

// TestHoldAway: while what is held is read from a bucket that does not answer, events are sealed and holds are placed; what they changed is
// left to the next time.
func TestHoldAway(t *testing.T) {
	server := buckettest.Start(t)
	s, o, given := filled(t, server, events.Options{Keep: map[string]time.Duration{segment.ClassRequest: time.Hour}})
	orders, payments := query.Hold{Name: "case-1", Query: "service:orders"}, query.Hold{Name: "case-2", Query: "service:payments"}
	must(t, s.Hold(t.Context(), orders))
	asked, resume := server.Stall(t)
	done := make(chan error, 1)
	go func() { done <- s.Retain(t.Context(), later) }()
	<-asked
	must(t, s.Seal(t.Context()))
	must(t, s.Hold(t.Context(), payments))
	select {
	case <-asked:
		t.Fatal("the bucket was given up and asked again before events could be sealed")
	case err := <-done:
		t.Fatalf("nothing is shown, for it was read already: %v", err)
	default:
	}
	resume()
	must(t, <-done)
	same(t, s, given)
	must(t, s.Retain(t.Context(), later))
	held := query.Query{Where: query.Or{query.Is{Field: query.Service, Value: "orders"}, query.Is{Field: query.Service, Value: "payments"}}}
	left := slices.DeleteFunc(slices.Clone(given), func(e *event.Event) bool { return segment.ClassOf(e) == segment.ClassRequest && !held.Match(e) })
	if len(left) == len(given) {
		t.Fatal("nothing is to be deleted")
	}
	same(t, s, left)
	must(t, s.Deposit(t.Context(), later.Add(24*time.Hour)))
	if n := len(files(t, o.Dir)); n != 0 {
		t.Errorf("%d files are left behind", n)
	}
	same(t, s, left)
}

// TestHoldDamaged: what cannot be read is not deleted while something is held, and a store that cannot read its holds does not open.
func TestHoldDamaged(t *testing.T) {
	o := events.Options{Dir: t.TempDir(), Keep: map[string]time.Duration{segment.ClassRequest: time.Hour}}
	s, _ := open(t, o)
	must(t, s.Append(t.Context(), eventtest.New(3, start, time.Second).Take(1000)))
	must(t, s.Seal(t.Context()))
	must(t, s.Hold(t.Context(), query.Hold{Name: "case-1", Query: "service:orders"}))
	must(t, s.Close())
	for _, name := range files(t, o.Dir) {
		if strings.Contains(name, "-"+segment.ClassRequest+".") {
			must(t, os.Truncate(name, 100))
		}
	}
	s, _ = open(t, o)
	before := len(files(t, o.Dir))
	if err := s.Retain(t.Context(), start.Add(24*time.Hour)); err == nil {
		t.Error("nothing is told")
	}
	if after := len(files(t, o.Dir)); after != before {
		t.Errorf("%d segments of %d", after, before)
	}
	must(t, s.Close())
	must(t, os.WriteFile(filepath.Join(o.Dir, "holds.json"), []byte(`[{"name":"case-1"`), 0o600))
	if _, _, err := events.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "holds.json") {
		t.Error(err)
	}
}
