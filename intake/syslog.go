package intake

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// readSyslog reads one message: RFC 5424, or RFC 3164 and what is near to it. It never fails: what cannot be read is text.
func readSyslog(message []byte, now time.Time) *record {
	text := strings.ToValidUTF8(string(bytes.TrimRight(message, "\x00\r\n")), "\uFFFD")
	r := &record{form: formSyslog}
	rest, ok := readPriority(r, text)
	if !ok {
		readLine(r, []byte(text))
		return r
	}
	if after, ok := strings.CutPrefix(rest, "1 "); ok && read5424(r, after) {
		return r
	}
	r = &record{form: formSyslog} // without what was read of it so far
	rest, _ = readPriority(r, text)
	read3164(r, rest, now)
	return r
}

// readPriority reads <PRI> (RFC 5424, section 6.2.1): facility and severity.
func readPriority(r *record, text string) (rest string, ok bool) {
	inner, rest, found := strings.Cut(text, ">")
	if !found || len(inner) < 2 || len(inner) > 4 || inner[0] != '<' {
		return text, false
	}
	n, err := strconv.ParseUint(inner[1:], 10, 8)
	if err != nil || n > 191 {
		return text, false
	}
	r.severity, r.level = severitySyslog(int(n&7)), syslogName(int(n&7))
	r.set("facility", facility(int(n>>3)))
	return rest, true
}

// facility names a facility (RFC 5424, table 1).
func facility(n int) string {
	names := [...]string{
		"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock",
		"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
	}
	if n < len(names) {
		return names[n]
	}
	return strconv.Itoa(n)
}

const nilValue = "-" // of RFC 5424

// read5424 reads what stands behind the version: TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA [MSG].
func read5424(r *record, rest string) bool {
	var header [5]string
	for i := range header {
		word, after, ok := strings.Cut(rest, " ")
		if !ok || word == "" {
			return false
		}
		header[i], rest = word, after
	}
	if header[0] != nilValue {
		t, err := time.Parse(time.RFC3339Nano, header[0])
		if err != nil {
			return false
		}
		r.time = t.UTC()
	}
	rest, ok := readStructured(r, rest)
	if !ok {
		return false
	}
	if header[1] != nilValue {
		r.host = header[1]
	}
	for i, name := range [...]string{"app", "pid", "msgid"} {
		if value := header[2+i]; value != nilValue {
			r.set(name, value)
		}
	}
	host := r.host
	readMessage(r, strings.TrimPrefix(strings.TrimPrefix(rest, " "), "\ufeff"))
	if host != "" {
		r.host = host
	}
	return true
}

// readStructured reads STRUCTURED-DATA (RFC 5424, section 6.3): [id name="value" ...] and so on, or nothing.
func readStructured(r *record, rest string) (string, bool) {
	if after, ok := strings.CutPrefix(rest, nilValue); ok {
		return after, after == "" || after[0] == ' '
	}
	if !strings.HasPrefix(rest, "[") {
		return rest, false
	}
	for strings.HasPrefix(rest, "[") {
		end := strings.IndexAny(rest, " ]")
		if end < 2 {
			return rest, false
		}
		id := rest[1:end]
		rest = rest[end:]
		for !strings.HasPrefix(rest, "]") {
			name, after, ok := strings.Cut(strings.TrimLeft(rest, " "), `="`)
			if !ok || name == "" || strings.ContainsAny(name, ` ]"`) {
				return rest, false
			}
			value, after, ok := readValue(after)
			if !ok {
				return rest, false
			}
			rest = after
			if m := meaningOf(name); m != isTrace && m != isSpan && m != isParent || !understand(r, m, value) {
				r.set(id+"."+name, value)
			}
		}
		rest = rest[1:]
	}
	return rest, rest == "" || rest[0] == ' '
}

// readValue reads a PARAM-VALUE up to its closing quote; a backslash escapes quotes, backslashes and brackets.
func readValue(rest string) (value, after string, ok bool) {
	plain := strings.IndexAny(rest, `"\`)
	if plain >= 0 && rest[plain] == '"' {
		return rest[:plain], rest[plain+1:], true
	}
	var b strings.Builder
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			return b.String(), rest[i+1:], true
		case c == '\\' && i+1 < len(rest) && strings.IndexByte(`"\]`, rest[i+1]) >= 0:
			i++
			b.WriteByte(rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", rest, false
}

// readMessage reads the message itself: an object of JSON becomes attributes, also behind the cookie of the Common Event Expression.
func readMessage(r *record, text string) {
	level, severity := r.level, r.severity
	at := r.time
	r.time = time.Time{}
	readLine(r, []byte(strings.TrimSpace(strings.TrimPrefix(text, "@cee:"))))
	if r.text == "" {
		r.text = text
	}
	if r.time.IsZero() {
		r.time = at
	}
	if r.severity == severity || r.severity == 0 {
		r.level, r.severity = level, severity
	}
}

// read3164 reads what most senders before RFC 5424 sent (RFC 3164, section 4.1): Mmm dd hh:mm:ss HOST TAG[PID]: text. Each part but
// the text may be missing. The year, which is not said, is the one that brings the time closest to now.
func read3164(r *record, rest string, now time.Time) {
	rest = readStamp(r, rest, now)
	if word, after, ok := strings.Cut(rest, " "); ok && !r.time.IsZero() && word != "" && !strings.ContainsAny(word, ":[") {
		r.host, rest = word, after
	}
	if end := strings.IndexAny(rest, ":[ "); end > 0 && end <= 48 && rest[end] != ' ' {
		tag, after := rest[:end], rest[end:]
		pid := ""
		if inner, behind, ok := strings.Cut(after, "]"); ok && strings.HasPrefix(inner, "[") {
			pid, after = inner[1:], behind
		}
		if text, ok := strings.CutPrefix(after, ":"); ok {
			r.set("app", tag)
			if pid != "" {
				r.set("pid", pid)
			}
			rest = text
		}
	}
	host := r.host
	readMessage(r, strings.TrimPrefix(rest, " "))
	if host != "" {
		r.host = host
	}
}

// readStamp reads the time before a message: of RFC 3164, or of RFC 3339 as many senders write it instead.
func readStamp(r *record, rest string, now time.Time) string {
	if len(rest) > len(time.Stamp) && rest[len(time.Stamp)] == ' ' {
		if t, err := time.Parse(time.Stamp, rest[:len(time.Stamp)]); err == nil {
			r.time = nearest(t, now)
			return rest[len(time.Stamp)+1:]
		}
	}
	if word, after, ok := strings.Cut(rest, " "); ok {
		if t, err := time.Parse(time.RFC3339Nano, word); err == nil {
			r.time = t.UTC()
			return after
		}
	}
	return rest
}

// nearest gives a time without a year the year that brings it closest to now.
func nearest(t, now time.Time) time.Time {
	best := time.Time{}
	for year := now.Year() - 1; year <= now.Year()+1; year++ {
		c := time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
		if best.IsZero() || c.Sub(now).Abs() < best.Sub(now).Abs() {
			best = c
		}
	}
	return best
}
