package segment

import (
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// kind is how a column is held and written.
type kind uint8

const (
	named  kind = iota // text of which there are few: a dictionary
	text               // text of which there is much: a dictionary while that is small
	unique             // text that is hardly ever twice the same
	code               // number of which there are few
	size               // number
	flag               // 0 or 1
	list               // numbers
)

// column is one column of a segment: where it comes from in an event, and how it goes back. The columns hold every field of
// an event, so that event.AppendJSON writes the same bytes again; those that can be searched hold what query says.
type column struct {
	name   string
	kind   kind
	field  query.Field
	words  words
	filter bool // has a Bloom filter

	text    func(*event.Event) string
	join    func(dst []byte, e *event.Event) []byte // text that is put together; instead of text
	setText func(*event.Event, string) error
	num     func(*event.Event) int64
	setNum  func(*event.Event, int64)
}

// The classes of events, which are kept in segments of their own.
const (
	ClassRequest    = "request"
	ClassConnection = "connection"
	ClassAct        = "act"
	ClassLog        = "log"
)

// ClassOf is the class of an event.
func ClassOf(e *event.Event) string {
	switch {
	case e.Log != nil:
		return ClassLog
	case e.Act != nil:
		return ClassAct
	case e.Connection != nil:
		return ClassConnection
	}
	return ClassRequest
}

// The places of columns that are read by themselves.
const (
	classColumn = iota
	timeColumn
	idColumn
	_ // open
	numberColumn
)

// columns is a constant table. An event is put together in this order: what it is of comes first.
var columns = join(
	[]column{
		{name: "class", kind: named, text: ClassOf, setText: setClass},
		{name: "time", kind: size, field: query.Time, num: func(e *event.Event) int64 { return e.Time.UnixNano() }, setNum: setTime},
		{name: "id", kind: unique, field: query.ID, filter: true, text: func(e *event.Event) string { return e.ID }, setText: plain(func(e *event.Event) *string { return &e.ID })},
		truth("open", func(e *event.Event) *bool { return &e.Open }),
		{name: "number", kind: size, num: nothing, setNum: func(*event.Event, int64) {}}, // of the store, not of the event
	},
	found(), asked(), decided(), measured(), acted(), logged(),
)

func nothing(*event.Event) int64 { return 0 }

func join(parts ...[]column) []column {
	var out []column
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// found are the columns that query derives from several fields.
func found() []column {
	derived := func(name string, f query.Field, set func(*event.Event, string)) column {
		return column{
			name: name, kind: named, field: f, text: func(e *event.Event) string { return query.TextOf(e, f) },
			setText: func(e *event.Event, s string) error { set(e, s); return nil },
		}
	}
	derives := func(*event.Event, string) {}
	authenticated := column{name: "authenticated", kind: flag, num: func(e *event.Event) int64 { return bit(e.User != nil) }, setNum: func(e *event.Event, v int64) {
		if v != 0 {
			e.User = &event.User{}
		}
	}}
	user := derived("user", query.User, func(e *event.Event, s string) {
		switch {
		case e.Act != nil:
			e.Act.Who += s
		case e.User != nil:
			e.User.Subject = s
		}
	})
	user.kind, user.words, user.filter = text, spoken, true
	caller := derived("caller", query.Caller, func(e *event.Event, s string) {
		if e.Act != nil {
			e.Act.Who += s
		} else {
			e.Workload = s
		}
	})
	caller.words = spoken
	service := derived("service", query.Service, func(e *event.Event, s string) {
		if e.Act == nil {
			e.Service = s
		}
	})
	return []column{
		authenticated, user, caller, service,
		derived("kind", query.Kind, func(e *event.Event, s string) {
			if e.Act != nil {
				e.Act.Kind = event.Kind(s)
			}
		}),
		derived("side", query.Side, derives),
		derived("outcome", query.Outcome, derives),
		derived("reason", query.Reason, func(e *event.Event, s string) {
			if e.Act != nil {
				e.Act.Reason = s
			}
		}),
	}
}

// asked are the columns of who asked for what.
func asked() []column {
	return []column{
		field("method", named, query.Method, func(e *event.Event) *string { return &e.Method }),
		field("route", named, query.Route, func(e *event.Event) *string { return &e.Route }).spoken(),
		field("host", named, query.Host, func(e *event.Event) *string { return &e.Host }).spoken(),
		field("path", text, query.Path, func(e *event.Event) *string { return &e.Path }).spoken(),
		field("query", text, query.None, func(e *event.Event) *string { return &e.Query }).spoken(),
		field("address", text, query.Address, func(e *event.Event) *string { return &e.Client }).spoken(),
		number("client_port", code, func(e *event.Event) *int { return &e.ClientPort }),
		field("peer", text, query.None, func(e *event.Event) *string { return &e.Peer }),
		{name: "trace", kind: unique, field: query.Trace, filter: true, text: func(e *event.Event) string { return e.TraceID }, setText: plain(func(e *event.Event) *string { return &e.TraceID })},
		field("span", unique, query.None, func(e *event.Event) *string { return &e.SpanID }),
		field("fleet", named, query.None, func(e *event.Event) *string { return &e.Fleet }),
		field("snapshot", named, query.None, func(e *event.Event) *string { return &e.Snapshot }),
		field("listener", named, query.None, func(e *event.Event) *string { return &e.Listener }),
		{name: "request_side", kind: code, num: func(e *event.Event) int64 { return int64(e.Side) }, setNum: func(e *event.Event, v int64) { e.Side = event.Side(v) }},
		field("scheme", named, query.None, func(e *event.Event) *string { return &e.Scheme }),
		field("protocol", named, query.None, func(e *event.Event) *string { return &e.Proto }),
		field("user_agent", named, query.None, func(e *event.Event) *string { return &e.UserAgent }).spoken(),
		field("referrer", text, query.None, func(e *event.Event) *string { return &e.Referer }).spoken(),
		{name: "headers", kind: text, words: headed, join: headers, setText: setHeaders},
		field("tls_version", named, query.None, func(e *event.Event) *string { return &e.TLSVersion }),
		field("tls_cipher", named, query.None, func(e *event.Event) *string { return &e.TLSCipher }),
		field("tls_group", named, query.None, func(e *event.Event) *string { return &e.TLSGroup }),
		field("tls_server", named, query.None, func(e *event.Event) *string { return &e.TLSServer }),
		ofUser("user_provider", named, func(u *event.User) *string { return &u.Provider }),
		ofUser("user_issuer", named, func(u *event.User) *string { return &u.Issuer }),
		ofUser("user_client", named, func(u *event.User) *string { return &u.ClientID }),
		ofUser("user_token", text, func(u *event.User) *string { return &u.TokenID }),
		{name: "user_roles", kind: named, join: roles, setText: setRoles},
		{name: "user_attributes", kind: text, join: attributes, setText: setAttributes},
		field("template", named, query.None, func(e *event.Event) *string { return &e.Template }),
	}
}

// decided are the columns of what was decided.
func decided() []column {
	return []column{
		truth("allowed", func(e *event.Event) *bool { return &e.Allowed }),
		truth("dry_run", func(e *event.Event) *bool { return &e.DryRun }),
		truth("drift", func(e *event.Event) *bool { return &e.Drift }),
		func() column {
			c := number("status", code, func(e *event.Event) *int { return &e.Status })
			c.field = query.Status
			return c
		}(),
		field("problem", named, query.None, func(e *event.Event) *string { return &e.Problem }).spoken(),
		field("aborted", named, query.None, func(e *event.Event) *string { return &e.Aborted }),
		{name: "trail", kind: text, words: trailed, join: trail, setText: setTrail},
	}
}
