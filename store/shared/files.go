package shared

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/palisade-security/palisade/store/table"
)

// ErrHeld says that another process has the shelf.
var ErrHeld = errors.New("another control has the shelf")

// Kind is what the files of a shelf are for: its table.
type Kind string

// The shelves.
const (
	Ledger Kind = "ledger_files"
	Maps   Kind = "map_files"
)

// lock is the advisory lock of who may change the files.
func (k Kind) lock() int64 {
	if k == Ledger {
		return 5037570439
	}
	return 5037570441
}

// in puts the table of the files into a statement.
func (k Kind) in(text string) string { return strings.ReplaceAll(text, "FILES", string(k)) }

// Files reads files, as they are when each is opened.
func (s *Store) Files(ctx context.Context, k Kind) fs.FS { return &files{ctx, s.db, k} }

// Keep returns the file of a name, and makes it if it is not there. All who ask get the same.
func (s *Store) Keep(ctx context.Context, k Kind, name string, fresh []byte) ([]byte, error) {
	_, err := s.db.ExecContext(ctx, k.in("INSERT INTO FILES (name, data) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING"), name, fresh)
	if err != nil {
		return nil, fmt.Errorf("keeping %q: %w", name, err)
	}
	return fs.ReadFile(s.Files(ctx, k), name)
}

// Put replaces a file that is none of those which the holder of the shelf changes.
func (s *Store) Put(ctx context.Context, k Kind, name string, data []byte) error {
	_, err := s.db.ExecContext(ctx, k.in("INSERT INTO FILES (name, data) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET data = excluded.data"), name, data)
	if err != nil {
		return fmt.Errorf("replacing %q: %w", name, err)
	}
	return nil
}

// Shelf is the right to change files of a kind. It is held by one connection, over which the changes are made, so that it ends
// with all that could use it.
type Shelf struct {
	kind Kind
	db   *sql.DB
	conn *sql.Conn
}

// TakeShelf takes the right to change files, from whoever is connected to the PostgreSQL at a location. The error wraps ErrHeld if another has it.
func TakeShelf(ctx context.Context, location string, k Kind) (_ *Shelf, err error) {
	db, err := table.Postgres(ctx, location)
	if err != nil {
		return nil, fmt.Errorf("taking %s: %w", k, err)
	}
	s := &Shelf{kind: k, db: db}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("taking %s: %w", k, err), s.Close())
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
	if err := s.conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", k.lock()).Scan(&ours); err != nil {
		return nil, err
	}
	if !ours {
		return nil, ErrHeld
	}
	return s, nil
}

// Files reads files as they are when each is opened, over the connection that holds the right.
func (s *Shelf) Files(ctx context.Context) fs.ReadDirFS { return &files{ctx, s.conn, s.kind} }

// Change runs do on the files as they are and keeps what it returns, in one serializable transaction: of two that read the same
// and change it, PostgreSQL commits one, whoever holds which lock. A file that is nil is deleted.
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
	changed, err := do(&files{ctx, tx, s.kind})
	if err != nil {
		return err
	}
	var names, gone []string
	var data [][]byte
	for name, text := range changed {
		if text == nil {
			gone = append(gone, name)
			continue
		}
		names, data = append(names, name), append(data, text)
	}
	if len(names) > 0 {
		if _, err := tx.ExecContext(ctx, s.kind.in(`INSERT INTO FILES (name, data) SELECT * FROM unnest($1::text[], $2::bytea[])
			ON CONFLICT (name) DO UPDATE SET data = excluded.data`), names, data); err != nil {
			return err
		}
	}
	if len(gone) > 0 {
		if _, err := tx.ExecContext(ctx, s.kind.in("DELETE FROM FILES WHERE name = ANY($1::text[])"), gone); err != nil {
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

// files reads files from a database or within a transaction, for as long as a context lasts. A folder is what names have before a slash.
type files struct {
	ctx context.Context //nolint:containedctx // fs.FS has no place for it
	in  interface {
		QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	}
	kind Kind
}

// Open is fs.FS's.
func (f *files) Open(name string) (fs.File, error) {
	data, err := f.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return &file{bytes.NewReader(data), name}, nil
}

// ReadFile is fs.ReadFileFS's.
func (f *files) ReadFile(name string) (data []byte, err error) {
	err = f.in.QueryRowContext(f.ctx, f.kind.in("SELECT data FROM FILES WHERE name = $1"), name).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return data, nil
}

// ReadDir is fs.ReadDirFS's. A folder without files is empty.
func (f *files) ReadDir(name string) (_ []fs.DirEntry, err error) {
	defer func() {
		if err != nil {
			err = &fs.PathError{Op: "readdir", Path: name, Err: err}
		}
	}()
	rows, err := f.in.QueryContext(f.ctx, f.kind.in("SELECT name FROM FILES WHERE starts_with(name, $1) ORDER BY name"), name+"/")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var out []fs.DirEntry
	for rows.Next() {
		var full string
		if err := rows.Scan(&full); err != nil {
			return nil, err
		}
		if base := full[len(name)+1:]; !strings.Contains(base, "/") {
			out = append(out, fs.FileInfoToDirEntry(&file{bytes.NewReader(nil), base}))
		}
	}
	return out, rows.Err()
}

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
