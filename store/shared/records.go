package shared

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"time"

	"github.com/palisade-security/palisade/store/query"
)

const (
	recordsAtOnce = 1000                   // rows that Records reads at a time
	awaitEvery    = 200 * time.Millisecond // how often Await looks
)

// Next returns the number that the next event will have; all with lower numbers can be found, but for those that are deleted.
func (s *Store) Next(ctx context.Context) (uint64, error) {
	var next int64
	if err := s.db.QueryRowContext(ctx, "SELECT number FROM events_next").Scan(&next); err != nil {
		return 0, fmt.Errorf("reading the next number of events: %w", err)
	}
	return uint64(next), nil
}

// Await returns when the event with a number can be found, from whichever control it came. The error may be the cause of ctx.
func (s *Store) Await(ctx context.Context, number uint64) error {
	tick := time.NewTicker(awaitEvery)
	defer tick.Stop()
	for {
		next, err := s.Next(ctx)
		if err != nil || next > number {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Records hands out the events that can be found now, from a number on, in the order of their numbers. Those that were deleted
// are left out. An error is the last.
func (s *Store) Records(ctx context.Context, from uint64) iter.Seq2[query.Record, error] {
	return func(yield func(query.Record, error) bool) {
		end, err := s.Next(ctx)
		for err == nil {
			var some []query.Record
			if some, err = s.window(ctx, from, end); err != nil {
				break
			}
			for i := range some {
				if !yield(some[i], nil) {
					return
				}
			}
			if len(some) < recordsAtOnce {
				return
			}
			from = some[len(some)-1].Number + 1
		}
		yield(query.Record{}, err)
	}
}

// window returns the first records from a number on and before another.
func (s *Store) window(ctx context.Context, from, end uint64) ([]query.Record, error) {
	var st statement
	st.text.WriteString("SELECT number, time, record FROM events WHERE number >= " + st.value(min(from, end)) + " AND number < " + st.value(end))
	st.text.WriteString(" ORDER BY number LIMIT " + st.value(recordsAtOnce))
	var out []query.Record
	err := s.rows(ctx, &st, func(rows *sql.Rows) error {
		var number, at int64
		var text []byte
		if err := rows.Scan(&number, &at, &text); err != nil {
			return err
		}
		out = append(out, query.RecordText(uint64(number), time.Unix(0, at).UTC(), text))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading events: %w", err)
	}
	return out, nil
}

// Within returns the numbers of a first and a last event, so that all that are from a time on and before another are between them. Zero
// times are no bounds; last is lower than first if there are none.
func (s *Store) Within(ctx context.Context, since, until time.Time) (first, last uint64, err error) {
	var st statement
	st.text.WriteString("SELECT min(number), max(number) FROM events")
	st.where(&query.Query{From: since, To: until})
	var low, high sql.NullInt64
	if err := s.db.QueryRowContext(ctx, st.text.String(), st.args...).Scan(&low, &high); err != nil {
		return 0, 0, fmt.Errorf("finding the numbers of events: %w", err)
	}
	if !low.Valid {
		next, err := s.Next(ctx)
		return next, 0, err
	}
	return uint64(low.Int64), uint64(high.Int64), nil
}
