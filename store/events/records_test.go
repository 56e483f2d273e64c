package events_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/query/querytest"
	"github.com/palisade-security/palisade/store/segment"
)

// TestFollow seals and merges while events come and one follows them.
func TestFollow(t *testing.T) {
	s, _ := open(t, events.Options{Dir: t.TempDir(), SealRows: 300, SealAge: 20 * time.Millisecond, MergeRows: 1000})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, func(err error) { t.Error(err) }) }()
	querytest.Follow(t, s, eventtest.New(6, start, time.Second).Take(4000))
	cancel()
	must(t, <-done)
}

// numbered are the records that a store hands out.
func numbered(t testing.TB, s *events.Store) map[uint64]string {
	t.Helper()
	out := map[uint64]string{}
	for r, err := range s.Records(t.Context(), 0) {
		must(t, err)
		out[r.Number] = string(r.JSON())
	}
	return out
}

// TestNumbers holds that an event keeps its number through sealing, merging, retention and restarts, also where the log is
// replayed after what it was compared with has been deleted.
func TestNumbers(t *testing.T) {
	o := events.Options{Dir: t.TempDir(), Keep: map[string]time.Duration{segment.ClassRequest: time.Hour}}
	s, _ := open(t, o)
	given := eventtest.New(3, start, time.Second).Take(6000)
	shuffled := slices.Clone(given)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	want := map[uint64]string{}
	again := func() {
		t.Helper()
		must(t, s.Close())
		s, _ = open(t, o)
		querytest.Numbered(t, s, want)
	}
	for i, part := range slices.Collect(slices.Chunk(shuffled, 1000)) {
		if i > 0 {
			must(t, s.Append(t.Context(), shuffled[i*1000-500:i*1000])) // delivered again
		}
		must(t, s.Append(t.Context(), part))
		for j, e := range part {
			want[uint64(i*1000+j+1)] = string(event.AppendJSON(nil, e))
		}
		if i%2 == 0 {
			must(t, s.Seal(t.Context()))
		}
		again()
	}
	must(t, s.Compact(t.Context(), start.Add(24*time.Hour)))
	querytest.Numbered(t, s, want)

	// What is in the log behind the segments has met duplicates that retention deletes before the log is replayed.
	late := &event.Event{ID: "late", Time: start.Add(3 * time.Hour), Service: "orders", Method: "GET", Path: "/"}
	must(t, s.Seal(t.Context()))
	must(t, s.Append(t.Context(), []*event.Event{given[0], given[1], late, given[2]}))
	want[uint64(len(given)+1)] = string(event.AppendJSON(nil, late))
	must(t, s.Retain(t.Context(), start.Add(4*time.Hour)))
	for n, line := range want {
		if strings.Contains(line, `"class_uid":4002`) && n <= uint64(len(given)) {
			delete(want, n)
		}
	}
	querytest.Numbered(t, s, want)
	again()

	request := slices.IndexFunc(given, func(e *event.Event) bool { return segment.ClassOf(e) == segment.ClassRequest })
	must(t, s.Append(t.Context(), given[request:request+1])) // was deleted
	again()
	next, err := s.Next(t.Context())
	must(t, err)
	if next != uint64(len(given)+2) {
		t.Errorf("the next number is %d", next)
	}
}

// TestRecordsDamaged goes on behind what cannot be read.
func TestRecordsDamaged(t *testing.T) {
	o := events.Options{Dir: t.TempDir()}
	s, _ := open(t, o)
	given := eventtest.New(1, start, time.Second).Take(2000)
	must(t, s.Append(t.Context(), given[:1000]))
	must(t, s.Seal(t.Context()))
	must(t, s.Append(t.Context(), given[1000:]))
	b, err := os.ReadFile(files(t, o.Dir)[0])
	must(t, err)
	for i := range len(b) / 2 {
		b[i] ^= 0x55
	}
	must(t, os.WriteFile(files(t, o.Dir)[0], b, 0o600))
	last, failed := uint64(0), 0
	for r, err := range s.Records(t.Context(), 1) {
		if _, damaged := errors.AsType[*segment.DamageError](err); damaged {
			failed++
			continue
		}
		must(t, err)
		last = r.Number
	}
	if failed == 0 || last != 2000 {
		t.Errorf("%d errors, the last number is %d", failed, last)
	}
}

// TestClosedTells wakes who waits.
func TestClosedTells(t *testing.T) {
	s, _ := open(t, events.Options{Dir: t.TempDir()})
	done := make(chan error, 1)
	go func() { done <- s.Await(t.Context(), 1) }()
	must(t, s.Close())
	if err := <-done; !errors.Is(err, events.ErrClosed) {
		t.Errorf("%v", err)
	}
	for _, err := range s.Records(t.Context(), 0) {
		if !errors.Is(err, events.ErrClosed) {
			t.Errorf("%v", err)
		}
	}
	if _, err := s.Last(t.Context(), query.Query{}, 1, query.Cursor{}); !errors.Is(err, events.ErrClosed) {
		t.Errorf("%v", err)
	}
}
