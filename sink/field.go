package sink

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/event"
)

// Field says what of an event goes under which name.
type Field struct {
	Name string
	From string                 // where the same stands in the event as written (OCSF), with dots; in parentheses what it is made of
	Of   func(*event.Event) any // nil, an empty text or an empty list: the event does not have it
}

// Each hands out the fields that an event has.
func Each(fields []Field, e *event.Event, yield func(name string, value any)) {
	for i := range fields {
		switch v := fields[i].Of(e).(type) {
		case nil:
		case string:
			if v != "" {
				yield(fields[i].Name, v)
			}
		case []string:
			if len(v) > 0 {
				yield(fields[i].Name, v)
			}
		default:
			yield(fields[i].Name, v)
		}
	}
}

// Positive is n, or nil for a number that an event does not have.
func Positive[N int | int64](n N) any {
	if n <= 0 {
		return nil
	}
	return int64(n)
}

// Outcome is what came of an event in one word: allowed, denied, error (what should decide could not) or dry-run
// (allowed only by that); of acts done, denied or failed. Log records have none.
func Outcome(e *event.Event) string {
	switch {
	case e.Log != nil:
		return ""
	case e.Act != nil:
		return string(e.Act.Outcome.Known())
	case e.Allowed && e.DryRun:
		return "dry-run"
	case e.Allowed:
		return "allowed"
	}
	if s := e.Refusing(); s != nil && s.Outcome == event.OutcomeError {
		return "error"
	}
	return "denied"
}

// Rule is the policy or rule that refused, and why; empty if none is named.
func Rule(e *event.Event) (id, text string) {
	if s := e.Refusing(); s != nil {
		for i := range s.Reasons {
			if r := &s.Reasons[i]; r.Policy != "" {
				return r.Policy, r.Text
			}
		}
	}
	return "", ""
}

// IP is text if it is an IP address.
func IP(text string) string {
	if _, err := netip.ParseAddr(text); err != nil {
		return ""
	}
	return text
}

// HostPort splits host:port; the port is 0 if there is none.
func HostPort(text string) (host string, port int) {
	host, digits, err := net.SplitHostPort(text)
	if err != nil {
		return text, 0
	}
	if port, err = strconv.Atoi(digits); err != nil {
		return text, 0
	}
	return host, port
}

// Class is the class of an event as one lower-case word: http_activity, network_activity, log...
func Class(e *event.Event) string {
	if e.Log != nil {
		return "log"
	}
	_, name := e.Class()
	return strings.ReplaceAll(strings.ToLower(name), " ", "_")
}

// User is the person who asked, or the administrator who acted; empty where that was a service, or nobody.
func User(e *event.Event) string {
	switch {
	case e.Act != nil && e.Act.Role != "":
		return e.Act.Who
	case e.Act == nil && e.User != nil:
		return e.User.Subject
	}
	return ""
}

// Service is the service that was called, or that wrote the log record. An act is about one, or was seen at one.
func Service(e *event.Event) string {
	if e.Act != nil {
		return ""
	}
	return e.Service
}

// Message is an event on one line, for people.
func Message(e *event.Event) string {
	switch {
	case e.Log != nil:
		return e.Log.Text
	case e.Act != nil:
		return join(string(e.Act.Kind), e.Act.Who, e.Act.Object, Outcome(e), e.Act.Reason, e.Act.Text)
	case e.Connection != nil:
		return join("connection", e.Workload, "to", e.Host, Outcome(e), e.Problem)
	}
	status := ""
	if e.Status > 0 {
		status = strconv.Itoa(e.Status)
	}
	return join(e.Method, e.Host+e.Path, status, Outcome(e), e.Problem)
}

func join(words ...string) string {
	var b strings.Builder
	for _, w := range words {
		if w == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(w)
	}
	return b.String()
}
