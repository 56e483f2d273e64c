package event

import "time"

// Log is what the event of a log record has: what a service or a system beside Palisade wrote of itself, and was taken in. Of
// the fields of Event it uses: Time, when it was written, as its sender says if that can be true; ID; TraceID and SpanID, as the
// record names them; Fleet, Snapshot; Service, the service that wrote it, if it is one; Host, the machine it says it comes from;
// Client and ClientPort, from where it was sent; Workload, the SPIFFE ID of the sender, if it has shown one. Allowed is true. The
// others are not written.
type Log struct {
	Source     string            // as declared: whose key or certificate was shown, or which files were read
	Form       string            // how it came: "json", "otlp", "syslog", "docker", "cri", "journald", "text"
	Severity   Severity          // 0: not known
	Level      string            // the severity as it was written
	Text       string            // what it says
	Attributes map[string]string // what it says by name; nested names are joined with dots
	Observed   time.Time         // when it was taken in
	Original   string            // the time as it was written, if that was not believed
	Omitted    int64             // attributes and bytes of text that were left out
}

// Severity is a severity number of OpenTelemetry (Logs Data Model, "Field: SeverityNumber"): 1 to 24, four for each level.
type Severity int8

// The least severity of each level.
const (
	SeverityUnknown Severity = 0
	SeverityTrace   Severity = 1
	SeverityDebug   Severity = 5
	SeverityInfo    Severity = 9
	SeverityWarn    Severity = 13
	SeverityError   Severity = 17
	SeverityFatal   Severity = 21

	severityLast Severity = 24
)

// levels is a constant table, by four severities each.
var levels = [...]string{"trace", "debug", "info", "warn", "error", "fatal"}

// Level returns the name of the level, empty if it is not known.
func (s Severity) Level() string {
	if s < SeverityTrace || s > severityLast {
		return ""
	}
	return levels[(s-1)/4]
}

// Levels lists the names of levels, the least severe first.
func Levels() []string { return append([]string(nil), levels[:]...) }

// redact takes secrets out of a copy of l.
func (l *Log) redact(r *Redactor) *Log {
	out := *l
	for _, f := range []*string{&out.Text, &out.Level, &out.Original} {
		*f = r.line(*f)
	}
	out.Attributes = nil
	for name, value := range l.Attributes {
		clean := r.line(value)
		if value != "" && r.Name(name) {
			clean = Redacted
		}
		if out.Attributes == nil {
			out.Attributes = make(map[string]string, len(l.Attributes))
		}
		out.Attributes[r.line(name)] = clean
	}
	return &out
}

// line redacts text of which little is percent-encoded: what shows a secret only when decoded goes as a whole, but
// one that shows as it is does not take the rest with it.
func (r *Redactor) line(s string) string {
	clean := r.Text(s)
	if look(clean)&percent != 0 {
		if plain := unescape(clean); r.Text(plain) != plain {
			return Redacted
		}
	}
	return clean
}
