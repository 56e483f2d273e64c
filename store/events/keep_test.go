package events_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/segment"
)

// TestCompact merges by hour, and by day what is kept for long.
func TestCompact(t *testing.T) {
	o := events.Options{Dir: t.TempDir(), Keep: map[string]time.Duration{segment.ClassConnection: 48 * time.Hour}}
	s, _ := open(t, o)
	given := eventtest.New(1, start, 10*time.Second).Take(2000) // five and a half hours
	for part := range slices.Chunk(given, 150) {
		must(t, s.Append(t.Context(), part))
		must(t, s.Seal(t.Context()))
	}
	of := func(class string) (n int) {
		for _, name := range files(t, o.Dir) {
			if strings.Contains(name, "-"+class+".") {
				n++
			}
		}
		return n
	}
	requests := of(segment.ClassRequest)
	must(t, s.Compact(t.Context(), start.Add(12*time.Hour)))
	byHour := of(segment.ClassRequest)
	if byHour >= requests || byHour < 5 {
		t.Errorf("%d segments of requests, before %d", byHour, requests)
	}
	connections := of(segment.ClassConnection)
	must(t, s.Compact(t.Context(), start.Add(24*time.Hour)))
	if of(segment.ClassRequest) != 1 || of(segment.ClassConnection) != connections {
		t.Errorf("%d segments of requests, %d of connections, before %d", of(segment.ClassRequest), of(segment.ClassConnection), connections)
	}
	same(t, s, given)
}
