// Package shared keeps events in PostgreSQL, for several controls that serve one fleet, and answers the queries of
// store/query with the same answers as store/events.
//
// It is not for one control with a disk of its own: an event takes several times the space here.
package shared

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/table"
)

// Store is a store of events. Its methods are safe for concurrent use.
type Store struct {
	db       *sql.DB
	deleting func(map[string]events.Deleted) error
}

// tables are made if they are absent. Texts compare by their bytes, as they do in Go.
const tables = `
CREATE TABLE IF NOT EXISTS events (
	key text COLLATE "C" PRIMARY KEY, number bigint NOT NULL UNIQUE, class text NOT NULL, record bytea NOT NULL, words text COLLATE "C" NOT NULL,
	time bigint NOT NULL, duration bigint NOT NULL, status bigint NOT NULL,
	id text COLLATE "C" NOT NULL, trace text COLLATE "C" NOT NULL, kind text COLLATE "C" NOT NULL, side text COLLATE "C" NOT NULL,
	outcome text COLLATE "C" NOT NULL, reason text COLLATE "C" NOT NULL, service text COLLATE "C" NOT NULL, who text COLLATE "C" NOT NULL,
	caller text COLLATE "C" NOT NULL, route text COLLATE "C" NOT NULL, method text COLLATE "C" NOT NULL, host text COLLATE "C" NOT NULL,
	path text COLLATE "C" NOT NULL, address text COLLATE "C" NOT NULL, level text COLLATE "C" NOT NULL
);
CREATE INDEX IF NOT EXISTS events_time ON events (time DESC, key DESC);
CREATE INDEX IF NOT EXISTS events_service ON events (service, time DESC, key DESC);
CREATE INDEX IF NOT EXISTS events_who ON events (who, time DESC);
CREATE INDEX IF NOT EXISTS events_trace ON events (trace);
CREATE INDEX IF NOT EXISTS events_id ON events (id);
CREATE TABLE IF NOT EXISTS events_holds (name text PRIMARY KEY, placed bigint NOT NULL, hold jsonb NOT NULL);
CREATE TABLE IF NOT EXISTS events_next (number bigint NOT NULL);
INSERT INTO events_next SELECT 1 WHERE NOT EXISTS (SELECT FROM events_next);
CREATE TABLE IF NOT EXISTS events_deleted (class text PRIMARY KEY, count bigint NOT NULL, first bigint NOT NULL, last bigint NOT NULL);
CREATE TABLE IF NOT EXISTS ledger_files (name text COLLATE "C" PRIMARY KEY, data bytea NOT NULL);
CREATE TABLE IF NOT EXISTS map_files (name text COLLATE "C" PRIMARY KEY, data bytea NOT NULL);
`

// column is where a field stands; each is a constant of this file.
func column(f query.Field) string {
	if f == query.User {
		return "who" // user is a word of SQL
	}
	return f.String()
}

// fields are those that have columns, in the order in which they are inserted.
func fields() (numbers, texts []query.Field) {
	for _, f := range query.Fields() {
		if f.IsNumber() {
			numbers = append(numbers, f)
		} else {
			texts = append(texts, f)
		}
	}
	return numbers, texts
}

// Open connects to the PostgreSQL at a location (postgres://...) and makes the tables. A server on another host must show a
// certificate that is verified, and one that may lose what it committed is refused.
func Open(ctx context.Context, location string) (*Store, error) {
	db, err := table.Postgres(ctx, location)
	if err != nil {
		return nil, fmt.Errorf("opening shared events: %w", err)
	}
	if err := prepare(ctx, db); err != nil {
		return nil, errors.Join(fmt.Errorf("opening shared events: %w", err), db.Close())
	}
	return &Store{db: db}, nil
}

// Look opens what controls keep, for who may do no more than read it: it makes nothing.
func Look(ctx context.Context, location string) (*Store, error) {
	db, err := table.Postgres(ctx, location)
	if err != nil {
		return nil, fmt.Errorf("opening shared events: %w", err)
	}
	var there bool
	err = db.QueryRowContext(ctx, "SELECT to_regclass('ledger_files') IS NOT NULL").Scan(&there)
	if err == nil && !there {
		err = errors.New("no control keeps events in this database yet")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening shared events: %w", err), db.Close())
	}
	return &Store{db: db}, nil
}

// prepare makes the tables; of several controls that begin at once, one after the other.
func prepare(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(5037570438)")
	if err == nil {
		_, err = tx.ExecContext(ctx, tables)
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// Close ends the connections.
func (s *Store) Close() error { return s.db.Close() }

// wordsOf is what Text looks through, folded, in lines: what is looked for has no line breaks.
func wordsOf(e *event.Event) string {
	var out strings.Builder
	query.Texts(e, func(s string) bool {
		out.WriteString(query.Fold(s))
		out.WriteByte('\n')
		return true
	})
	return out.String()
}
