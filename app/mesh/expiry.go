package mesh

import (
	"context"
	"fmt"
	"path"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/identity/workload"
)

const (
	lookEvery = 5 * time.Second
	// endingPart of an SVID's life is left when it counts as close to its end. It is renewed at half of it.
	endingPart = 4
)

// watchSVIDs makes events of SVIDs that cannot be renewed, come close to their end or have ended, until ctx ends. It looks
// at the wall clock, by which certificates end.
func watchSVIDs(ctx context.Context, held func() []workload.Held, record func(context.Context, *event.Event)) error {
	w := expiry{}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		for _, e := range w.look(held(), time.Now()) {
			record(ctx, e)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// expiry is what has been said about each SVID.
type expiry map[workload.ID]said

type said struct {
	since           time.Time // when its end was first seen, about when it was made
	expires         time.Time
	failing         bool
	ending, expired bool
}

// look returns what is new. What is no longer held is forgotten.
func (w expiry) look(held []workload.Held, now time.Time) []*event.Event {
	var out []*event.Event
	seen := map[workload.ID]bool{}
	for _, h := range held {
		seen[h.ID] = true
		before := w[h.ID]
		s := before
		if !h.Expires.Equal(s.expires) {
			s = said{since: now, expires: h.Expires, failing: s.failing}
		}
		tell := func(kind event.Kind, outcome event.Result, text string) {
			out = append(out, &event.Event{Time: now, Act: &event.Act{Kind: kind, Who: h.ID.String(), Object: h.ID.String(), Outcome: outcome, Text: text, Proxy: path.Base(h.ID.Path())}})
		}
		what := "the SVID, which ends " + ends(h.Expires) + ", could not be renewed"
		if h.Expires.IsZero() {
			what = "there is no SVID yet"
		}
		cause := "; it is renewed as soon as that works"
		if h.Err != nil {
			cause = ": " + h.Err.Error()
		}
		left := h.Expires.Sub(now)
		if s.failing = h.Failures > 0; s.failing && !before.failing {
			tell(event.KindRenewal, event.Failed, what+cause)
		} else if !s.failing && before.failing {
			tell(event.KindRenewal, event.Done, "the SVID can be renewed again")
		}
		switch {
		case h.Expires.IsZero():
		case left <= 0 && !s.expired:
			s.expired, s.ending = true, true
			tell(event.KindExpired, event.Failed, "the SVID has ended, and no connections can be made under it"+cause)
		case left > 0 && left < h.Expires.Sub(s.since)/endingPart && !s.ending:
			s.ending = true
			tell(event.KindEnding, event.Failed, fmt.Sprintf("the SVID ends %s and is not renewed%s", ends(h.Expires), cause))
		}
		w[h.ID] = s
	}
	for id := range w {
		if !seen[id] {
			delete(w, id)
		}
	}
	return out
}

func ends(at time.Time) string { return "at " + at.UTC().Format(time.RFC3339) }
