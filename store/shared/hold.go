package shared

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/palisade-security/palisade/store/query"
)

// Hold keeps events from being deleted for their age until Release, whichever control deletes. The error may be query.ErrHeld.
func (s *Store) Hold(ctx context.Context, h query.Hold) error {
	if _, err := h.Meant(); err != nil {
		return fmt.Errorf("placing a hold: %w", err)
	}
	text, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("placing a hold: %w", err)
	}
	done, err := s.db.ExecContext(ctx, "INSERT INTO events_holds (name, placed, hold) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", h.Name, h.Placed.UnixNano(), text)
	var n int64
	if err == nil {
		n, err = done.RowsAffected()
	}
	if err == nil && n == 0 {
		err = query.ErrHeld
	}
	if err != nil {
		return fmt.Errorf("placing hold %q: %w", h.Name, err)
	}
	return nil
}

// Release ends a hold and returns what it was. The error may be query.ErrNoHold.
func (s *Store) Release(ctx context.Context, name string) (was query.Hold, err error) {
	var text []byte
	err = s.db.QueryRowContext(ctx, "DELETE FROM events_holds WHERE name = $1 RETURNING hold", name).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		err = query.ErrNoHold
	}
	if err == nil {
		err = json.Unmarshal(text, &was)
	}
	if err != nil {
		return was, fmt.Errorf("releasing hold %q: %w", name, err)
	}
	return was, nil
}

// Holds returns the holds that stand, in the order in which they were placed.
func (s *Store) Holds(ctx context.Context) ([]query.Hold, error) { return holds(ctx, s.db) }

// holds reads them from a connection or within a transaction.
func holds(ctx context.Context, from interface {
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
},
) ([]query.Hold, error) {
	rows, err := from.QueryContext(ctx, "SELECT hold FROM events_holds ORDER BY placed, name")
	if err != nil {
		return nil, fmt.Errorf("reading the holds: %w", err)
	}
	defer func() { _ = rows.Close() }() // what was wrong Err tells
	out := []query.Hold{}
	for rows.Next() {
		var text []byte
		var h query.Hold
		if err := errors.Join(rows.Scan(&text), json.Unmarshal(text, &h)); err != nil {
			return nil, fmt.Errorf("reading the holds: %w", err)
		}
		out = append(out, h)
	}
	return out, rows.Err()
}

// Keeping is how long events are kept.
type Keeping struct {
	Class  map[string]time.Duration // by class; one that is not named is kept for ever
	Longer []query.Longer           // what is kept longer than its class
}

// Retain deletes events that are older than they are kept, but for those that are held. No hold is placed meanwhile.
func (s *Store) Retain(ctx context.Context, now time.Time, keep Keeping) (err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("deleting old events: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("deleting old events: %w", errors.Join(err, tx.Rollback()))
		}
	}()
	if _, err := tx.ExecContext(ctx, "LOCK TABLE events_holds IN SHARE MODE"); err != nil {
		return err
	}
	held, err := holds(ctx, tx)
	if err != nil {
		return err
	}
	for class, d := range keep.Class {
		var st statement
		st.text.WriteString("DELETE FROM events WHERE class = " + st.value(class) + " AND time < " + st.value(now.Add(-d).UnixNano()))
		for _, l := range keep.Longer {
			st.text.WriteString(" AND NOT (time >= " + st.value(now.Add(-l.Keep).UnixNano()) + " AND ")
			st.expr(l.Where)
			st.text.WriteString(")")
		}
		for i := range held {
			meant, err := held[i].Meant()
			if err != nil { // what it holds cannot be told, so nothing is deleted
				return fmt.Errorf("hold %q: %w", held[i].Name, err)
			}
			st.text.WriteString(" AND NOT (")
			st.meant(&meant)
			st.text.WriteString(")")
		}
		if _, err := tx.ExecContext(ctx, st.text.String(), st.args...); err != nil {
			return err
		}
	}
	return tx.Commit()
}
