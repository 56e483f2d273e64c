package table

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"
)

// JoinToken is what is kept of a token that can be used once.
type JoinToken struct {
	Hash    [sha256.Size]byte
	Name    string // what whoever presents it becomes
	Expires time.Time
}

// AddJoinToken keeps a token and forgets those that have expired. The error wraps ErrConflict if it is there already.
func (t *Tx) AddJoinToken(ctx context.Context, j JoinToken) error {
	now, err := t.Now(ctx)
	if err != nil {
		return err
	}
	if _, err := t.exec(ctx, "DELETE FROM join_tokens WHERE expires <= $1", micro(now)); err != nil {
		return fmt.Errorf("forgetting old join tokens: %w", err)
	}
	_, err = t.exec(ctx, "INSERT INTO join_tokens (hash, name, expires) VALUES ($1, $2, $3)", j.Hash[:], j.Name, micro(j.Expires))
	if err != nil {
		return fmt.Errorf("keeping a join token for %q: %w", j.Name, err)
	}
	return nil
}

// TakeJoinToken removes a token and returns it, also if it has expired. The error wraps ErrNotFound if it is not there: of
// any number of callers, in any number of processes, one gets it.
func (t *Tx) TakeJoinToken(ctx context.Context, hash [sha256.Size]byte) (JoinToken, error) {
	j := JoinToken{Hash: hash}
	var expires int64
	err := t.one(ctx, "DELETE FROM join_tokens WHERE hash = $1 RETURNING name, expires", []any{hash[:]}, &j.Name, &expires)
	if err != nil {
		return JoinToken{}, fmt.Errorf("taking a join token: %w", err)
	}
	j.Expires = fromMicro(expires)
	return j, nil
}
