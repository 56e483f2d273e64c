package observe

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/palisade-security/palisade/event"
)

// Style writes text in colour, or not.
type Style struct{ Color bool }

// The colours of the terminal, by what they mean.
const (
	Good  = "32"
	Bad   = "31"
	Warn  = "33"
	Faint = "2"
	Bold  = "1"
)

// Paint wraps s in an SGR code if colours are on.
func (st Style) Paint(code, s string) string {
	if !st.Color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// Lines writes one readable line per event. It is safe for concurrent use.
type Lines struct {
	Style Style
	mu    sync.Mutex
	out   io.Writer
}

// NewLines writes to out.
func NewLines(out io.Writer, st Style) *Lines { return &Lines{Style: st, out: out} }

// Observe writes e's line; a terminal that is gone is not an error of the request.
func (l *Lines) Observe(e *event.Event) {
	line := Line(e, l.Style) + "\n"
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = io.WriteString(l.out, line)
}

// Line is one event in one line: time, status, method and path, who, where to, how long, why not, id.
func Line(e *event.Event, st Style) string {
	switch {
	case e.Log != nil:
		return logLine(e, st)
	case e.Act != nil:
		return actLine(e, st)
	case e.Connection != nil:
		return connectionLine(e, st)
	}
	var b strings.Builder
	mark, colour := "✓", Good
	switch {
	case !e.Allowed:
		mark, colour = "✗", Bad
	case e.Aborted != "" || e.Status >= 500:
		mark, colour = "!", Warn
	case e.DryRun:
		mark, colour = "~", Warn
	}
	who := "-"
	switch {
	case e.User != nil && e.Side == event.SideUnknown:
		who = e.User.Subject
	case e.User != nil:
		who = Caller(e) + " for " + e.User.Subject
	case e.Workload != "":
		who = Caller(e)
	}
	target := e.Service
	if target == "" {
		target = "-"
		if e.Side != event.SideUnknown {
			target = e.Host
		}
	}
	if e.Side != event.SideUnknown {
		target += " (" + e.Side.String() + ")"
	}
	path := e.Path
	if e.Query != "" {
		path += "?" + e.Query
	}
	fmt.Fprintf(&b, "%s %s %-6s %s  %s → %s  %s", st.Paint(Faint, e.Time.Format(time.TimeOnly)), st.Paint(colour, mark+" "+answered(e)),
		e.Method, Printable(path), Printable(who), Printable(target), st.Paint(Faint, round(e.Took)))
	if s := e.Refusing(); s != nil {
		b.WriteString("  " + st.Paint(colour, s.Name+": "+why(s)))
		if s.DryRun {
			b.WriteString(st.Paint(Warn, " (dry run)"))
		}
	}
	if e.Aborted != "" {
		b.WriteString("  " + st.Paint(Warn, "broken off by "+e.Aborted))
	}
	b.WriteString("  " + st.Paint(Faint, e.ID))
	return b.String()
}

// answered is the status, in three columns.
func answered(e *event.Event) string {
	if e.Status == 0 {
		return "  -"
	}
	return strconv.Itoa(e.Status)
}

func why(s *event.Stage) string {
	if len(s.Reasons) == 0 {
		return s.Outcome.String()
	}
	r := s.Cause()
	out := r.Code
	if r.Policy != "" {
		out += " " + Printable(r.Policy)
	}
	if r.Code == "subject-not-declared" { // of a broker
		out += " " + r.Data["verb"] + " " + Printable(r.Data["subject"])
	}
	if n := len(s.Reasons) - 1; n > 0 {
		out += fmt.Sprintf(" (+%d)", n)
	}
	return out
}

func round(d time.Duration) string {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

// Printable keeps what a client made up from commanding the terminal: control characters and the format
// characters that turn the direction of writing become question marks.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
