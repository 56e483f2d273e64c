package events_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/journal"
)

// TestLong: events that are too long together for one record of the log are several, some of them delivered twice at once or before,
// and come back from it; one that is too long alone is refused, and the store goes on.
func TestLong(t *testing.T) {
	o := events.Options{Dir: t.TempDir()}
	s, _ := open(t, o)
	given := eventtest.New(1, start, time.Second).Take(40)
	for i, e := range given {
		e.Path = fmt.Sprintf("/%d/%s", i, strings.Repeat("x", 300_000))
	}
	must(t, s.Append(t.Context(), given[:3]))
	must(t, s.Append(t.Context(), append(given[:20:20], given...)))
	same(t, s, given)
	long := *given[0]
	long.ID, long.Path = "long", strings.Repeat("x", journal.MaxRecordLimit)
	if err := s.Append(t.Context(), append(given[:1:1], &long)); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("an event of %d bytes: %v", len(long.Path), err)
	}
	must(t, s.Close())
	s, r := open(t, o)
	if r.Replayed != len(given) || len(r.Damaged) > 0 {
		t.Errorf("%+v", r)
	}
	same(t, s, given)
}
