package app

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

const (
	traceLength = 32          // hex digits of a trace id
	traceTime   = time.Hour   // before and after an event, in which the others of its trace are looked for
	clockSkew   = time.Minute // between the id of a request and the time of its record
	mostHops    = 1000        // of one trace that are looked at
)

// notFoundError says that what was asked for is not there: whoever was asked has answered.
type notFoundError string

func (e notFoundError) Error() string { return string(e) }

func notFoundf(format string, args ...any) error { return notFoundError(fmt.Sprintf(format, args...)) }

// byID returns the newest event with a request id, with the only id that begins so, or the first of a trace.
func (f *finder) byID(ctx context.Context, id string) (*event.Event, error) {
	id = strings.ToLower(strings.TrimSpace(id))
	if _, err := hex.DecodeString(id); err == nil && len(id) == traceLength {
		return f.byTrace(ctx, id)
	}
	if id == "" {
		return nil, notFoundf("give the id of a request; it stands in X-Request-Id of the answer and at the end of each line of palisade up")
	}
	where := query.Query{Where: query.Prefix{Field: query.ID, Value: id}}
	if len(id) == len("01a2043a-37ac-7e28-9b9c-87d288db326d") {
		where.Where = query.Is{Field: query.ID, Value: id}
	}
	near := where
	near.From, near.To = aroundID(id)
	for _, q := range []query.Query{near, where} {
		page, err := f.Last(ctx, q, 100, query.Cursor{})
		if err != nil {
			return nil, err
		}
		if e, err := only(page.Events, id); e != nil || err != nil {
			return e, err
		}
		if q.From.IsZero() {
			break
		}
	}
	return nil, notFoundf("no record of request %q in %s; the id stands in X-Request-Id of the answer and at the end of each line of palisade up%s", id, f.where, f.others())
}

// others names other records beside that of a journal.
func (f *finder) others() string {
	if f.journal == nil {
		return ""
	}
	return elsewhereRecorded(f.journal.Dir)
}

// aroundID is when requests were made whose ids begin so: a UUIDv7 begins with milliseconds. Zero: it does not say.
func aroundID(id string) (from, to time.Time) {
	digits := strings.ReplaceAll(id, "-", "")
	digits = digits[:min(len(digits), 12)]
	if len(digits) < 6 {
		return from, to
	}
	first, err := hex.DecodeString(digits + strings.Repeat("0", 16-len(digits)))
	last, err2 := hex.DecodeString(digits + strings.Repeat("f", 12-len(digits)) + "0000")
	if err != nil || err2 != nil {
		return from, to
	}
	milliseconds := func(b []byte) time.Time {
		var n int64
		for _, one := range b[:6] {
			n = n<<8 | int64(one)
		}
		return time.UnixMilli(n)
	}
	return milliseconds(first).Add(-clockSkew), milliseconds(last).Add(clockSkew)
}

// only returns the newest event of those of one id, rather one that closes a request than one that opens it. Nil: there is none.
func only(events []*event.Event, id string) (*event.Event, error) {
	var found *event.Event
	ids := map[string]bool{}
	for _, e := range events {
		ids[e.ID] = true
		if found == nil || found.Open && !e.Open {
			found = e
		}
	}
	if len(ids) > 1 {
		return nil, notFoundf("%d records have ids that begin with %q; give more of the id, such as %s", len(ids), id, found.ID)
	}
	return found, nil
}

// byTrace returns the first event of a trace.
func (f *finder) byTrace(ctx context.Context, trace string) (*event.Event, error) {
	page, err := f.Last(ctx, query.Query{Where: query.Is{Field: query.Trace, Value: trace}}, mostHops, query.Cursor{})
	if err != nil {
		return nil, err
	}
	hops := hopsOf(page.Events)
	if len(hops) == 0 {
		return nil, notFoundf("no record of the trace %q in %s", trace, f.where)
	}
	return hops[0].Event, nil
}

// trace returns all events of the trace of one.
func (f *finder) trace(ctx context.Context, e *event.Event) ([]*event.Event, error) {
	if e.TraceID == "" || e.Act != nil {
		return nil, nil
	}
	q := query.Query{Where: query.Is{Field: query.Trace, Value: e.TraceID}, From: e.Time.Add(-traceTime), To: e.Time.Add(e.Took + traceTime)}
	page, err := f.Last(ctx, q, mostHops, query.Cursor{})
	if err != nil {
		return nil, err
	}
	return page.Events, nil
}
