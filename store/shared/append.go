package shared

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/segment"
)

// Append takes events that are redacted, all or none, and returns when they are committed. Those that are there already are
// left out. If it fails they may be there: deliver them again.
func (s *Store) Append(ctx context.Context, events []*event.Event) error {
	numbers, texts := fields()
	names := []string{"key", "class", "words", "record"}
	casts := []string{"text", "text", "text", "bytea"}
	var keys, classes, words []string
	var records [][]byte
	numeric, textual := make([][]int64, len(numbers)), make([][]string, len(texts))
	for _, e := range events {
		if err := segment.Check(e); err != nil {
			return err
		}
		record := event.AppendJSON(nil, e)
		if e2, err := event.Parse(record); err == nil {
			e = e2 // as it is read back: only UTF-8
		}
		keys, classes, words, records = append(keys, query.Shown(query.Key(e))), append(classes, segment.ClassOf(e)), append(words, wordsOf(e)), append(records, record)
		for i, f := range numbers {
			numeric[i] = append(numeric[i], query.NumberOf(e, f))
		}
		for i, f := range texts {
			textual[i] = append(textual[i], query.Shown(query.TextOf(e, f)))
		}
	}
	args := []any{keys, classes, words, records}
	for i, f := range numbers {
		names, casts, args = append(names, column(f)), append(casts, "bigint"), append(args, numeric[i])
	}
	for i, f := range texts {
		names, casts, args = append(names, column(f)), append(casts, "text"), append(args, textual[i])
	}
	for i := range casts {
		casts[i] = fmt.Sprintf("$%d::%s[]", i+1, casts[i])
	}
	if err := s.insert(ctx, names, casts, args); err != nil {
		return fmt.Errorf("appending events: %w", err)
	}
	return nil
}

// insert adds the rows that are not there. Who holds the row of the next number is alone until the commit, so that numbers
// come to be seen in their order, without gaps.
func (s *Store) insert(ctx context.Context, names, casts []string, args []any) (err error) {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	var next int64
	if err := tx.QueryRowContext(ctx, "SELECT number FROM events_next FOR UPDATE").Scan(&next); err != nil {
		return err
	}
	columns := strings.Join(names, ", ")
	//nolint:gosec // put together from constants
	text := fmt.Sprintf(`INSERT INTO events (number, %s) SELECT $%d + row_number() OVER (ORDER BY place) - 1, %s FROM (
		SELECT DISTINCT ON (key) * FROM unnest(%s) WITH ORDINALITY AS given (%s, place)
		WHERE NOT EXISTS (SELECT FROM events WHERE events.key = given.key) ORDER BY key, place) AS fresh`,
		columns, len(args)+1, columns, strings.Join(casts, ", "), columns)
	done, err := tx.ExecContext(ctx, text, append(args, next)...)
	if err != nil {
		return err
	}
	n, err := done.RowsAffected()
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE events_next SET number = number + $1", n); err != nil {
		return err
	}
	return tx.Commit()
}
