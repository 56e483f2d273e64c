package segment

import (
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// logged are the columns of log records.
func logged() []column {
	severity := ofLogNumber("log_severity", code, func(l *event.Log) int64 { return int64(l.Severity) }, func(l *event.Log, v int64) { l.Severity = event.Severity(v) })
	return []column{
		{name: "level", kind: named, field: query.Level, text: func(e *event.Event) string { return query.TextOf(e, query.Level) }, setText: func(*event.Event, string) error { return nil }},
		severity,
		ofLog("log_source", named, spoken, func(l *event.Log) *string { return &l.Source }),
		ofLog("log_form", named, silent, func(l *event.Log) *string { return &l.Form }),
		ofLog("log_level", named, silent, func(l *event.Log) *string { return &l.Level }),
		ofLog("log_text", text, spoken, func(l *event.Log) *string { return &l.Text }),
		{name: "log_attributes", kind: text, words: valued, join: logAttributes, setText: setLogAttributes},
		ofLogNumber("log_observed", size, observed, setObserved),
		ofLog("log_original", named, silent, func(l *event.Log) *string { return &l.Original }),
		ofLogNumber("log_omitted", size, func(l *event.Log) int64 { return l.Omitted }, func(l *event.Log, v int64) { l.Omitted = v }),
	}
}

// ofLog is a column of a text of a log record, empty if there is none.
func ofLog(name string, k kind, w words, at func(*event.Log) *string) column {
	return column{
		name: name, kind: k, words: w,
		text: func(e *event.Event) string {
			if e.Log == nil {
				return ""
			}
			return *at(e.Log)
		},
		setText: func(e *event.Event, s string) error {
			if e.Log != nil {
				*at(e.Log) = s
			}
			return nil
		},
	}
}

// ofLogNumber is a column of a number of a log record, 0 if there is none.
func ofLogNumber(name string, k kind, get func(*event.Log) int64, set func(*event.Log, int64)) column {
	return column{
		name: name, kind: k,
		num: func(e *event.Event) int64 {
			if e.Log == nil {
				return 0
			}
			return get(e.Log)
		},
		setNum: func(e *event.Event, v int64) {
			if e.Log != nil {
				set(e.Log, v)
			}
		},
	}
}

// observed is when a record was taken in, nanoseconds since 1970; 0 stands for no time.
func observed(l *event.Log) int64 {
	if l.Observed.IsZero() {
		return 0
	}
	return l.Observed.UnixNano()
}

func setObserved(l *event.Log, v int64) {
	if v != 0 {
		l.Observed = time.Unix(0, v).UTC()
	}
}
