package table

import (
	"context"
	"fmt"
)

// Blob returns a named piece of state and its revision. The error wraps ErrNotFound if there is none.
func (t *Tx) Blob(ctx context.Context, name string) (data []byte, revision int64, err error) {
	err = t.one(ctx, "SELECT data, revision FROM blobs WHERE name = $1", []any{name}, &data, &revision)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the state %q: %w", name, err)
	}
	return data, revision, nil
}

// SaveBlob replaces the state of a revision (0: none yet) by its successor, whose revision is one more. The error
// wraps ErrConflict if the revision is not the stored one.
func (t *Tx) SaveBlob(ctx context.Context, name string, data []byte, revision int64) error {
	if data == nil {
		data = []byte{}
	}
	var n int64
	var err error
	if revision == 0 {
		n, err = t.exec(ctx, "INSERT INTO blobs (name, revision, data) VALUES ($1, 1, $2) ON CONFLICT (name) DO NOTHING", name, data)
	} else {
		n, err = t.exec(ctx, "UPDATE blobs SET data = $1, revision = revision + 1 WHERE name = $2 AND revision = $3", data, name, revision)
	}
	if err == nil && n == 0 {
		err = ErrConflict
	}
	if err != nil {
		return fmt.Errorf("writing the state %q: %w", name, err)
	}
	return nil
}
