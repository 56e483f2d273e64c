package events_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/query/querytest"
	"github.com/palisade-security/palisade/store/segment"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, o events.Options) (*events.Store, *events.Recovery) {
	t.Helper()
	s, r, err := events.Open(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s, r
}

// lines are the records of events, sorted.
func lines(all []*event.Event) []string {
	var out []string
	for _, e := range all {
		out = append(out, string(event.AppendJSON(nil, e)))
	}
	slices.Sort(out)
	return out
}

// all pages through everything.
func all(t testing.TB, s *events.Store) []*event.Event {
	t.Helper()
	var out []*event.Event
	var from query.Cursor
	for {
		page, err := s.Last(t.Context(), query.Query{}, 1000, from)
		must(t, err)
		out = append(out, page.Events...)
		if from = page.Next; from.IsZero() {
			return out
		}
	}
}

func same(t testing.TB, s *events.Store, want []*event.Event) {
	t.Helper()
	got := all(t, s)
	if !slices.Equal(lines(got), lines(want)) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	if !slices.IsSortedFunc(got, func(a, b *event.Event) int { return query.CursorOf(a).Compare(query.CursorOf(b)) }) {
		t.Error("not newest first")
	}
}

// TestLife takes events through memory, segments, a restart, merging and deletion.
func TestLife(t *testing.T) {
	o := events.Options{Dir: t.TempDir(), Keep: map[string]time.Duration{segment.ClassRequest: 48 * time.Hour}}
	s, _ := open(t, o)
	given := eventtest.New(1, start, time.Second).Take(6000)
	for part := range slices.Chunk(given[:5000], 500) {
		must(t, s.Append(t.Context(), part))
		must(t, s.Append(t.Context(), part[100:200])) // delivered again
		if len(part) > 0 && part[0].ID != given[4500].ID {
			must(t, s.Seal(t.Context()))
		}
	}
	must(t, s.Append(t.Context(), given[:300])) // long sealed
	same(t, s, given[:5000])
	must(t, s.Close())

	s, r := open(t, o)
	if r.Replayed != 500 || len(r.Damaged) != 0 {
		t.Errorf("%+v, want the 500 that were in memory", r)
	}
	must(t, s.Append(t.Context(), given[4000:]))
	same(t, s, given)
	must(t, s.Seal(t.Context()))
	before := len(files(t, o.Dir))
	must(t, s.Compact(t.Context(), start.Add(24*time.Hour)))
	if after := len(files(t, o.Dir)); after >= before {
		t.Errorf("%d segments, before %d", after, before)
	}
	same(t, s, given)
	must(t, s.Retain(t.Context(), start.Add(47*time.Hour)))
	same(t, s, given)
	must(t, s.Retain(t.Context(), start.Add(72*time.Hour)))
	same(t, s, slices.DeleteFunc(slices.Clone(given), func(e *event.Event) bool { return segment.ClassOf(e) == segment.ClassRequest }))
	if logs, _ := filepath.Glob(filepath.Join(o.Dir, "log", "*.seg")); len(logs) != 1 {
		t.Errorf("%d files of the log, all of which is sealed", len(logs))
	}
}

// TestForged: who knows the id of another's record cannot keep that out, neither in memory nor in a segment.
func TestForged(t *testing.T) {
	for name, between := range map[string]func(*events.Store){"memory": func(*events.Store) {}, "segment": func(s *events.Store) { must(t, s.Seal(t.Context())) }} {
		t.Run(name, func(t *testing.T) {
			s, _ := open(t, events.Options{Dir: t.TempDir()})
			querytest.Forged(t, s, func() { between(s) })
		})
	}
}

func files(t testing.TB, dir string) []string {
	t.Helper()
	out, err := filepath.Glob(filepath.Join(dir, "segments", "*.parquet"))
	must(t, err)
	return out
}

func TestRefuses(t *testing.T) {
	o := events.Options{Dir: t.TempDir()}
	s, _ := open(t, o)
	if _, _, err := events.Open(t.Context(), o); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	good := eventtest.New(1, start, time.Second).Next()
	for _, bad := range []*event.Event{{Time: start}, {ID: "x"}, {ID: "x", Time: time.Date(2400, 1, 1, 0, 0, 0, 0, time.UTC)}} {
		if err := s.Append(t.Context(), []*event.Event{good, bad}); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	same(t, s, nil)
	must(t, s.Close())
	if err := s.Append(t.Context(), []*event.Event{good}); err == nil {
		t.Error("a closed store takes events")
	}
	if _, err := s.Count(t.Context(), query.Query{}, query.Service, 1); !errors.Is(err, events.ErrClosed) {
		t.Errorf("a closed store answers: %v", err)
	}
	if _, _, err := events.Open(t.Context(), events.Options{}); err == nil {
		t.Error("a store without directory")
	}
}

// TestDamaged cuts a segment: it is named, what needs it fails, the rest answers.
func TestDamaged(t *testing.T) {
	o := events.Options{Dir: t.TempDir()}
	s, _ := open(t, o)
	given := eventtest.New(1, start, time.Second).Take(2000)
	must(t, s.Append(t.Context(), given[:1000]))
	must(t, s.Seal(t.Context()))
	must(t, s.Append(t.Context(), given[1000:]))
	must(t, s.Close())
	for _, name := range files(t, o.Dir) {
		must(t, os.Truncate(name, 1000))
	}
	s, r := open(t, o)
	var damage *segment.DamageError
	if len(r.Damaged) == 0 || !errors.As(r.Damaged[0], &damage) {
		t.Fatalf("%+v", r)
	}
	if _, err := s.Last(t.Context(), query.Query{}, 10, query.Cursor{}); err != nil {
		t.Errorf("the newest: %v", err)
	}
	if _, err := s.Last(t.Context(), query.Query{}, 2000, query.Cursor{}); !errors.As(err, &damage) {
		t.Errorf("all: %v", err)
	}
	if _, err := s.Histogram(t.Context(), query.Query{From: start, To: start.Add(time.Hour)}, time.Hour, query.None, 0); !errors.As(err, &damage) {
		t.Errorf("over all: %v", err)
	}
}

// TestRun seals by itself, and Append waits for it where memory is short.
func TestRun(t *testing.T) {
	o := events.Options{Dir: t.TempDir(), SealRows: 200, SealAge: 50 * time.Millisecond}
	s, _ := open(t, o)
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context(), func(err error) { t.Error(err) }) }()
	t.Cleanup(func() { must(t, <-done) })
	given := eventtest.New(1, start, time.Second).Take(3000)
	for part := range slices.Chunk(given, 300) {
		must(t, s.Append(t.Context(), part))
	}
	same(t, s, given)
	if len(files(t, o.Dir)) == 0 {
		t.Error("nothing is sealed")
	}
}

// TestAnswers compares with the reference, on events in memory, being sealed and sealed.
func TestAnswers(t *testing.T) {
	s, _ := open(t, events.Options{Dir: t.TempDir()})
	given := append(eventtest.New(5, start, 100*time.Millisecond).Take(3700), eventtest.New(7, start, time.Second).Logs(300)...)
	for i := range given { // some of one moment
		if i%50 < 3 {
			given[i].Time = given[i].Time.Truncate(time.Second)
		}
	}
	shuffled := slices.Clone(given)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for part := range slices.Chunk(shuffled, 900) {
		must(t, s.Append(t.Context(), part))
		if len(part) == 900 {
			must(t, s.Seal(t.Context()))
		}
	}
	querytest.Compare(t, given, s, 150)
}

func TestManifestTells(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "manifest.json"), []byte("{"), 0o600))
	if _, _, err := events.Open(t.Context(), events.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "manifest.json") {
		t.Errorf("%v", err)
	}
}
