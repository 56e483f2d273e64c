// Package query is what is asked of the store of events: a small tree as data, the text people write for it, and what
// comes back: the newest events, counts by a field, counts over time. It says what every answer must be (Reference);
// stores answer the same from their columns or tables.
//
// It is not for looking up one event in the journal of this machine, and it reads no storage.
package query

import (
	"errors"
	"fmt"
	"time"
)

// The limits of a query, so that an answer fits into memory whatever is asked.
const (
	MaxLast    = 10_000  // events of one page
	MaxBuckets = 5_000   // steps of a histogram
	MaxTop     = 1_000   // values of a field that are told apart in an answer
	MaxValues  = 1 << 18 // values of a field that are told apart while counting
	MaxCells   = 1 << 22 // counts that are held while counting by a field over time
)

// ErrTooMany says that a field has too many different values to count by it.
var ErrTooMany = errors.New("the field has too many different values to count by it; narrow the time or the query")

// Query says which events are meant.
type Query struct {
	From, To time.Time // from this time on and before that; zero: no bound
	Where    Expr      // nil: all
}

// Validate reports what is wrong with a tree that was not made by Parse.
func (q *Query) Validate() error {
	if !q.From.IsZero() && !q.To.IsZero() && q.To.Before(q.From) {
		return fmt.Errorf("checking query: it ends at %s, before it begins at %s", q.To.Format(time.RFC3339), q.From.Format(time.RFC3339))
	}
	if q.Where == nil {
		return nil
	}
	terms := 0
	if err := check(q.Where, 0, &terms); err != nil {
		return fmt.Errorf("checking query: %w", err)
	}
	return nil
}

// Bounds are From and To in nanoseconds since 1970, as far as such times go (the years 1678 to 2261).
func (q *Query) Bounds() (from, to int64) {
	from, to = minTime, maxTime
	if !q.From.IsZero() {
		from = nanos(q.From)
	}
	if !q.To.IsZero() {
		to = nanos(q.To)
	}
	return from, to
}

const (
	minTime = -1 << 63
	maxTime = 1<<63 - 1
)

// nanos is t in nanoseconds since 1970, or the nearest that can be said so.
func nanos(t time.Time) int64 {
	t = t.UTC()
	switch {
	case t.Year() < 1678:
		return minTime
	case t.Year() > 2261:
		return maxTime
	}
	return t.UnixNano()
}

// check refuses what no store would answer: deep or large trees, values that no field has.
func check(x Expr, depth int, terms *int) error {
	if depth > maxDepth {
		return fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	if *terms++; *terms > maxTerms {
		return fmt.Errorf("it has more than %d terms", maxTerms)
	}
	var parts []Expr
	switch x := x.(type) {
	case And:
		parts = x
	case Or:
		parts = x
	case Not:
		parts = []Expr{x.Of}
	case Is:
		return x.Field.accepts(x.Value)
	case Prefix:
		return x.Field.acceptsPrefix(x.Value)
	case Number:
		return x.check()
	case Text:
		return checkText(x.Words)
	default:
		return fmt.Errorf("a term is missing (%T)", x)
	}
	if len(parts) == 0 {
		return errors.New("an and or an or has no parts")
	}
	for _, p := range parts {
		if err := check(p, depth+1, terms); err != nil {
			return err
		}
	}
	return nil
}

func checkText(s string) error {
	if s == "" {
		return errors.New("the text to look for is empty")
	}
	return checkValue(s)
}
