package table

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// openSQLite opens a file, made with mode 0600. One connection writes, since SQLite has one writer; waiting in Go is
// fairer than its busy handler.
func openSQLite(ctx context.Context, path string) (*Store, error) {
	if path == "" {
		return nil, errors.New("sqlite: names no file")
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	pragmas := []string{
		fmt.Sprintf("busy_timeout(%d)", busyTime.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "trusted_schema(0)", "secure_delete(1)",
	}
	db, err := sql.Open("sqlite", sqliteSource(path, "immediate", pragmas))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	readers, err := sql.Open("sqlite", sqliteSource(path, "deferred", append(pragmas, "query_only(1)")))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	readers.SetMaxOpenConns(8)
	s := &Store{db: db, readers: readers, group: &group{}, dialect: dialect{
		name: "sqlite", now: "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
		keep:  "SELECT holder, epoch, until FROM leases WHERE name = $1", // there is one writer
		again: sqliteAgain, lost: func(error) bool { return false }, exact: sqliteExact,
	}}
	begun := time.Now()
	for n := 0; ; n++ {
		err := s.checkSQLite(ctx)
		if err == nil {
			return s, nil
		}
		// Who meets another that turns a new file to WAL is told that it is busy at once, whatever busy_timeout says.
		if !sqliteAgain(err) || time.Since(begun) > busyTime || pause(ctx, n) != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
}

const busyTime = 10 * time.Second // for others to let go of the file

func sqliteSource(path, lock string, pragmas []string) string {
	u := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{"_pragma": pragmas, "_txlock": {lock}}.Encode()}
	return u.String()
}

// checkSQLite holds that a commit is on disk when it returns, whatever the file was made with.
func (s *Store) checkSQLite(ctx context.Context) error {
	for _, db := range []*sql.DB{s.db, s.readers} {
		var mode string
		var sync int
		if err := db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
			return err
		}
		if err := db.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&sync); err != nil {
			return err
		}
		if mode != "wal" || sync != 2 {
			return fmt.Errorf("SQLite runs with journal_mode %s and synchronous %d, expected wal and 2 (FULL)", mode, sync)
		}
	}
	return nil
}

func sqliteAgain(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_BUSY || e.Code()&0xff == sqlite3.SQLITE_LOCKED)
}

func sqliteExact(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE) {
		return ErrConflict
	}
	return err
}
