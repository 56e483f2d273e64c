package syslog

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/sink"
)

const (
	facility = 13 // log audit (RFC 5424, table 1)

	// ID is the SD-ID of our structured data (RFC 5424, section 6.3.2). 32473 is the enterprise number for who has none
	// (RFC 5612).
	ID = "palisade@32473"

	maxHostname = 255
	maxMsgID    = 32
)

// Append writes an event as one message (RFC 5424, section 6), without a frame.
func Append(dst []byte, e *event.Event, hostname string) []byte {
	dst = append(dst, '<')
	dst = strconv.AppendInt(dst, int64(facility*8+severity(e.SeverityID())), 10)
	dst = append(dst, ">1 "...)
	dst = e.Time.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000Z")
	dst = append(dst, ' ')
	dst = appendName(dst, hostname, maxHostname)
	dst = append(dst, " palisade - "...)
	dst = appendName(dst, sink.Class(e), maxMsgID)
	dst = append(dst, " ["+ID...)
	sink.Each(fields, e, func(name string, value any) {
		dst = append(append(dst, ' '), name...)
		dst = append(dst, `="`...)
		switch v := value.(type) {
		case string:
			dst = appendValue(dst, v)
		case int64:
			dst = strconv.AppendInt(dst, v, 10)
		}
		dst = append(dst, '"')
	})
	dst = append(dst, "] "...)
	return event.AppendJSON(dst, e)
}

// severity is that of syslog for one of OCSF.
func severity(of int) int {
	switch of {
	case 0, 1:
		return 6 // informational
	case 2:
		return 5 // notice
	case 3:
		return 4 // warning
	case 4:
		return 3 // error
	}
	return 2 // critical
}

// appendName writes what stands in a header: printable ASCII without spaces, or - for nothing.
func appendName(dst []byte, name string, most int) []byte {
	if name == "" {
		return append(dst, '-')
	}
	for i := range min(len(name), most) {
		if c := name[i]; c > ' ' && c < 0x7f {
			dst = append(dst, c)
		} else {
			dst = append(dst, '_')
		}
	}
	return dst
}

// appendValue escapes a PARAM-VALUE (RFC 5424, section 6.3.3). Control characters, which servers that read lines stumble
// over, become spaces.
func appendValue(dst []byte, value string) []byte {
	for _, r := range value { // what is not UTF-8 becomes U+FFFD
		switch {
		case r == '"' || r == '\\' || r == ']':
			dst = append(dst, '\\', byte(r))
		case r < ' ' || r == 0x7f:
			dst = append(dst, ' ')
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}

// fields are the parameters of our structured data, a constant table.
var fields = []sink.Field{
	field("id", "metadata.uid", func(e *event.Event) any { return e.UID() }),
	field("trace", "trace.uid", func(e *event.Event) any { return e.TraceID }),
	field("fleet", "unmapped.fleet", func(e *event.Event) any { return e.Fleet }),
	field("outcome", "(action_id, disposition_id)", func(e *event.Event) any { return sink.Outcome(e) }),
	field("problem", "(status_detail, status_code)", problem),
	field("status", "http_response.code", func(e *event.Event) any { return sink.Positive(e.Status) }),
	field("service", "(dst_endpoint.svc_name of a request or connection)", func(e *event.Event) any { return sink.Service(e) }),
	field("route", "unmapped.route", func(e *event.Event) any { return e.Route }),
	field("method", "http_request.http_method", func(e *event.Event) any { return e.Method }),
	field("client", "src_endpoint.ip", func(e *event.Event) any { return sink.IP(e.Client) }),
	field("user", "(actor.user.uid of a person)", func(e *event.Event) any { return sink.User(e) }),
	field("workload", "unmapped.workload", func(e *event.Event) any { return e.Workload }),
	field("rule", "(firewall_rule.uid, policy.uid)", func(e *event.Event) any { id, _ := sink.Rule(e); return id }),
	field("act", "unmapped.act.kind", func(e *event.Event) any { return act(e) }),
}

// Fields are the parameters of our structured data.
func Fields() []sink.Field { return fields }

func field(name, from string, of func(*event.Event) any) sink.Field {
	return sink.Field{Name: name, From: from, Of: of}
}

func problem(e *event.Event) any {
	if e.Act != nil {
		return e.Act.Reason
	}
	return e.Problem
}

func act(e *event.Event) string {
	if e.Act == nil {
		return ""
	}
	return strings.ToLower(string(e.Act.Kind))
}
