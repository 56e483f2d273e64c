package observe

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
)

// actLine is Line of an act: time, mark, kind, by whom, on what, why, how many like it, id.
func actLine(e *event.Event, st Style) string {
	a := e.Act
	mark, colour := ActMark(a)
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s  %s → %s", st.Paint(Faint, e.Time.Format(time.TimeOnly)), st.Paint(colour, mark+" act "), Printable(string(a.Kind)),
		Printable(Actor(e)), Printable(cmp.Or(a.Object, a.Proxy, "-")))
	if why := strings.TrimSpace(a.Reason + "  " + a.Text); why != "" {
		b.WriteString("  " + st.Paint(colour, Printable(why)))
	}
	if a.Omitted > 0 {
		b.WriteString("  " + st.Paint(Warn, fmt.Sprintf("and %d like it", a.Omitted)))
	}
	b.WriteString("  " + st.Paint(Faint, e.ID))
	return b.String()
}

// ActMark is the sign of what came of an act, and its colour.
func ActMark(a *event.Act) (mark, colour string) {
	switch a.Outcome {
	case event.Done:
		return "✓", Good
	case event.Denied:
		return "✗", Bad
	case event.Failed:
	}
	return "!", Warn
}

// Actor names who did it, as far as it is known: by name, else by address.
func Actor(e *event.Event) string {
	who := e.Act.Who
	if _, name, ok := strings.Cut(who, "/service/"); ok {
		who = name
	} else if strings.HasPrefix(who, "spiffe://") && strings.HasSuffix(who, "/edge/edge") {
		who = "edge"
	}
	switch {
	case who == "":
		who = cmp.Or(e.Client, "-")
	case e.Act.Role != "":
		who += " (" + e.Act.Role + ")"
	case e.Client != "":
		who += " at " + e.Client
	}
	return who
}
