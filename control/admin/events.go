package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// Paths of the interface for events. Of their parameters q is the query as people write it, from and to are times (RFC 3339).
const (
	EventsPath = "/v1/admin/events"       // GET, n, time and key of the cursor: EventsAnswer
	CountsPath = "/v1/admin/events/count" // GET, by, top; with per, a duration: over time. CountsAnswer or SeriesAnswer
)

// Events is where events are found. A store answers, and so does Client.
type Events interface {
	Last(ctx context.Context, q query.Query, n int, from query.Cursor) (*query.Page, error)
	Count(ctx context.Context, q query.Query, by query.Field, top int) (*query.Counts, error)
	Histogram(ctx context.Context, q query.Query, step time.Duration, by query.Field, top int) (*query.Series, error)
}

// EventsAnswer is a page of events, newest first.
type EventsAnswer struct {
	Events []json.RawMessage `json:"events"` // OCSF, as recorded
	Next   *CursorAnswer     `json:"next,omitempty"`
}

// CursorAnswer is where the next page begins.
type CursorAnswer struct {
	Time int64  `json:"time,string"` // nanoseconds since 1970
	Key  string `json:"key"`
}

// CountsAnswer is how many events there are of each value.
type CountsAnswer struct {
	Total  int64         `json:"total"`
	Values int           `json:"values"` // how many different ones there are
	Top    []CountAnswer `json:"top"`    // most first
}

// CountAnswer is how many events have a value.
type CountAnswer struct {
	Value string `json:"value"`
	Count int64  `json:"count"`
}

// SeriesAnswer is how many events there are over time.
type SeriesAnswer struct {
	From time.Time     `json:"from"`
	Step time.Duration `json:"step_ns"`
	All  []int64       `json:"all"`
	By   []LineAnswer  `json:"by,omitempty"`
}

// LineAnswer is the counts of one value.
type LineAnswer struct {
	Value  string  `json:"value"`
	Counts []int64 `json:"counts"`
}

// mostEvents bounds a page as it travels, so that an answer fits into memory many times over.
const mostEvents = 1000

// AnswerEvents answers EventsPath. The error is a *Problem if the question is wrong.
func AnswerEvents(ctx context.Context, e Events, v url.Values) (*EventsAnswer, error) {
	q, err := readQuery(v)
	if err != nil {
		return nil, err
	}
	n, err := number(v, "n", 100, mostEvents)
	if err != nil {
		return nil, err
	}
	from := query.Cursor{Key: v.Get("key")}
	if text := v.Get("time"); text != "" {
		if from.Time, err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, wrong("time is no number of nanoseconds since 1970")
		}
	}
	page, err := e.Last(ctx, q, n, from)
	if err != nil {
		return nil, mendable(err)
	}
	out := &EventsAnswer{Events: make([]json.RawMessage, len(page.Events))}
	for i, one := range page.Events {
		out.Events[i] = event.AppendJSON(nil, one)
	}
	if !page.Next.IsZero() {
		out.Next = &CursorAnswer{page.Next.Time, page.Next.Key}
	}
	return out, nil
}

// AnswerCounts answers CountsPath. The error is a *Problem if the question is wrong.
func AnswerCounts(ctx context.Context, e Events, v url.Values) (any, error) {
	q, err := readQuery(v)
	if err != nil {
		return nil, err
	}
	top, err := number(v, "top", 10, query.MaxTop)
	if err != nil {
		return nil, err
	}
	by := query.FieldNamed(v.Get("by"))
	if by == query.None && v.Get("by") != "" {
		return nil, wrong("events have no field " + strconv.Quote(v.Get("by")))
	}
	if v.Get("per") == "" {
		if err := query.CheckCount(by, top); err != nil {
			return nil, wrong(err.Error())
		}
		c, err := e.Count(ctx, q, by, top)
		if err != nil {
			return nil, mendable(err)
		}
		out := CountsAnswer{Total: c.Total, Values: c.Values, Top: make([]CountAnswer, len(c.Top))}
		for i, one := range c.Top {
			out.Top[i] = CountAnswer(one)
		}
		return out, nil
	}
	step, err := time.ParseDuration(v.Get("per"))
	if err != nil || step <= 0 {
		return nil, wrong("per is no duration, such as 1h")
	}
	if _, err := query.StartChart(&q, step, by, top); err != nil {
		return nil, wrong(err.Error())
	}
	s, err := e.Histogram(ctx, q, step, by, top)
	if err != nil {
		return nil, mendable(err)
	}
	out := SeriesAnswer{From: s.From, Step: s.Step, All: s.All}
	for _, line := range s.By {
		out.By = append(out.By, LineAnswer(line))
	}
	return out, nil
}

