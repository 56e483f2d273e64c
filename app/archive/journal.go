package archive

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/store/query"
)

// Journal answers from the journal in a folder, by reading all of it: that of one proxy, where no store holds its events. It is
// for one goroutine.
type Journal struct {
	Dir  string
	Warn func(error) // is told of damage; reading goes on

	next uint64 // record behind the last one that was read
}

// Each hands out the events that are meant, in the order in which they were recorded.
func (j *Journal) Each(ctx context.Context, q query.Query, yield func(*event.Event) error) error {
	if err := q.Validate(); err != nil {
		return err
	}
	for rec, err := range journal.Read(j.Dir, 0) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			j.Warn(err)
			continue
		}
		j.next = rec.Seq + 1
		e, err := event.Parse(rec.Data)
		if err != nil || !q.Match(e) {
			continue
		}
		if err := yield(e); err != nil {
			return err
		}
	}
	return nil
}

// Last returns up to n of the events that are meant, newest first, from a place on.
func (j *Journal) Last(ctx context.Context, q query.Query, n int, from query.Cursor) (*query.Page, error) {
	if err := query.CheckLast(n); err != nil {
		return nil, err
	}
	var all []*event.Event
	newestFirst := func(a, b *event.Event) int { return query.CursorOf(a).Compare(query.CursorOf(b)) }
	err := j.Each(ctx, q, func(e *event.Event) error {
		if !from.IsZero() && query.CursorOf(e).Compare(from) <= 0 {
			return nil
		}
		if all = append(all, e); len(all) > 2*n+1 {
			slices.SortFunc(all, newestFirst)
			all = all[:n+1]
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, newestFirst)
	page := &query.Page{Events: all}
	if len(all) > n {
		page.Events = all[:n:n]
		page.Next = query.CursorOf(all[n-1])
	}
	return page, nil
}

// Count returns how many events of those meant there are of each value of a field.
func (j *Journal) Count(ctx context.Context, q query.Query, by query.Field, top int) (*query.Counts, error) {
	if err := query.CheckCount(by, top); err != nil {
		return nil, err
	}
	var t query.Tally
	if err := j.Each(ctx, q, func(e *event.Event) error { return t.Add(query.Shown(query.TextOf(e, by)), 1) }); err != nil {
		return nil, err
	}
	return t.Counts(top), nil
}

// Histogram returns how many events of those meant there are in each step of time; by None or by the most frequent values of
// a field.
func (j *Journal) Histogram(ctx context.Context, q query.Query, step time.Duration, by query.Field, top int) (*query.Series, error) {
	chart, err := query.StartChart(&q, step, by, top)
	if err != nil {
		return nil, err
	}
	err = j.Each(ctx, q, func(e *event.Event) error {
		at := chart.Grid().At(query.NumberOf(e, query.Time))
		chart.Add(at, 1)
		if by == query.None {
			return nil
		}
		return chart.AddTo(query.Shown(query.TextOf(e, by)), at, 1)
	})
	if err != nil {
		return nil, err
	}
	return chart.Series(top), nil
}

// Follow hands out events as they are recorded, from after the last question on, until ctx ends.
func (j *Journal) Follow(ctx context.Context, q query.Query, yield func(*event.Event) error) error {
	for rec, err := range journal.Follow(ctx, j.Dir, j.next) {
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, context.Canceled) {
				j.Warn(err)
			}
			continue
		}
		if e, err := event.Parse(rec.Data); err == nil && q.Match(e) {
			if err := yield(e); err != nil {
				return err
			}
		}
	}
	return nil
}
