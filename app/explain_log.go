package app

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/palisade-security/palisade/app/observe"
)

// log writes what a service or a system wrote of itself.
func (x *Explanation) log(w io.Writer, st observe.Style) {
	e, l := x.Event, x.Event.Log
	level := l.Level
	if known := l.Severity.Level(); known != "" {
		level = known
	}
	fmt.Fprintf(w, "%s of %s  %s\n", st.Paint(observe.Bold, "Log record"), observe.Printable(observe.LogWriter(e)), st.Paint(observe.LevelColour(l.Severity), observe.Printable(level)))
	fmt.Fprintf(w, "  id        %s\n  time      %s\n  taken in  %s\n", e.ID, e.Time.Format("2006-01-02 15:04:05.000 MST"), l.Observed.Format("2006-01-02 15:04:05.000 MST"))
	for _, line := range [][2]string{
		{"said", l.Original}, {"source", l.Source}, {"form", l.Form}, {"sender", e.Workload}, {"from", e.Client}, {"trace", e.TraceID}, {"span", e.SpanID}, {"snapshot", short(e.Snapshot)}, {"text", l.Text},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "  %-9s %s\n", line[0], observe.Printable(line[1]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Attributes)) {
		fmt.Fprintf(w, "    %s = %s\n", observe.Printable(name), observe.Printable(l.Attributes[name]))
	}
	if l.Omitted > 0 {
		fmt.Fprintf(w, "  %-9s %d attributes and bytes of text were left out\n", "omitted", l.Omitted)
	}
}
