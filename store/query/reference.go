package query

import (
	"context"
	"slices"
	"time"

	"github.com/palisade-security/palisade/event"
)

// Reference answers from events in memory, one after the other: what every store must answer. It is for tests and for
// small numbers of events.
type Reference []*event.Event

// Last returns up to n of the events that are meant, newest first, from a place on.
func (r Reference) Last(_ context.Context, q Query, n int, from Cursor) (*Page, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	if err := CheckLast(n); err != nil {
		return nil, err
	}
	page := &Page{}
	for _, e := range r {
		if q.Match(e) && (from.IsZero() || from.Compare(CursorOf(e)) < 0) {
			page.Events = append(page.Events, e)
		}
	}
	slices.SortFunc(page.Events, func(a, b *event.Event) int { return CursorOf(a).Compare(CursorOf(b)) })
	if len(page.Events) > n {
		page.Events = page.Events[:n]
		page.Next = CursorOf(page.Events[n-1])
	}
	return page, nil
}

// Count returns how many events of those meant there are of each value of a field.
func (r Reference) Count(_ context.Context, q Query, by Field, top int) (*Counts, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	if err := CheckCount(by, top); err != nil {
		return nil, err
	}
	t := &Tally{}
	for _, e := range r {
		if q.Match(e) {
			if err := t.Add(Shown(TextOf(e, by)), 1); err != nil {
				return nil, err
			}
		}
	}
	return t.Counts(top), nil
}

// Histogram returns how many events of those meant there are in each step of time; by None or by the most frequent values
// of a field.
func (r Reference) Histogram(_ context.Context, q Query, step time.Duration, by Field, top int) (*Series, error) {
	c, err := StartChart(&q, step, by, top)
	if err != nil {
		return nil, err
	}
	for _, e := range r {
		if !q.Match(e) {
			continue
		}
		at := c.Grid().At(NumberOf(e, Time))
		c.Add(at, 1)
		if by != None {
			if err := c.AddTo(Shown(TextOf(e, by)), at, 1); err != nil {
				return nil, err
			}
		}
	}
	return c.Series(top), nil
}

// StartChart checks what is asked for and returns the chart to count into.
func StartChart(q *Query, step time.Duration, by Field, top int) (*Chart, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	if by != None {
		if err := CheckCount(by, top); err != nil {
			return nil, err
		}
	}
	g, err := NewGrid(q, step)
	if err != nil {
		return nil, err
	}
	return NewChart(g), nil
}
