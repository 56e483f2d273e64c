package table

import (
	"context"
	"fmt"
	"time"
)

// Revocation is one entry of the list of what is refused before it expires.
type Revocation struct {
	Kind   string // service, serial, node
	Value  string
	Since  time.Time
	Before time.Time // set when it was restored: what was issued until then stays refused
	Reason string
	Author string
}

// revocationCounter counts changes of the list.
const revocationCounter = "revocations"

// Revoke writes an entry, in place of an older one of the same kind and value, and returns the list's new sequence
// number.
func (t *Tx) Revoke(ctx context.Context, r Revocation) (sequence int64, err error) {
	_, err = t.exec(ctx, `INSERT INTO revocations (kind, value, since, refused_before, reason, author) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (kind, value) DO UPDATE SET since = excluded.since, refused_before = excluded.refused_before,
		reason = excluded.reason, author = excluded.author`,
		r.Kind, r.Value, micro(r.Since), micro(r.Before), r.Reason, r.Author)
	if err == nil {
		sequence, err = t.count(ctx, revocationCounter)
	}
	if err != nil {
		return 0, fmt.Errorf("revoking %s %q: %w", r.Kind, r.Value, err)
	}
	return sequence, nil
}

// DropRevocation removes an entry and returns the list's new sequence number. The error wraps ErrNotFound if there is
// none.
func (t *Tx) DropRevocation(ctx context.Context, kind, value string) (sequence int64, err error) {
	n, err := t.exec(ctx, "DELETE FROM revocations WHERE kind = $1 AND value = $2", kind, value)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	if err == nil {
		sequence, err = t.count(ctx, revocationCounter)
	}
	if err != nil {
		return 0, fmt.Errorf("dropping the revocation of %s %q: %w", kind, value, err)
	}
	return sequence, nil
}

// Revocations returns the list, sorted by kind and value, and its sequence number, which grows with each change.
func (t *Tx) Revocations(ctx context.Context) (sequence int64, list []Revocation, err error) {
	list, err = all(ctx, t, func(scan func(...any) error) (r Revocation, err error) {
		var since, before int64
		err = scan(&r.Kind, &r.Value, &since, &before, &r.Reason, &r.Author)
		r.Since, r.Before = fromMicro(since), fromMicro(before)
		return r, err
	}, "SELECT kind, value, since, refused_before, reason, author FROM revocations ORDER BY kind, value")
	if err == nil {
		err = t.one(ctx, "SELECT COALESCE(MAX(value), 0) FROM counters WHERE name = $1", []any{revocationCounter}, &sequence)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("reading revocations: %w", err)
	}
	return sequence, list, nil
}

// count adds one to a counter and returns it.
func (t *Tx) count(ctx context.Context, name string) (int64, error) {
	var value int64
	err := t.one(ctx, `INSERT INTO counters (name, value) VALUES ($1, 1)
		ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value`, []any{name}, &value)
	return value, err
}
