package intake

import (
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/event"
)

// severityNamed returns the severity of a level's name; 0 if it is none that is known.
func severityNamed(name string) event.Severity {
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "trace", "trc", "finest", "silly", "verbose":
		return event.SeverityTrace
	case "debug", "dbg", "d", "finer", "fine":
		return event.SeverityDebug
	case "info", "information", "informational", "inf", "i", "config", "log":
		return event.SeverityInfo
	case "notice":
		return event.SeverityInfo + 1
	case "warn", "warning", "wrn", "w":
		return event.SeverityWarn
	case "error", "err", "e", "severe":
		return event.SeverityError
	case "critical", "crit", "dpanic":
		return event.SeverityError + 1
	case "alert":
		return event.SeverityError + 2
	case "fatal", "panic", "emerg", "emergency", "f":
		return event.SeverityFatal
	}
	return severityTens(name)
}

// severityTens returns the severity of a number as pino and bunyan write it: 10 (trace) to 60 (fatal).
func severityTens(text string) event.Severity {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n < 10 || n > 60 {
		return 0
	}
	return event.Severity(4*(int(n)/10-1) + 1)
}

// severitySyslog returns the severity of a severity of syslog (RFC 5424, section 6.2.1), as the Logs Data Model of OpenTelemetry
// maps them.
func severitySyslog(n int) event.Severity {
	severities := [...]event.Severity{
		event.SeverityFatal, event.SeverityError + 2, event.SeverityError + 1, event.SeverityError, event.SeverityWarn, event.SeverityInfo + 1, event.SeverityInfo, event.SeverityDebug,
	}
	if n < 0 || n >= len(severities) {
		return 0
	}
	return severities[n]
}

// syslogName is the name of a severity of syslog.
func syslogName(n int) string {
	names := [...]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}
	if n < 0 || n >= len(names) {
		return ""
	}
	return names[n]
}
