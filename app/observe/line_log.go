package observe

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
)

// logLine is Line of a log record: time, level, who wrote it, what, trace, id.
func logLine(e *event.Event, st Style) string {
	l := e.Log
	line := fmt.Sprintf("%s %s %s  %s", st.Paint(Faint, e.Time.Format(time.TimeOnly)), st.Paint(LevelColour(l.Severity), fmt.Sprintf("· %-5s", cmp.Or(l.Severity.Level(), "log"))),
		Printable(LogWriter(e)), Printable(strings.TrimSpace(l.Text)))
	if e.TraceID != "" {
		line += "  " + st.Paint(Faint, "trace "+Printable(e.TraceID))
	}
	return line + "  " + st.Paint(Faint, e.ID)
}

// LevelColour is the colour of a level.
func LevelColour(s event.Severity) string {
	switch {
	case s >= event.SeverityError:
		return Bad
	case s >= event.SeverityWarn:
		return Warn
	}
	return Faint
}

// LogWriter names who wrote a record: the service, else the source, and the machine.
func LogWriter(e *event.Event) string {
	who := cmp.Or(e.Service, e.Log.Source, "-")
	if e.Host != "" {
		who += " on " + e.Host
	}
	return who
}
