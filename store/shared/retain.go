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
	"github.com/palisade-security/palisade/store/query"
)

const (
	retainLock = 5037570440 // advisory: one control deletes at a time
	deleteMost = 50_000     // events that one transaction deletes
)

// OnDelete has a func told what will have been deleted since the beginning, by class, before Retain deletes more. If it fails,
// nothing is deleted. It is called before Retain is.
func (s *Store) OnDelete(tell func(map[string]events.Deleted) error) { s.deleting = tell }

// Keeping is how long events are kept.
type Keeping struct {
	Class  map[string]time.Duration // by class; one that is not named is kept for ever
	Longer []query.Longer           // what is kept longer than its class
}

// Retain deletes events that are older than they are kept, but for those that are held. No hold is placed meanwhile. While another
// control does, it does nothing.
func (s *Store) Retain(ctx context.Context, now time.Time, keep Keeping) error {
	for _, class := range slices.Sorted(maps.Keys(keep.Class)) {
		for {
			more, err := s.delete(ctx, class, now, &keep)
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

// old writes which events of a class are to be deleted.
func (s *statement) old(class string, now time.Time, keep *Keeping, held []query.Hold) error {
	s.text.WriteString(" WHERE class = " + s.value(class) + " AND time < " + s.value(now.Add(-keep.Class[class]).UnixNano()))
	for _, l := range keep.Longer {
		s.text.WriteString(" AND NOT (time >= " + s.value(now.Add(-l.Keep).UnixNano()) + " AND ")
		s.expr(l.Where)
		s.text.WriteString(")")
	}
	for i := range held {
		meant, err := held[i].Meant()
		if err != nil { // what it holds cannot be told, so nothing is deleted
			return fmt.Errorf("hold %q: %w", held[i].Name, err)
		}
		s.text.WriteString(" AND NOT (")
		s.meant(&meant)
		s.text.WriteString(")")
	}
	return nil
}

// alone tells whether no other control deletes. Then no hold is placed until the transaction ends, and those that stand are returned.
func alone(ctx context.Context, tx *sql.Tx) (held []query.Hold, yes bool, err error) {
	if err := tx.QueryRowContext(ctx, "SELECT pg_try_advisory_xact_lock($1)", retainLock).Scan(&yes); err != nil || !yes {
		return nil, false, err
	}
	if _, err := tx.ExecContext(ctx, "LOCK TABLE events_holds IN SHARE MODE"); err != nil {
		return nil, false, err
	}
	held, err = holds(ctx, tx)
	return held, true, err
}

// delete deletes some events of a class that are old, and tells whether there may be more. What it counts is what it deletes:
// an event that comes meanwhile has a higher number than all that it has seen.
func (s *Store) delete(ctx context.Context, class string, now time.Time, keep *Keeping) (more bool, err error) {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return false, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	held, ours, err := alone(ctx, tx)
	if err != nil {
		return false, err
	}
	var n, first, last int64
	if ours {
		n, first, last, err = count(ctx, tx, class, now, keep, held)
	}
	if err != nil {
		return false, err
	}
	if n == 0 {
		return false, tx.Rollback()
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
	var st statement
	st.text.WriteString("DELETE FROM events")
	if err := st.old(class, now, keep, held); err != nil {
		return false, err
	}
	st.text.WriteString(" AND number <= " + st.value(last))
	if _, err := tx.ExecContext(ctx, st.text.String(), st.args...); err != nil {
		return false, err
	}
	return n == deleteMost, tx.Commit()
}

// count returns how many events are deleted at once, and between which numbers they are.
func count(ctx context.Context, tx *sql.Tx, class string, now time.Time, keep *Keeping, held []query.Hold) (n, first, last int64, err error) {
	var st statement
	st.text.WriteString("SELECT count(*), coalesce(min(number), 0), coalesce(max(number), 0) FROM (SELECT number FROM events")
	if err := st.old(class, now, keep, held); err != nil {
		return 0, 0, 0, err
	}
	st.text.WriteString(" ORDER BY number LIMIT " + st.value(deleteMost) + ") AS old")
	err = tx.QueryRowContext(ctx, st.text.String(), st.args...).Scan(&n, &first, &last)
	return n, first, last, err
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
