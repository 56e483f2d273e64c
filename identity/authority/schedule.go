package authority

import "time"

// The schedule of an intermediate of life L: at L/2 its successor is made and published; at L/2 + L/6 the
// successor signs; at L the old one is gone. So whoever reads the bundle has L/6 (5 days of 30) to learn a key
// before it signs, and L/3 remains for what the old one signed last. Everything here is pure: it is asked on
// each tick with the wall clock, so that a clock that jumps moves the schedule and breaks nothing.

// overlap is how long a generation is published before it signs.
func overlap(lifetime time.Duration) time.Duration { return lifetime / 6 }

// newest returns the generation of the highest number that is valid and that ok takes, or nil.
func newest(generations []generation, now time.Time, ok func(*generation) bool) *generation {
	var out *generation
	for i := range generations {
		g := &generations[i]
		if g.valid(now) && ok(g) && (out == nil || g.Number > out.Number) {
			out = g
		}
	}
	return out
}

// signing returns the generation that signs: the newest whose time has come; if there is none, the newest that
// is valid at all, since a key that some may not know yet is better than no key.
func signing(generations []generation, now time.Time, usable func(*generation) bool) *generation {
	if g := newest(generations, now, func(g *generation) bool { return usable(g) && !g.From.After(now) }); g != nil {
		return g
	}
	return newest(generations, now, usable)
}

// step is what is to be done about generations.
type step int

const (
	nothing step = iota
	prepare      // make the next one and publish it; it signs after the overlap
	urgent       // make one that signs at once: there is none
)

// nextStep decides it. parentEnds bounds what a new intermediate can live.
func nextStep(generations []generation, now, parentEnds time.Time, usable func(*generation) bool) step {
	last := newest(generations, now, usable)
	if last == nil {
		return urgent
	}
	life := last.Ends.Sub(last.Begins)
	// One that ends with its parent cannot be bettered; without this its last days would see ever shorter ones.
	if now.Sub(last.Begins) < life/2 || !parentEnds.After(last.Ends) {
		return nothing
	}
	return prepare
}
