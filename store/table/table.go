// Package table is the truth of control: who is enrolled, which model is in force and was before, what proxies last
// said, what is revoked, the authority's state, who did what, and who leads. It lies in SQLite for one control, in
// PostgreSQL for several; both keep the same promises and pass the same tests.
//
// It is not for events (store/journal), not for what merely changes hands (bus), and not for secrets in clear: what
// is stored here is sealed before, or hashed.
package table

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

var (
	// ErrConflict tells that somebody else changed it first; nothing was written.
	ErrConflict = errors.New("it was changed by another")
	// ErrNotFound tells that there is no such thing.
	ErrNotFound = errors.New("not found")
	// ErrUncertain tells that the connection broke while a transaction was committed: look whether it took effect.
	ErrUncertain = errors.New("it is not known whether the change was made")
	// ErrLeaseLost tells that a transaction was made under a lease that is no longer held; nothing was written.
	ErrLeaseLost = errors.New("the lease is no longer held")
	// ErrNewer tells that the tables were made by a later version of the program.
	ErrNewer = errors.New("the tables are of a later version")
)

// Store is safe for concurrent use.
type Store struct {
	db, readers *sql.DB // the same one for PostgreSQL
	dialect     dialect
	group       *group // nil: the database itself lets many commit at once
}

// dialect is what differs between the two.
type dialect struct {
	name         string
	write        sql.TxOptions
	now          string            // query for the database's own clock in microseconds since 1970
	keep         string            // query for a lease that keeps others from taking it until the transaction ends
	lock, unlock string            // of migrations; empty: one writer is lock enough
	again        func(error) bool  // nothing was done, and doing it again may succeed
	lost         func(error) bool  // the connection broke
	exact        func(error) error // what callers branch on
}

// Open opens the tables and brings them to the version of this program. The location is "sqlite:" and a file, whose
// folder must exist, or a postgres:// URL. A PostgreSQL on another host must prove who it is (sslmode=verify-full).
func Open(ctx context.Context, location string) (*Store, error) {
	var s *Store
	var err error
	if path, ok := strings.CutPrefix(location, "sqlite:"); ok {
		s, err = openSQLite(ctx, path)
	} else {
		s, err = openPostgres(ctx, location)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the tables: %w", err)
	}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the tables: %w", err), s.Close())
	}
	return s, nil
}

// Close closes them.
func (s *Store) Close() error {
	err := s.db.Close()
	if s.readers != s.db {
		err = errors.Join(err, s.readers.Close())
	}
	return err
}

// Tx is one transaction. Its methods are the whole interface of the tables; they are not safe for concurrent use. After
// an error other than ErrNotFound and ErrConflict it is of no more use.
type Tx struct {
	tx      *sql.Tx
	dialect *dialect
}

const (
	againMin = 2 * time.Millisecond
	againMax = 250 * time.Millisecond
)

// Write runs do in a transaction: all of it is done, durably, or nothing. Transactions take effect as if one after
// another. do may run several times until it meets nobody else, and in the goroutine of another caller; it must do nothing
// but speak to its Tx. If do returns an error, nothing is written.
func (s *Store) Write(ctx context.Context, do func(*Tx) error) error { return s.run(ctx, nil, do) }

// WriteAs is Write under a lease: it fails with ErrLeaseLost if another holds it, or nobody does, at the moment the
// transaction takes effect. So a leader that was asleep cannot undo its successor's work.
func (s *Store) WriteAs(ctx context.Context, lease Lease, do func(*Tx) error) error {
	return s.run(ctx, &lease, do)
}

func (s *Store) run(ctx context.Context, lease *Lease, do func(*Tx) error) error {
	for n := 0; ; n++ {
		err := s.write(ctx, func(tx *Tx) error {
			if lease != nil {
				if err := tx.holds(ctx, *lease); err != nil {
					return err
				}
			}
			return do(tx)
		})
		if err == nil || errors.Is(err, ErrUncertain) || !s.dialect.again(err) && !s.dialect.lost(err) {
			return err
		}
		if ended := pause(ctx, n); ended != nil {
			return fmt.Errorf("%w; last: %w", ended, err)
		}
	}
}

func (s *Store) write(ctx context.Context, do func(*Tx) error) error {
	if s.group != nil {
		return s.group.run(ctx, s, do)
	}
	return s.once(ctx, s.db, &s.dialect.write, do)
}

// Read runs do in a transaction that sees one moment and writes nothing. do may run several times.
func (s *Store) Read(ctx context.Context, do func(*Tx) error) error {
	for n := 0; ; n++ {
		err := s.once(ctx, s.readers, &sql.TxOptions{ReadOnly: true, Isolation: s.dialect.write.Isolation}, do)
		if err == nil || !s.dialect.again(err) && !s.dialect.lost(err) && !errors.Is(err, ErrUncertain) {
			return err
		}
		if ended := pause(ctx, n); ended != nil {
			return fmt.Errorf("%w; last: %w", ended, err)
		}
	}
}

func (s *Store) once(ctx context.Context, db *sql.DB, options *sql.TxOptions, do func(*Tx) error) error {
	tx, err := db.BeginTx(ctx, options)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	if err := do(&Tx{tx: tx, dialect: &s.dialect}); err != nil {
		if undone := tx.Rollback(); undone != nil && !errors.Is(undone, sql.ErrTxDone) && !s.dialect.lost(undone) {
			return errors.Join(err, undone)
		}
		return err
	}
	return s.commit(tx)
}

// commit makes a transaction durable.
func (s *Store) commit(tx *sql.Tx) error {
	err := tx.Commit()
	if err == nil || s.dialect.again(err) {
		return err
	}
	return fmt.Errorf("committing: %w: %w", ErrUncertain, err)
}

// pause waits before try n+1: doubling, with jitter, so that those who met do not meet again.
func pause(ctx context.Context, n int) error {
	d := againMax
	if n < 7 {
		d = againMin << n
	}
	timer := time.NewTimer(d/2 + rand.N(d/2+1)) //nolint:gosec // G404: jitter needs no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// exec runs one statement and returns how many rows it changed.
func (t *Tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := t.tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, t.dialect.exact(err)
	}
	return result.RowsAffected()
}

// one reads one row; the error is ErrNotFound if there is none.
func (t *Tx) one(ctx context.Context, query string, args []any, into ...any) error {
	err := t.tx.QueryRowContext(ctx, query, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// all reads rows one by one.
func all[T any](ctx context.Context, t *Tx, scan func(func(...any) error) (T, error), query string, args ...any) ([]T, error) {
	rows, err := t.tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // its errors are those of Err
	var out []T
	for rows.Next() {
		one, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, rows.Err()
}

// Now is the time by the database's clock, which all controls share.
func (t *Tx) Now(ctx context.Context) (time.Time, error) {
	var micro int64
	if err := t.one(ctx, t.dialect.now, nil, &micro); err != nil {
		return time.Time{}, fmt.Errorf("reading the clock of the tables: %w", err)
	}
	return fromMicro(micro), nil
}

// Times are stored as microseconds since 1970, 0 for none.
func micro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicro(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}
