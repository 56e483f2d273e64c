package shared

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/palisade-security/palisade/store/events"
)

const (
	retainLock = 5037570440 // advisory: one control deletes at a time
	deleteMost = 50_000     // events that one transaction deletes
)

// OnDelete has a func told what will have been deleted since the beginning, by class, before Retain deletes more. If it fails,
// nothing is deleted. It is called before Retain is.
func (s *Store) OnDelete(tell func(map[string]events.Deleted) error) { s.deleting = tell }

// Retain deletes events that are older than their class is kept; a class that is not named is kept for ever. While another
// control does, it does nothing.
func (s *Store) Retain(ctx context.Context, now time.Time, keep map[string]time.Duration) error {
	for _, class := range slices.Sorted(maps.Keys(keep)) {
		for {
			more, err := s.delete(ctx, class, now.Add(-keep[class]).UnixNano())
			if err != nil {
				return fmt.Errorf("deleting old events: %w", err)
			}
			if !more {
				break
			}
		}
	}
	return nil
}

// delete deletes some events of a class that are older than a time, and tells whether there may be more. What it counts is what it deletes:
// an event that comes meanwhile has a higher number than all that it has seen.
func (s *Store) delete(ctx context.Context, class string, before int64) (more bool, err error) {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return false, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	var alone bool
	if err := tx.QueryRowContext(ctx, "SELECT pg_try_advisory_xact_lock($1)", retainLock).Scan(&alone); err != nil {
		return false, err
	}
	var n, first, last int64
	if alone {
		err = tx.QueryRowContext(ctx, `SELECT count(*), coalesce(min(number), 0), coalesce(max(number), 0) FROM (
			SELECT number FROM events WHERE class = $1 AND time < $2 ORDER BY number LIMIT $3) AS old`, class, before, deleteMost).Scan(&n, &first, &last)
	}
	if err != nil || n == 0 {
		return false, errors.Join(err, tx.Rollback())
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO events_deleted AS was (class, count, first, last) VALUES ($1, $2, $3, $4)
		ON CONFLICT (class) DO UPDATE SET count = was.count + excluded.count, first = least(was.first, excluded.first), last = greatest(was.last, excluded.last)`,
		class, n, first, last); err != nil {
		return false, err
	}
	if s.deleting != nil {
		all, err := deleted(ctx, tx)
		if err == nil {
			err = s.deleting(all)
		}
		if err != nil {
			return false, err
		}
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM events WHERE class = $1 AND time < $2 AND number <= $3", class, before, last); err != nil {
		return false, err
	}
	return n == deleteMost, tx.Commit()
}

// deleted reads what has been deleted since the beginning, by class.
func deleted(ctx context.Context, tx *sql.Tx) (_ map[string]events.Deleted, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT class, count, first, last FROM events_deleted")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	all := map[string]events.Deleted{}
	for rows.Next() {
		var class string
		var n, first, last int64
		if err := rows.Scan(&class, &n, &first, &last); err != nil {
			return nil, err
		}
		all[class] = events.Deleted{Count: uint64(n), First: uint64(first), Last: uint64(last)}
	}
	return all, rows.Err()
}
