package shared

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// statement is SQL put together from constants; what users write is in args alone.
type statement struct {
	text strings.Builder
	args []any
}

// value adds a parameter.
func (s *statement) value(v any) string {
	s.args = append(s.args, v)
	return "$" + strconv.Itoa(len(s.args))
}

// where writes what a query means.
func (s *statement) where(q *query.Query) {
	s.text.WriteString(" WHERE ")
	s.meant(q)
}

// meant writes which events a query means.
func (s *statement) meant(q *query.Query) {
	from, to := q.Bounds()
	s.text.WriteString("time >= " + s.value(from))
	if to != math.MaxInt64 {
		s.text.WriteString(" AND time < " + s.value(to))
	}
	if q.Where != nil {
		s.text.WriteString(" AND ")
		s.expr(q.Where)
	}
}

func (s *statement) expr(x query.Expr) {
	switch x := x.(type) {
	case query.And:
		s.join(x, " AND ")
	case query.Or:
		s.join(x, " OR ")
	case query.Not:
		s.text.WriteString("NOT ")
		s.expr(x.Of)
	case query.Is:
		s.is(x)
	case query.Prefix:
		fmt.Fprintf(&s.text, "(%s <> '' AND starts_with(%s, %s))", column(x.Field), column(x.Field), s.value(x.Value))
	case query.Number:
		op := x.Op.String()
		if x.Op == query.Equal {
			op = "="
		}
		fmt.Fprintf(&s.text, "(%s %s %s)", column(x.Field), op, s.value(x.Value))
	case query.Text:
		fmt.Fprintf(&s.text, "(strpos(words, %s) > 0)", s.value(x.Finder().Folded()))
	}
}

func (s *statement) join(parts []query.Expr, between string) {
	s.text.WriteByte('(')
	for i, p := range parts {
		if i > 0 {
			s.text.WriteString(between)
		}
		s.expr(p)
	}
	s.text.WriteByte(')')
}

func (s *statement) is(x query.Is) {
	if x.Field == query.Caller && x.Value != "" {
		fmt.Fprintf(&s.text, "(caller = %s OR right(caller, length(%s)) = %s)", s.value(x.Value), s.value("/"+x.Value), s.value("/"+x.Value))
		return
	}
	fmt.Fprintf(&s.text, "(%s = %s)", column(x.Field), s.value(x.Value))
}

// Last returns up to n of the events that are meant, newest first, from a place on.
func (s *Store) Last(ctx context.Context, q query.Query, n int, from query.Cursor) (*query.Page, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	if err := query.CheckLast(n); err != nil {
		return nil, err
	}
	var st statement
	st.text.WriteString("SELECT record FROM events")
	st.where(&q)
	if !from.IsZero() {
		st.text.WriteString(" AND (time, key) < (" + st.value(from.Time) + ", " + st.value(query.Shown(from.Key)) + ")")
	}
	st.text.WriteString(" ORDER BY time DESC, key DESC LIMIT " + st.value(n+1))
	page := &query.Page{}
	err := s.rows(ctx, &st, func(rows *sql.Rows) error {
		var record []byte
		if err := rows.Scan(&record); err != nil {
			return err
		}
		e, err := event.Parse(record)
		page.Events = append(page.Events, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("finding events: %w", err)
	}
	if len(page.Events) > n {
		page.Events = page.Events[:n]
		page.Next = query.CursorOf(page.Events[n-1])
	}
	return page, nil
}

// rows runs a statement and hands out its rows.
func (s *Store) rows(ctx context.Context, st *statement, take func(*sql.Rows) error) (err error) {
	rows, err := s.db.QueryContext(ctx, st.text.String(), st.args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := take(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// value is how a field is counted by.
func value(f query.Field) string {
	if f.IsNumber() {
		return column(f) + "::text"
	}
	return column(f)
}

// Count returns how many events of those meant there are of each value of a field. The error may wrap query.ErrTooMany.
func (s *Store) Count(ctx context.Context, q query.Query, by query.Field, top int) (*query.Counts, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	if err := query.CheckCount(by, top); err != nil {
		return nil, err
	}
	var st statement
	st.text.WriteString("SELECT " + value(by) + ", count(*) FROM events")
	st.where(&q)
	st.text.WriteString(" GROUP BY 1")
	total := &query.Tally{}
	err := s.rows(ctx, &st, func(rows *sql.Rows) error {
		var v string
		var n int64
		if err := rows.Scan(&v, &n); err != nil {
			return err
		}
		return total.Add(v, n)
	})
	if err != nil {
		return nil, fmt.Errorf("counting events: %w", err)
	}
	return total.Counts(top), nil
}

// Histogram returns how many events of those meant there are in each step of time; by query.None or by the most frequent
// values of a field. The error may wrap query.ErrTooMany.
func (s *Store) Histogram(ctx context.Context, q query.Query, step time.Duration, by query.Field, top int) (*query.Series, error) {
	chart, err := query.StartChart(&q, step, by, top)
	if err != nil {
		return nil, err
	}
	what := "''"
	if by != query.None {
		what = value(by)
	}
	var st statement
	grid := chart.Grid()
	st.text.WriteString("SELECT (time - " + st.value(grid.Start) + ") / " + st.value(grid.Step) + ", " + what + ", count(*) FROM events")
	st.where(&q)
	st.text.WriteString(" GROUP BY 1, 2")
	err = s.rows(ctx, &st, func(rows *sql.Rows) error {
		var at int
		var v string
		var n int64
		if err := rows.Scan(&at, &v, &n); err != nil {
			return err
		}
		chart.Add(at, n)
		if by == query.None {
			return nil
		}
		return chart.AddTo(v, at, n)
	})
	if err != nil {
		return nil, fmt.Errorf("counting events: %w", err)
	}
	return chart.Series(top), nil
}
