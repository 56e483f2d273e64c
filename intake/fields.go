package intake

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// readLine reads a line as services write them: an object of JSON becomes attributes, of which those with the usual names become
// what they mean, anything else is text.
func readLine(r *record, line []byte) {
	line = bytes.TrimSpace(line)
	r.text = strings.ToValidUTF8(string(line), "\uFFFD")
	if len(line) == 0 || line[0] != '{' || !shallow(line, maxNesting) {
		return
	}
	var fields map[string]any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if d.Decode(&fields) != nil || d.InputOffset() != int64(len(line)) {
		return
	}
	if r.form == formText {
		r.form = formJSON
	}
	readFields(r, fields)
}

// readFields takes the fields of an object. If none of them is the message, the text stays what it was.
func readFields(r *record, fields map[string]any) {
	said := false
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		switch value := fields[name]; meaningOf(name) {
		case isText:
			if text, ok := value.(string); ok && !said {
				r.text, said = text, true
				continue
			}
			flatten(r, name, value, 0)
		case isNothing:
			flatten(r, name, value, 0)
		default:
			if text, ok := scalar(value); !ok || !understand(r, meaningOf(name), text) {
				flatten(r, name, value, 0)
			}
		}
	}
}

// meaning is what a field with a usual name is.
type meaning uint8

const (
	isNothing meaning = iota
	isText
	isLevel
	isTime
	isTrace
	isSpan
	isParent
	isService
	isHost
)

// meaningOf knows the names that slog, zap, zerolog, logrus, pino, winston, structlog, Logback, Serilog, the Elastic Common Schema and
// OpenTelemetry give them.
func meaningOf(name string) meaning {
	switch strings.ToLower(name) {
	case "message", "msg", "@message", "short_message", "@m", "body":
		return isText
	case "level", "severity", "lvl", "log.level", "loglevel", "levelname", "severity_text", "severitytext", "@l":
		return isLevel
	case "time", "timestamp", "ts", "@timestamp", "datetime", "@t", "eventtime":
		return isTime
	case "trace_id", "traceid", "trace.id", "oteltraceid", "@tr":
		return isTrace
	case "span_id", "spanid", "span.id", "otelspanid", "@sp":
		return isSpan
	case "traceparent":
		return isParent
	case "service", "service.name", "service_name":
		return isService
	case "host", "hostname", "host.name":
		return isHost
	}
	return isNothing
}

// understand takes a field by its meaning. It reports false if the value has none.
func understand(r *record, m meaning, text string) bool {
	switch m {
	case isLevel:
		r.level = text
		if s := severityNamed(text); s != 0 {
			r.severity = s
		}
		return true
	case isTime:
		if !r.time.IsZero() {
			return false
		}
		t, ok := moment(text)
		if ok {
			r.time = t
		} else if r.timeText == "" {
			r.timeText = text
		}
		return ok
	case isTrace:
		return r.setTrace(text)
	case isSpan:
		return r.setSpan(text)
	case isParent:
		return r.setParent(text)
	case isService:
		r.service = text
		return true
	case isHost:
		r.host = text
		return true
	case isNothing, isText:
	}
	return false
}

// flatten sets an attribute, and those within it by names joined with dots.
func flatten(r *record, name string, value any, depth int) {
	if text, ok := scalar(value); ok {
		r.set(name, text)
		return
	}
	if inner, ok := value.(map[string]any); ok && depth < maxDepth {
		for _, key := range slices.Sorted(maps.Keys(inner)) {
			if len(r.attributes) >= maxAttributes {
				r.omitted++ // whatever is in it
				continue
			}
			flatten(r, name+"."+key, inner[key], depth+1)
		}
		return
	}
	text, _ := json.Marshal(value) // it was JSON
	r.set(name, string(text))
}

// scalar is the text of a value that is neither an object nor a list.
func scalar(value any) (string, bool) {
	switch v := value.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// shallow reports whether JSON nests no deeper than some levels. It looks at brackets outside of texts alone.
func shallow(text []byte, most int) bool {
	depth, inText := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			if depth++; depth > most {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}
