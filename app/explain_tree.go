package app

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// Hop is what one proxy saw of a request, and what came of it behind that proxy.
type Hop struct {
	Event    *event.Event
	Children []*Hop // in the order of time
}

// MarshalJSON writes the event as recorded.
func (h *Hop) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Event    json.RawMessage `json:"event"`
		Children []*Hop          `json:"children,omitempty"`
	}{event.AppendJSON(nil, h.Event), h.Children})
}

// hopsOf puts the events of one trace in the order in which the request passed: who asked is above who was asked. Records do not
// name what came before them, so it is told from who calls whom, and when.
func hopsOf(events []*event.Event) (roots []*Hop) {
	closed := map[string]bool{}
	for _, e := range events {
		closed[e.ID] = closed[e.ID] || !e.Open
	}
	var all []*Hop
	for _, e := range events {
		if e.Act == nil && e.Log == nil && (!e.Open || !closed[e.ID]) {
			all = append(all, &Hop{Event: e})
		}
	}
	slices.SortStableFunc(all, func(a, b *Hop) int {
		return cmp.Or(a.Event.Time.Compare(b.Event.Time), cmp.Compare(depth(a.Event), depth(b.Event)))
	})
	for _, h := range all {
		if above := caller(all, h); above != nil {
			above.Children = append(above.Children, h)
		} else {
			roots = append(roots, h)
		}
	}
	return roots
}

// depth orders what was seen at one moment.
func depth(e *event.Event) int {
	return map[event.Side]int{event.SideUnknown: 0, event.SideOutbound: 1, event.SideInbound: 2, event.SideEgress: 1}[e.SeenAt()]
}

const apart = 2 * time.Second // that clocks of two hosts may be

// caller returns the hop that a request came from: the last one that could have asked it before it came. Nil: none was recorded.
func caller(all []*Hop, h *Hop) *Hop {
	var best *Hop
	for _, c := range all {
		if c == h || !asks(c.Event, h.Event) || within(h, c) {
			continue
		}
		if h.Event.Time.Before(c.Event.Time.Add(-apart)) || h.Event.Time.After(c.Event.Time.Add(c.Event.Took+apart)) {
			continue
		}
		if best == nil || nearer(c, best, h) {
			best = c
		}
	}
	return best
}

// nearer tells whether a is rather the caller of h than b: one that began before h rather than after, and then the later; of those
// that carry the call to the other side the one with fewer hops behind it, unless it tried again.
func nearer(a, b, h *Hop) bool {
	spare := func(c *Hop) bool {
		return h.Event.SeenAt() != event.SideInbound || len(c.Children) < max(c.Event.Attempts, 1)
	}
	if spare(a) != spare(b) {
		return spare(a)
	}
	before := func(c *Hop) bool { return !c.Event.Time.After(h.Event.Time) }
	if before(a) != before(b) {
		return before(a)
	}
	return before(a) && !a.Event.Time.Before(b.Event.Time) || !before(a) && a.Event.Time.Before(b.Event.Time)
}

// asks tells whether a request that was seen as one could be asked, one proxy further, as the other.
func asks(one, other *event.Event) bool {
	from, to := one.SeenAt(), other.SeenAt()
	switch to {
	case event.SideInbound: // the edge, or the sidecar of who calls, sends it on to the sidecar of the service
		if one.Service != other.Service {
			return false
		}
		return from == event.SideUnknown && path.Base(other.Workload) == "edge" || from == event.SideOutbound && (one.Workload == "" || other.Workload == "" || one.Workload == other.Workload)
	case event.SideOutbound, event.SideEgress: // a service asks while it is asked
		return from == event.SideInbound && one.Service == callerName(other)
	default:
		return false
	}
}

// callerName is the service whose sidecar saw what it asks.
func callerName(e *event.Event) string {
	if name := sidecarOf(e); name != "" && name != e.Listener {
		return name
	}
	return path.Base(e.Workload)
}

