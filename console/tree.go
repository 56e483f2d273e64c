package console

import (
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
)

// mostHops is how many records of one trace are shown.
const mostHops = 300

// hop is one record of a trace as it is drawn.
type hop struct {
	row
	Chosen bool    // the one that is explained
	Left   float64 // where its bar begins and how long it is, in parts of 100
	Length float64
	Next   []*hop
}

// drawHops puts the way of a request beside one scale of time.
func drawHops(way []*Hop, chosen string) []*hop {
	var begin, end time.Time
	for h := range walk(way) {
		if begin.IsZero() || h.Event.Time.Before(begin) {
			begin = h.Event.Time
		}
		if at := h.Event.Time.Add(h.Event.Took); at.After(end) {
			end = at
		}
	}
	return hopsFrom(way, chosen, begin, float64(max(end.Sub(begin), 1)))
}

func hopsFrom(way []*Hop, chosen string, begin time.Time, whole float64) []*hop {
	out := make([]*hop, len(way))
	for i, h := range way {
		left := 100 * float64(h.Event.Time.Sub(begin)) / whole
		out[i] = &hop{
			row: rowOf(h.Event), Chosen: h.Event.ID == chosen, Left: left,
			Length: min(max(0.5, 100*float64(h.Event.Took)/whole), 100-left), Next: hopsFrom(h.Next, chosen, begin, whole),
		}
	}
	return out
}

// walk hands out all hops of a way.
func walk(way []*Hop) func(yield func(*Hop) bool) {
	return func(yield func(*Hop) bool) { each(way, yield) }
}

func each(way []*Hop, yield func(*Hop) bool) bool {
	for _, h := range way {
		if !yield(h) || !each(h.Next, yield) {
			return false
		}
	}
	return true
}

// seenBy names the proxy that wrote a record.
func seenBy(e *event.Event) string {
	switch {
	case e.Act != nil:
		return e.Act.Proxy
	case e.Log != nil:
		return e.Log.Source
	case e.Side == event.SideUnknown && e.Connection == nil:
		return "edge"
	}
	name, _, _ := strings.Cut(e.Listener, "/")
	return name
}
