package table

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

//go:embed migrations
var migrations embed.FS

// migrate runs what was not run yet, each step in a transaction of its own. Several controls may start
// at once: they take turns, by a lock that is held before a transaction sees its moment.
func (s *Store) migrate(ctx context.Context) error {
	dir := path.Join("migrations", s.dialect.name)
	files, err := fs.ReadDir(migrations, dir)
	if err != nil {
		return err
	}
	slices.SortFunc(files, func(a, b fs.DirEntry) int { return slices.Compare([]byte(a.Name()), []byte(b.Name())) })
	if s.dialect.lock != "" {
		conn, err := s.db.Conn(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }() // ends nothing that unlocking has not
		if _, err := conn.ExecContext(ctx, s.dialect.lock); err != nil {
			return err
		}
		defer func() { _, _ = conn.ExecContext(context.WithoutCancel(ctx), s.dialect.unlock) }() // or with the connection
	}
	for i, f := range files {
		text, err := migrations.ReadFile(path.Join(dir, f.Name()))
		if err != nil {
			return err
		}
		if err := s.Write(ctx, func(t *Tx) error { return t.step(ctx, int64(i+1), string(text)) }); err != nil {
			return fmt.Errorf("migrating with %s: %w", f.Name(), err)
		}
	}
	return s.Read(ctx, func(t *Tx) error {
		version, err := t.version(ctx)
		if err == nil && version > int64(len(files)) {
			err = fmt.Errorf("%w: %d, this program knows %d", ErrNewer, version, len(files))
		}
		return err
	})
}

// step runs one migration if it is the next.
func (t *Tx) step(ctx context.Context, number int64, text string) error {
	if _, err := t.exec(ctx, "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)"); err != nil {
		return err
	}
	version, err := t.version(ctx)
	if err != nil || version >= number {
		return err
	}
	if version != number-1 {
		return fmt.Errorf("the tables are at version %d", version)
	}
	if _, err := t.exec(ctx, text); err != nil {
		return err
	}
	if _, err := t.exec(ctx, "DELETE FROM schema_version"); err != nil {
		return err
	}
	_, err = t.exec(ctx, "INSERT INTO schema_version (version) VALUES ($1)", number)
	return err
}

func (t *Tx) version(ctx context.Context) (int64, error) {
	var version int64
	err := t.one(ctx, "SELECT version FROM schema_version", nil, &version)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return version, err
}
