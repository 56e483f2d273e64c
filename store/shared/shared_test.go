package shared_test

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/internal/pgtest"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/query/querytest"
	"github.com/palisade-security/palisade/store/segment"
	"github.com/palisade-security/palisade/store/shared"
)

var (
	start    = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	postgres pgtest.Server
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgres.Stop()
	os.Exit(code)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T) *shared.Store {
	t.Helper()
	s, err := shared.Open(t.Context(), postgres.Database(t))
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// TestAnswers compares with the reference.
func TestAnswers(t *testing.T) {
	s := open(t)
	given := append(eventtest.New(5, start, 100*time.Millisecond).Take(2700), eventtest.New(7, start, time.Second).Logs(300)...)
	for i := range given { // some of one moment
		if i%50 < 3 {
			given[i].Time = given[i].Time.Truncate(time.Second)
		}
	}
	for part := range slices.Chunk(given, 700) {
		must(t, s.Append(t.Context(), part))
		must(t, s.Append(t.Context(), part[:50])) // delivered again
	}
	querytest.Compare(t, given, s, 150)
}

// TestFollow appends over two connections while a third follows.
func TestFollow(t *testing.T) {
	querytest.Follow(t, open(t), eventtest.New(6, start, time.Second).Take(1000))
}

// TestOdd takes what PostgreSQL cannot hold as it is: NUL, bytes that are not UTF-8.
func TestOdd(t *testing.T) {
	s := open(t)
	odd := &event.Event{Time: start, ID: "a\x00", Service: "s\xff\x00", Path: "/\x00", Allowed: true}
	must(t, s.Append(t.Context(), []*event.Event{odd}))
	page, err := s.Last(t.Context(), query.Query{Where: query.Is{Field: query.Service, Value: "s\uFFFD\uFFFD"}}, 1, query.Cursor{})
	must(t, err)
	if len(page.Events) != 1 || string(event.AppendJSON(nil, page.Events[0])) != string(event.AppendJSON(nil, odd)) {
		t.Errorf("%+v", page)
	}
}

func TestRetain(t *testing.T) {
	s := open(t)
	given := eventtest.New(1, start, time.Second).Take(1000)
	must(t, s.Append(t.Context(), given))
	must(t, s.Retain(t.Context(), start.Add(72*time.Hour), shared.Keeping{Class: map[string]time.Duration{segment.ClassRequest: time.Hour}}))
	got, err := s.Count(t.Context(), query.Query{}, query.Kind, 10)
	must(t, err)
	want := slices.DeleteFunc(given, func(e *event.Event) bool { return segment.ClassOf(e) == segment.ClassRequest })
	if int(got.Total) != len(want) {
		t.Errorf("%+v, want %d", got, len(want))
	}
	if err := s.Append(t.Context(), []*event.Event{{Time: start}}); err == nil {
		t.Error("an event without an id is taken")
	}
}

// TestForged: who knows the id of another's record cannot keep that out.
func TestForged(t *testing.T) { querytest.Forged(t, open(t), func() {}) }

// TestHold keeps what is held or kept longer, and deletes it when neither is so any more.
func TestHold(t *testing.T) {
	s := open(t)
	given := eventtest.New(1, start, time.Second).Take(1000)
	must(t, s.Append(t.Context(), given))
	hold := query.Hold{Name: "case-1", Query: "status:403 or -service:orders user:*", To: start.Add(10 * time.Minute), By: "root", Placed: start}
	must(t, s.Hold(t.Context(), hold))
	if err := s.Hold(t.Context(), hold); !errors.Is(err, query.ErrHeld) {
		t.Error(err)
	}
	if all, err := s.Holds(t.Context()); err != nil || len(all) != 1 || all[0] != hold {
		t.Errorf("%+v, %v", all, err)
	}
	items := query.Is{Field: query.Service, Value: "items"}
	keep := shared.Keeping{
		Class:  map[string]time.Duration{segment.ClassRequest: time.Hour, segment.ClassConnection: time.Hour, segment.ClassAct: time.Hour},
		Longer: []query.Longer{{Where: items, Keep: 100 * time.Hour}},
	}
	meant, err := hold.Meant()
	must(t, err)
	left := func(want func(*event.Event) bool) {
		t.Helper()
		got, err := s.Count(t.Context(), query.Query{}, query.Kind, 10)
		must(t, err)
		n := 0
		for _, e := range given {
			if want(e) {
				n++
			}
		}
		if int(got.Total) != n || n == 0 {
			t.Errorf("%d are left, want %d", got.Total, n)
		}
	}
	must(t, s.Retain(t.Context(), start.Add(72*time.Hour), keep))
	left(func(e *event.Event) bool { return meant.Match(e) || e.Service == "items" })
	must(t, s.Retain(t.Context(), start.Add(200*time.Hour), keep))
	left(meant.Match)
	if was, err := s.Release(t.Context(), "case-1"); err != nil || was != hold {
		t.Errorf("%+v, %v", was, err)
	}
	if _, err := s.Release(t.Context(), "case-1"); !errors.Is(err, query.ErrNoHold) {
		t.Error(err)
	}
	must(t, s.Retain(t.Context(), start.Add(200*time.Hour), keep))
	if got, err := s.Count(t.Context(), query.Query{}, query.Kind, 10); err != nil || got.Total != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
