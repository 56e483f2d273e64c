package limit

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/palisade-security/palisade/model"
)

// texts keeps recently written RateLimit items, so that a busy limit writes each only once. A collision
// replaces an entry; nothing grows.
type texts [256]atomic.Pointer[text]

type text struct {
	before, name     string
	remaining, reset int64
	value            string
}

// item returns the RateLimit item of a policy: "name";r=remaining;t=seconds
// (draft-ietf-httpapi-ratelimit-headers, section 4). Reset is in seconds. If there are items before it, they
// come back as one list.
func (c *texts) item(before, name string, remaining, reset int64) string {
	entry := &c[uint8(remaining*31+reset)]
	if t := entry.Load(); t != nil && t.remaining == remaining && t.reset == reset && t.name == name && t.before == before {
		return t.value
	}
	var few [128]byte // keeps the usual text off the heap until it is whole
	b := few[:0]
	if before != "" {
		b = append(append(b, before...), ", "...)
	}
	b = append(b, name...)
	b = append(b, ";r="...)
	b = strconv.AppendInt(b, remaining, 10)
	b = append(b, ";t="...)
	b = strconv.AppendInt(b, reset, 10)
	t := &text{before, name, remaining, reset, string(b)}
	entry.Store(t)
	return t.value
}

// policy returns the RateLimit-Policy item of a limit: "name";q=quota;w=seconds
// (draft-ietf-httpapi-ratelimit-headers, section 3). Quota counts requests of this limit's cost; a window
// that is no whole number of seconds is stretched to one, and the quota with it. The partition key (pk) is
// left out: it would tell who is counted.
func policy(name string, l model.Limit) string {
	window := max(l.Rate.Window, 0)
	seconds := max(ceilSeconds(int64(window)), 1)
	count := float64(max(l.Rate.Count, 0)) / float64(max(l.Cost, 1))
	if window > 0 {
		count *= float64(seconds) / window.Seconds()
	}
	return name + ";q=" + strconv.FormatInt(int64(count), 10) + ";w=" + strconv.FormatInt(seconds, 10)
}

// quoted returns name as a structured-field string (RFC 9651, section 3.3.3), which holds printable ASCII.
func quoted(name string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range name {
		switch {
		case c < ' ' || c > '~':
			b.WriteByte('?')
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			fallthrough
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// ceilSeconds rounds nanoseconds up to whole seconds; a negative span is 0.
func ceilSeconds(ns int64) int64 {
	return (max(ns, 0) + int64(time.Second) - 1) / int64(time.Second)
}
