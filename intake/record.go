package intake

import (
	"cmp"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/palisade-security/palisade/event"
)

// The forms in which records come.
const (
	formJSON    = "json"
	formText    = "text"
	formOTLP    = "otlp"
	formSyslog  = "syslog"
	formDocker  = "docker"
	formCRI     = "cri"
	formJournal = "journald"
)

// record is what was read of one log record, whatever its form.
type record struct {
	form       string
	time       time.Time // zero: it says none
	timeText   string    // as it was written, if it could not be read
	observed   time.Time // by whoever took it in before us; zero: nobody
	severity   event.Severity
	level      string
	text       string
	service    string
	host       string
	trace      string // 32 hex digits
	span       string // 16 hex digits
	attributes map[string]string
	omitted    int64
}

// How far the time in a record may be from the time at which it was taken in. Others are not believed: a clock that is wrong, or a
// forged time, must not put a record where nobody looks for it, or beyond what is kept.
const (
	oldest   = 7 * 24 * time.Hour
	youngest = 5 * time.Minute
)

// event is the record as it is kept. Text and attributes together have at most so many bytes.
func (r *record) event(s *source, from sender, now time.Time, most int) *event.Event {
	e := &event.Event{
		Time: now.UTC(), ID: event.NewID(now), TraceID: r.trace, SpanID: r.span, Service: cmp.Or(s.Service, r.service), Host: cut(r.host, maxName),
		Client: from.address, ClientPort: from.port, Workload: from.workload, Allowed: true,
		Log: &event.Log{Source: s.Name, Form: r.form, Severity: r.severity, Level: cut(r.level, maxName), Observed: now.UTC(), Omitted: r.omitted},
	}
	if s.Service != "" && r.service != "" && r.service != s.Service {
		r.set("service.name", r.service)
	}
	e.Service = cut(e.Service, maxName)
	said := r.time
	if said.IsZero() {
		said = r.observed
	}
	switch {
	case said.IsZero():
		e.Log.Original = cut(r.timeText, maxName)
	case said.Before(now.Add(-oldest)) || said.After(now.Add(youngest)):
		e.Log.Original = said.UTC().Format(time.RFC3339Nano)
	default:
		e.Time = said.UTC()
	}
	e.Log.Text = cut(strings.TrimRight(r.text, "\r\n"), most)
	e.Log.Omitted += int64(len(strings.TrimRight(r.text, "\r\n")) - len(e.Log.Text))
	room := most - len(e.Log.Text)
	for _, name := range slices.Sorted(maps.Keys(r.attributes)) {
		value := r.attributes[name]
		if room -= len(name) + len(value); room < 0 {
			e.Log.Omitted++
			continue
		}
		if e.Log.Attributes == nil {
			e.Log.Attributes = make(map[string]string, len(r.attributes))
		}
		e.Log.Attributes[name] = value
	}
	return e
}

// set adds an attribute, as far as there is room.
func (r *record) set(name, value string) {
	if name == "" {
		return
	}
	if len(r.attributes) >= maxAttributes {
		r.omitted++
		return
	}
	if r.attributes == nil {
		r.attributes = map[string]string{}
	}
	short := cut(value, maxValue)
	r.omitted += int64(len(value) - len(short))
	r.attributes[cut(name, maxName)] = short
}

// setTrace takes a trace id: 32 hex digits, of which not all are zero (W3C Trace Context, section 3.2.2.3), with dashes as in a UUID
// or without.
func (r *record) setTrace(id string) bool {
	return setID(&r.trace, strings.ReplaceAll(id, "-", ""), 32)
}

// setSpan takes a span id: 16 hex digits, of which not all are zero.
func (r *record) setSpan(id string) bool { return setID(&r.span, id, 16) }

func setID(to *string, id string, digits int) bool {
	if len(id) != digits || strings.Trim(id, "0") == "" {
		return false
	}
	if _, err := hex.DecodeString(id); err != nil {
		return false
	}
	*to = strings.ToLower(id)
	return true
}

// setParent takes a traceparent (W3C Trace Context, section 3.2).
func (r *record) setParent(header string) bool {
	parts := strings.Split(header, "-")
	return len(parts) >= 4 && len(parts[0]) == 2 && r.setTrace(parts[1]) && r.setSpan(parts[2])
}

// cut returns at most n bytes of s, and no half character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
