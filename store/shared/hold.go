package shared

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

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
