package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// EventQuery says which events to show.
type EventQuery struct {
	Text    string // as store/query reads it; what follows narrows it
	Refused bool
	Service string
	User    string
	Kind    string // request, connection, act, log, or a kind of act; empty: all
	Since   time.Time
	Until   time.Time

	Follow bool
	Last   int // of those recorded already; 0: all

	Count string        // field to count by, in place of showing events; empty: none
	Per   time.Duration // with Count: over time, in steps of it
	Top   int           // with Count: how many values are told apart; 0: 10

	Format string // text, json, table, csv
}

// pointed shows where in a query a mistake is.
func pointed(err error, text string) error {
	if wrong, ok := errors.AsType[*query.SyntaxError](err); ok {
		return fmt.Errorf("%w\n  %s\n  %s^", err, text, strings.Repeat(" ", max(wrong.Column-1, 0)))
	}
	return err
}

// kindAct is every kind of act.
const kindAct = "act"

// build makes a query of text and flags.
func (q *EventQuery) build() (out query.Query, err error) {
	where, err := query.Parse(q.Text)
	if err != nil {
		return out, pointed(err, q.Text)
	}
	var all query.And
	if where != nil {
		all = append(all, where)
	}
	if q.Refused {
		all = append(all, query.Not{Of: query.Is{Field: query.Outcome, Value: query.Allowed}}, query.Not{Of: query.Is{Field: query.Outcome, Value: string(event.Done)}})
	}
	if q.Service != "" {
		all = append(all, query.Is{Field: query.Service, Value: q.Service})
	}
	if q.User != "" {
		all = append(all, query.Is{Field: query.User, Value: q.User})
	}
	if all, err = q.kind(all); err != nil {
		return out, err
	}
	out = query.Query{From: q.Since, To: q.Until}
	if len(all) > 0 {
		out.Where = all
	}
	return out, out.Validate()
}

// kind narrows to a kind. Records that were written before forwarding are left out unless they are asked for.
func (q *EventQuery) kind(all query.And) (query.And, error) {
	not := func(kind string) query.Expr { return query.Not{Of: query.Is{Field: query.Kind, Value: kind}} }
	switch q.Kind {
	case "":
		if !wantsOpen(all) {
			all = append(all, not(query.KindOpen))
		}
	case kindAct:
		for _, kind := range query.Kind.Values() {
			if !slices.Contains(event.Kinds(), event.Kind(kind)) {
				all = append(all, not(kind))
			}
		}
	default:
		if kinds := query.Kind.Values(); !slices.Contains(kinds, q.Kind) {
			return nil, fmt.Errorf("there are no events of the kind %q; choose one of %s", q.Kind, strings.Join(slices.Insert(kinds, 2, kindAct), ", "))
		}
		all = append(all, query.Is{Field: query.Kind, Value: q.Kind})
	}
	return all, nil
}

// wantsOpen tells whether a tree asks for what was written before forwarding.
func wantsOpen(x query.Expr) bool {
	switch x := x.(type) {
	case query.And:
		return slices.ContainsFunc(x, wantsOpen)
	case query.Or:
		return slices.ContainsFunc(x, wantsOpen)
	case query.Is:
		return x == query.Is{Field: query.Kind, Value: query.KindOpen}
	default:
		return false
	}
}

// elsewhereRecorded names state directories below the one of a record: each sidecar of a host has one of its own.
func elsewhereRecorded(dir string) string {
	found, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "*", filepath.Base(dir)))
	if err != nil || len(found) == 0 {
		return "; name another with --state"
	}
	var names []string
	for _, one := range found[:min(len(found), 20)] {
		names = append(names, filepath.Base(filepath.Dir(one)))
	}
	return "; there are records of " + strings.Join(names, ", ") + ": name one, such as --state " + filepath.Dir(found[0])
}

// Events prints recorded events, oldest first, and new ones as they come if asked to follow; or counts them.
func Events(ctx context.Context, o *Options, q *EventQuery) error {
	meant, err := q.build()
	if err != nil {
		return err
	}
	_, snap, _, err := o.load(true)
	if err != nil {
		snap = nil // events can be read without a sound model
	}
	from, err := o.find(ctx, snap)
	if err != nil {
		return err
	}
	defer from.close()
	if q.Count != "" {
		return o.asked(o.countEvents(ctx, from, q, meant))
	}
	began := time.Now()
	all, err := newest(ctx, from, meant, q.Last)
	if err != nil {
		return o.asked(err)
	}
	out := o.newEventWriter(q.Format)
	slices.Reverse(all)
	for _, e := range all {
		if err := out.write(e); err != nil {
			return err
		}
	}
	if err := out.flush(); err != nil {
		return err
	}
	if len(all) == 0 && !o.Quiet {
		fmt.Fprintf(o.Err, "nothing of that kind is recorded in %s\n", from.where)
	}
	if !q.Follow {
		return nil
	}
	return from.follow(ctx, meant, began, all, func(e *event.Event) error { return errors.Join(out.write(e), out.flush()) })
}

// newest returns the newest n events that are meant, or all if n is 0, newest first.
func newest(ctx context.Context, from *finder, q query.Query, n int) (all []*event.Event, err error) {
	for at := (query.Cursor{}); ; {
		size := query.MaxLast
		if n > 0 {
			size = min(n-len(all), query.MaxLast)
		}
		page, err := from.Last(ctx, q, size, at)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Events...)
		if at = page.Next; at.IsZero() || n > 0 && len(all) >= n {
			return all, nil
		}
	}
}

const (
	followEvery = 200 * time.Millisecond
	followBack  = time.Minute // how late an event may come and still be shown
	followMost  = 10_000      // new ones that are shown of one look; the oldest of more are left out
)

// follow hands out events as they come, until ctx ends. Those shown are shown already.
func (f *finder) follow(ctx context.Context, q query.Query, since time.Time, shown []*event.Event, yield func(*event.Event) error) error {
	if f.journal != nil {
		return f.journal.Follow(ctx, q, yield)
	}
	seen := map[string]time.Time{}
	for _, e := range shown {
		seen[query.Key(e)] = e.Time
	}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := time.Now()
		q.From = since
		if back := now.Add(-followBack); back.After(since) {
			q.From = back
		}
		fresh, err := f.unseen(ctx, q, seen)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range slices.Backward(fresh) {
			if err := yield(e); err != nil {
				return err
			}
			seen[query.Key(e)] = e.Time
		}
		for key, at := range seen {
			if now.Sub(at) > 2*followBack {
				delete(seen, key)
			}
		}
	}
}

// unseen returns those events that have not been seen, newest first. It stops looking where a whole page has been.
func (f *finder) unseen(ctx context.Context, q query.Query, seen map[string]time.Time) (fresh []*event.Event, err error) {
	for at := (query.Cursor{}); len(fresh) < followMost; {
		page, err := f.Last(ctx, q, 200, at)
		if err != nil {
			return nil, err
		}
		before := len(fresh)
		for _, e := range page.Events {
			if _, there := seen[query.Key(e)]; !there {
				fresh = append(fresh, e)
			}
		}
		if at = page.Next; at.IsZero() || len(fresh) == before {
			break
		}
	}
	return fresh, nil
}
