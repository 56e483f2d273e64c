// Package querytest asks a store of events random queries and compares its answers with the reference. It is for tests only.
package querytest

import (
	"context"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// Executor answers queries.
type Executor interface {
	Last(ctx context.Context, q query.Query, n int, from query.Cursor) (*query.Page, error)
	Count(ctx context.Context, q query.Query, by query.Field, top int) (*query.Counts, error)
	Histogram(ctx context.Context, q query.Query, step time.Duration, by query.Field, top int) (*query.Series, error)
}

// Compare asks n random queries of a store that holds some events.
func Compare(t *testing.T, events []*event.Event, store Executor, n int) {
	t.Helper()
	reference := query.Reference(events)
	g := &generator{rand.New(rand.NewPCG(uint64(n), 11)), events} //nolint:gosec // queries that can be made again
	hits := 0
	for range n {
		q := g.query()
		text := query.String(q.Where)
		pages(t, text, q, reference, store, 1+g.r.IntN(40))
		by, top := g.field(), 1+g.r.IntN(5)
		want, err := reference.Count(t.Context(), q, by, top)
		got, err2 := store.Count(t.Context(), q, by, top)
		if err != nil || err2 != nil || !equal(got, want) {
			t.Errorf("%q by %s: %+v %v, want %+v %v", text, by, got, err2, want, err)
			continue
		}
		if want.Total > 0 {
			hits++
		}
		if q.From.IsZero() || q.To.IsZero() {
			continue
		}
		for _, by := range []query.Field{query.None, by} {
			want, err := reference.Histogram(t.Context(), q, time.Duration(1+g.r.IntN(30))*time.Second/7, by, top)
			if err != nil {
				t.Errorf("%q over time: %v", text, err)
				continue
			}
			got, err := store.Histogram(t.Context(), q, want.Step, by, top)
			if err != nil || !equal(got, want) {
				t.Errorf("%q over time by %q: %+v %v, want %+v", text, by, got, err, want)
			}
		}
	}
	if hits < n/4 {
		t.Errorf("only %d of %d queries find anything", hits, n)
	}
}

func equal(a, b any) bool { return reflect.DeepEqual(a, b) }

// pages compares the first three pages.
func pages(t *testing.T, text string, q query.Query, reference, store Executor, n int) {
	t.Helper()
	var from query.Cursor
	for range 3 {
		want, err := reference.Last(t.Context(), q, n, from)
		got, err2 := store.Last(t.Context(), q, n, from)
		if err != nil || err2 != nil {
			t.Errorf("%q: %v, %v", text, err, err2)
			return
		}
		if got.Next != want.Next || !slices.EqualFunc(got.Events, want.Events, func(a, b *event.Event) bool {
			return string(event.AppendJSON(nil, a)) == string(event.AppendJSON(nil, b))
		}) {
			t.Errorf("%q from %v: %d events, next %v; want %d, next %v", text, from, len(got.Events), got.Next, len(want.Events), want.Next)
			return
		}
		if from = want.Next; from.IsZero() {
			return
		}
	}
}

// generator makes queries about values that occur, most of the time.
type generator struct {
	r      *rand.Rand
	events []*event.Event
}

func (g *generator) some() *event.Event { return g.events[g.r.IntN(len(g.events))] }

func (g *generator) field() query.Field {
	for {
		if f := query.Fields()[g.r.IntN(len(query.Fields()))]; f.Countable() {
			return f
		}
	}
}

func (g *generator) query() query.Query {
	q := query.Query{}
	if g.r.IntN(5) > 0 {
		q.Where = g.expr(0)
	}
	if g.r.IntN(2) == 0 {
		a, b := g.some().Time, g.some().Time
		if b.Before(a) {
			a, b = b, a
		}
		q.From, q.To = a, b
		if g.r.IntN(4) == 0 {
			q.To = time.Time{}
		}
	}
	return q
}

func (g *generator) expr(depth int) query.Expr {
	n := g.r.IntN(10)
	if depth > 2 {
		n = g.r.IntN(6)
	}
	switch n {
	case 6:
		return query.And{g.expr(depth + 1), g.expr(depth + 1)}
	case 7, 8:
		return query.Or{g.expr(depth + 1), g.expr(depth + 1), g.expr(depth + 1)}
	case 9:
		return query.Not{Of: g.expr(depth + 1)}
	}
	return g.term()
}

func (g *generator) term() query.Expr {
	f := query.Fields()[g.r.IntN(len(query.Fields()))]
	if f.IsNumber() {
		v := query.NumberOf(g.some(), f)
		return query.Number{Field: f, Op: query.Op(g.r.IntN(int(query.AtLeast) + 1)), Value: v}
	}
	v := query.TextOf(g.some(), f)
	switch g.r.IntN(4) {
	case 0:
		return query.Prefix{Field: f, Value: v[:g.r.IntN(len(v)+1)]}
	case 1:
		return query.Text{Words: g.words()}
	}
	if f == query.Caller && len(v) > 0 {
		v = v[len("spiffe://shop.example/"):]
	}
	return query.Is{Field: f, Value: v}
}

func (g *generator) words() string {
	return []string{"USER-1", "firefox", "no-permit", "%", "_", "/orders/", "keycloak", `quo"te`, "permits", "10.1", "nothing at all", "Ü", `back\slash`}[g.r.IntN(13)]
}
