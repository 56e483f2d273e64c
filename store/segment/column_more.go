package segment

import (
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// field is a column of a text.
func field(name string, k kind, f query.Field, at func(*event.Event) *string) column {
	return column{name: name, kind: k, field: f, text: func(e *event.Event) string { return *at(e) }, setText: plain(at)}
}

func (c column) spoken() column {
	c.words = spoken
	return c
}

func plain(at func(*event.Event) *string) func(*event.Event, string) error {
	return func(e *event.Event, s string) error {
		*at(e) = s
		return nil
	}
}

func number[T int | int64 | time.Duration](name string, k kind, at func(*event.Event) *T) column {
	return column{name: name, kind: k, num: func(e *event.Event) int64 { return int64(*at(e)) }, setNum: func(e *event.Event, v int64) { *at(e) = T(v) }}
}

func truth(name string, at func(*event.Event) *bool) column {
	return column{name: name, kind: flag, num: func(e *event.Event) int64 { return bit(*at(e)) }, setNum: func(e *event.Event, v int64) { *at(e) = v != 0 }}
}

func bit(v bool) int64 {
	if v {
		return 1
	}
	return 0
}

// ofUser is a column of a text of the user, empty if there is none.
func ofUser(name string, k kind, at func(*event.User) *string) column {
	return column{
		name: name, kind: k,
		text: func(e *event.Event) string {
			if e.User == nil {
				return ""
			}
			return *at(e.User)
		},
		setText: func(e *event.Event, s string) error {
			if e.User != nil {
				*at(e.User) = s
			}
			return nil
		},
	}
}

// ofAct is a column of a text of the act, empty if there is none.
func ofAct(name string, k kind, w words, at func(*event.Act) *string) column {
	return column{
		name: name, kind: k, words: w,
		text: func(e *event.Event) string {
			if e.Act == nil {
				return ""
			}
			return *at(e.Act)
		},
		setText: func(e *event.Event, s string) error {
			if e.Act != nil {
				*at(e.Act) = s
			}
			return nil
		},
	}
}

// measured are the columns of what came of it.
func measured() []column {
	took := number("duration", size, func(e *event.Event) *time.Duration { return &e.Took })
	took.field = query.Duration
	return []column{
		took,
		number("bytes_in", size, func(e *event.Event) *int64 { return &e.BytesIn }),
		number("bytes_out", size, func(e *event.Event) *int64 { return &e.BytesOut }),
		field("upstream", named, query.None, func(e *event.Event) *string { return &e.Upstream }).spoken(),
		number("upstream_status", code, func(e *event.Event) *int { return &e.UpstreamStatus }),
		number("upstream_duration", size, func(e *event.Event) *time.Duration { return &e.UpstreamTook }),
		truth("upstream_reused", func(e *event.Event) *bool { return &e.UpstreamReused }),
		number("upstream_attempts", code, func(e *event.Event) *int { return &e.Attempts }),
		{name: "trail_durations", kind: list},
	}
}

// acted are the columns of acts, and of connections that are no HTTP.
func acted() []column {
	return []column{
		{
			name: "connection_side", kind: code,
			num: func(e *event.Event) int64 {
				if e.Connection == nil {
					return 0
				}
				return int64(e.Connection.Side)
			},
			setNum: func(e *event.Event, v int64) {
				if e.Connection != nil {
					e.Connection.Side = event.Side(v)
				}
			},
		},
		{
			name: "connection_protocol", kind: named,
			text: func(e *event.Event) string {
				if e.Connection == nil {
					return ""
				}
				return e.Connection.Protocol
			},
			setText: func(e *event.Event, s string) error {
				if e.Connection != nil {
					e.Connection.Protocol = s
				}
				return nil
			},
		},
		ofAct("act_role", named, silent, func(a *event.Act) *string { return &a.Role }),
		ofAct("act_object", text, spoken, func(a *event.Act) *string { return &a.Object }),
		ofAct("act_outcome", named, silent, func(a *event.Act) *string { return (*string)(&a.Outcome) }),
		ofAct("act_text", text, spoken, func(a *event.Act) *string { return &a.Text }),
		ofAct("act_proxy", named, spoken, func(a *event.Act) *string { return &a.Proxy }),
		{
			name: "act_omitted", kind: size,
			num: func(e *event.Event) int64 {
				if e.Act == nil {
					return 0
				}
				return e.Act.Omitted
			},
			setNum: func(e *event.Event, v int64) {
				if e.Act != nil {
					e.Act.Omitted = v
				}
			},
		},
	}
}

func setClass(e *event.Event, s string) error {
	switch s {
	case ClassLog:
		e.Log = &event.Log{}
	case ClassAct:
		e.Act = &event.Act{}
	case ClassConnection:
		e.Connection = &event.Connection{}
	}
	return nil
}

func setTime(e *event.Event, v int64) { e.Time = time.Unix(0, v).UTC() }
