package shared

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/palisade-security/palisade/store/table"
)

// ErrHeld says that another process has the shelf.
var ErrHeld = errors.New("another control appends to the ledger")

// shelfLock is the advisory lock of who may change the files.
const shelfLock = 5037570439

// Files reads the files of the ledger, as they are when each is opened.
func (s *Store) Files(ctx context.Context) fs.FS { return filesIn(ctx, s.db) }

// Keep returns the file of a name, and makes it if it is not there. All who ask get the same.
func (s *Store) Keep(ctx context.Context, name string, fresh []byte) ([]byte, error) {
	_, err := s.db.ExecContext(ctx, "INSERT INTO ledger_files (name, data) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", name, fresh)
	if err != nil {
		return nil, fmt.Errorf("keeping %q: %w", name, err)
	}
	return fs.ReadFile(s.Files(ctx), name)
}

// Shelf is the right to change files of the ledger. It is held by one connection, over which the changes are made, so that it ends
// with all that could use it.
type Shelf struct {
	db   *sql.DB
	conn *sql.Conn
}

// TakeShelf takes the right to change files, from whoever is connected to the PostgreSQL at a location. The error wraps ErrHeld if another has it.
func TakeShelf(ctx context.Context, location string) (_ *Shelf, err error) {
	db, err := table.Postgres(ctx, location)
	if err != nil {
		return nil, fmt.Errorf("taking the shared ledger: %w", err)
	}
	s := &Shelf{db: db}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("taking the shared ledger: %w", err), s.Close())
		}
	}()
	if s.conn, err = db.Conn(ctx); err != nil {
		return nil, err
	}
	// A machine that is gone without a word must not hold the lock for hours.
	if _, err := s.conn.ExecContext(ctx, "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"); err != nil {
		return nil, err
	}
	var ours bool
	if err := s.conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", shelfLock).Scan(&ours); err != nil {
		return nil, err
	}
	if !ours {
		return nil, ErrHeld
	}
	return s, nil
}

// Change runs do on the files as they are and keeps what it returns, in one serializable transaction: of two that read the same
// and change it, PostgreSQL commits one, whoever holds which lock.
func (s *Shelf) Change(ctx context.Context, do func(files fs.FS) (map[string][]byte, error)) (err error) {
	tx, err := s.conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	changed, err := do(filesIn(ctx, tx))
	if err != nil {
		return err
	}
	var names []string
	var data [][]byte
	for name, text := range changed {
		names, data = append(names, name), append(data, text)
	}
	if len(names) > 0 {
		if _, err := tx.ExecContext(ctx, `INSERT INTO ledger_files (name, data) SELECT * FROM unnest($1::text[], $2::bytea[])
			ON CONFLICT (name) DO UPDATE SET data = excluded.data`, names, data); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// Close gives the right back.
func (s *Shelf) Close() error {
	var err error
	if s.conn != nil {
		if err = s.conn.Close(); errors.Is(err, sql.ErrConnDone) {
			err = nil
		}
	}
	return errors.Join(err, s.db.Close()) // the lock ends with the connection
}

// filesIn reads files from a database or within a transaction.
func filesIn(ctx context.Context, in interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
},
) fs.FS {
	return files(func(name string) (data []byte, err error) {
		err = in.QueryRowContext(ctx, "SELECT data FROM ledger_files WHERE name = $1", name).Scan(&data)
		if errors.Is(err, sql.ErrNoRows) {
			err = fs.ErrNotExist
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return data, nil
	})
}

// files is a file system without folders, by a func that reads.
type files func(name string) ([]byte, error)

// Open is fs.FS's.
func (f files) Open(name string) (fs.File, error) {
	data, err := f(name)
	if err != nil {
		return nil, err
	}
	return &file{bytes.NewReader(data), name}, nil
}

// ReadFile is fs.ReadFileFS's.
func (f files) ReadFile(name string) ([]byte, error) { return f(name) }

// file is one that is read whole when it is opened.
type file struct {
	*bytes.Reader
	name string
}

func (f *file) Stat() (fs.FileInfo, error) { return f, nil }
func (*file) Close() error                 { return nil }
func (f *file) Name() string               { return f.name }
func (*file) Mode() fs.FileMode            { return 0o400 }
func (*file) ModTime() time.Time           { return time.Time{} }
func (*file) IsDir() bool                  { return false }
func (*file) Sys() any                     { return nil }