// readQuery reads which events are meant.
func readQuery(v url.Values) (q query.Query, err error) {
	if q.Where, err = query.Parse(v.Get("q")); err != nil {
		return q, wrong(err.Error())
	}
	for name, at := range map[string]*time.Time{"from": &q.From, "to": &q.To} {
		if text := v.Get(name); text != "" {
			if *at, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return q, wrong(name + " is no time, such as 2026-11-22T10:30:00Z")
			}
		}
	}
	if err := q.Validate(); err != nil {
		return q, wrong(err.Error())
	}
	return q, nil
}

func number(v url.Values, name string, normal, most int) (int, error) {
	text := v.Get(name)
	if text == "" {
		return normal, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, wrong(fmt.Sprintf("%s must be a number from 1 to %d", name, most))
	}
	return n, nil
}

func wrong(detail string) error {
	return &Problem{Type: "about:blank", Title: http.StatusText(http.StatusBadRequest), Status: http.StatusBadRequest, Detail: detail}
}

// mendable tells the asker what can be mended by asking otherwise.
func mendable(err error) error {
	if errors.Is(err, query.ErrTooMany) {
		return wrong(err.Error())
	}
	return err
}

// parameters are those of a query.
func parameters(q query.Query) url.Values {
	v := url.Values{}
	if q.Where != nil {
		v.Set("q", query.String(q.Where))
	}
	for name, at := range map[string]time.Time{"from": q.From, "to": q.To} {
		if !at.IsZero() {
			v.Set(name, at.Format(time.RFC3339Nano))
		}
	}
	return v
}

// Last returns up to n of the events that are meant, newest first, from a place on.
func (c *Client) Last(ctx context.Context, q query.Query, n int, from query.Cursor) (*query.Page, error) {
	if err := cmp.Or(q.Validate(), query.CheckLast(n)); err != nil {
		return nil, err
	}
	page := &query.Page{Next: from}
	for len(page.Events) < n {
		v := parameters(q)
		v.Set("n", strconv.Itoa(min(n-len(page.Events), mostEvents)))
		if !page.Next.IsZero() {
			v.Set("time", strconv.FormatInt(page.Next.Time, 10))
			v.Set("key", page.Next.Key)
		}
		var a EventsAnswer
		if err := c.do(ctx, http.MethodGet, EventsPath+"?"+v.Encode(), nil, &a); err != nil {
			return nil, err
		}
		for _, data := range a.Events {
			e, err := event.Parse(data)
			if err != nil {
				return nil, fmt.Errorf("reading an event of control: %w", err)
			}
			page.Events = append(page.Events, e)
		}
		if a.Next == nil {
			page.Next = query.Cursor{}
			break
		}
		page.Next = query.Cursor{Time: a.Next.Time, Key: a.Next.Key}
	}
	return page, nil
}

// Count returns how many events of those meant there are of each value of a field.
func (c *Client) Count(ctx context.Context, q query.Query, by query.Field, top int) (*query.Counts, error) {
	v := parameters(q)
	v.Set("by", by.String())
	v.Set("top", strconv.Itoa(top))
	var a CountsAnswer
	if err := c.do(ctx, http.MethodGet, CountsPath+"?"+v.Encode(), nil, &a); err != nil {
		return nil, err
	}
	out := &query.Counts{Total: a.Total, Values: a.Values}
	for _, one := range a.Top {
		out.Top = append(out.Top, query.Count(one))
	}
	return out, nil
}

// Histogram returns how many events of those meant there are in each step of time; by query.None or by the most frequent values of a
// field.
func (c *Client) Histogram(ctx context.Context, q query.Query, step time.Duration, by query.Field, top int) (*query.Series, error) {
	v := parameters(q)
	v.Set("by", by.String())
	v.Set("top", strconv.Itoa(top))
	v.Set("per", step.String())
	var a SeriesAnswer
	if err := c.do(ctx, http.MethodGet, CountsPath+"?"+v.Encode(), nil, &a); err != nil {
		return nil, err
	}
	out := &query.Series{From: a.From, Step: a.Step, All: a.All}
	for _, line := range a.By {
		out.By = append(out.By, query.Line(line))
	}
	return out, nil
}
