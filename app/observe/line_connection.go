package observe

import (
	"fmt"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
)

// connectionLine is Line of a connection: time, mark, side, who, where to, bytes to and fro, how long, why not, id.
func connectionLine(e *event.Event, st Style) string {
	var b strings.Builder
	mark, colour := "✓", Good
	switch {
	case !e.Allowed:
		mark, colour = "✗", Bad
	case e.Aborted != "" || e.Problem != "":
		mark, colour = "!", Warn
	}
	c := e.Connection
	fmt.Fprintf(&b, "%s %s %-8s %s → %s  %s", st.Paint(Faint, e.Time.Format(time.TimeOnly)), st.Paint(colour, fmt.Sprintf("%s %-4s", mark, c.Protocol)),
		c.Side, Printable(Caller(e)), Printable(Destination(e)), st.Paint(Faint, "↑"+size(e.BytesIn)+" ↓"+size(e.BytesOut)+" "+round(e.Took)))
	if s := e.Refusing(); s != nil {
		b.WriteString("  " + st.Paint(colour, s.Name+": "+why(s)))
	}
	if e.Aborted != "" {
		b.WriteString("  " + st.Paint(Warn, "broken off by "+e.Aborted))
	}
	b.WriteString("  " + st.Paint(Faint, e.ID))
	return b.String()
}

// Caller names who asks within the mesh: the service, or the edge, else its SPIFFE ID, else "-".
func Caller(e *event.Event) string {
	if _, name, ok := strings.Cut(e.Workload, "/service/"); ok {
		return name
	}
	if strings.Contains(e.Workload, "/edge/") {
		return "edge"
	}
	if e.Workload == "" {
		return "-"
	}
	return e.Workload
}

// Destination names where a connection was to go, and the address behind a name outside the fleet.
func Destination(e *event.Event) string {
	to := e.Host
	if to == "" {
		to = e.Service
	}
	if to == "" {
		to = "-"
	}
	if e.Connection.Side == event.SideEgress && e.Upstream != "" && e.Upstream != to {
		to += " (" + e.Upstream + ")"
	}
	return to
}

// size is a number of bytes for people.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%dB", n)
	}
	f, prefix := float64(n)/unit, 0
	for ; f >= unit && prefix < 4; prefix++ {
		f /= unit
	}
	return fmt.Sprintf("%.1f%ciB", f, "KMGTP"[prefix])
}