// within tells whether a hop is below another.
func within(above, h *Hop) bool {
	return above == h || slices.ContainsFunc(above.Children, func(c *Hop) bool { return within(c, h) })
}

// way writes the tree, if there is more than the one record.
func (x *Explanation) way(w io.Writer, st observe.Style) {
	if len(x.Hops) == 0 || len(x.Hops) == 1 && len(x.Hops[0].Children) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s  %s\n", st.Paint(observe.Bold, "Its way through the fleet"), st.Paint(observe.Faint, "trace "+x.Event.TraceID))
	for _, h := range x.Hops {
		x.hop(w, st, h, "", "")
	}
}

// hop writes one hop and those behind it. First is what stands before its first line, rest before the others.
func (x *Explanation) hop(w io.Writer, st observe.Style, h *Hop, first, rest string) {
	e := h.Event
	mark := st.Paint(observe.Good, "✓")
	if !e.Allowed || e.Status >= 500 {
		mark = st.Paint(observe.Bad, "✗")
	}
	here := ""
	if e.ID == x.Event.ID {
		here = st.Paint(observe.Bold, "  ← explained above")
	}
	fmt.Fprintf(w, "%s%s %s  %s%s\n", first, mark, hopTitle(e), st.Paint(observe.Faint, e.ID), here)
	inner := rest
	if len(h.Children) > 0 {
		inner += "│ "
	} else {
		inner += "  "
	}
	for i := range e.Trail {
		if s := &e.Trail[i]; s.Outcome != event.OutcomeSkip {
			fmt.Fprintf(w, "%s  %s\n", inner, stageLine(s, st))
		}
	}
	for i, c := range h.Children {
		if i == len(h.Children)-1 {
			x.hop(w, st, c, rest+"└─", rest+"  ")
		} else {
			x.hop(w, st, c, rest+"├─", rest+"│ ")
		}
	}
}

// hopTitle says who saw what, what came of it and how long it took.
func hopTitle(e *event.Event) string {
	var b strings.Builder
	switch e.SeenAt() {
	case event.SideInbound:
		fmt.Fprintf(&b, "%s, asked by %s", e.Service, path.Base(cmp.Or(e.Workload, "somebody")))
	case event.SideOutbound, event.SideEgress:
		fmt.Fprintf(&b, "%s asks %s", callerName(e), cmp.Or(e.Service, e.Host))
	default:
		fmt.Fprintf(&b, "edge → %s", cmp.Or(e.Service, "no service"))
	}
	if e.Method != "" {
		fmt.Fprintf(&b, "  %s %s", e.Method, e.Path)
	}
	b.WriteString("  " + query.OutcomeOf(e))
	if e.Status != 0 {
		b.WriteString(" " + strconv.Itoa(e.Status))
	}
	if e.Open {
		b.WriteString("  (its end is not recorded)")
	} else {
		b.WriteString("  " + e.Took.Round(time.Microsecond).String())
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, "  %d attempts, the last at %s", e.Attempts, e.Upstream)
	}
	if e.Aborted != "" {
		b.WriteString("  cut off: " + e.Aborted)
	}
	return observe.Printable(b.String())
}

// stageLine is a stage with its reasons in one line.
func stageLine(s *event.Stage, st observe.Style) string {
	mark := st.Paint(observe.Good, "✓")
	if s.Outcome != event.OutcomePass {
		mark = st.Paint(observe.Bad, "✗")
	}
	var line strings.Builder
	fmt.Fprintf(&line, "%s %s %s", mark, s.Name, st.Paint(observe.Faint, s.Took.String()))
	for _, r := range s.Reasons {
		line.WriteString("  " + r.Code)
		if r.Policy != "" {
			line.WriteString(" " + observe.Printable(r.Policy))
		}
		if r.Position != "" {
			line.WriteString(" " + st.Paint(observe.Faint, observe.Printable(r.Position)))
		}
	}
	return line.String()
}
