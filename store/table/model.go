package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// Model is a declared fleet that control was given. It never changes.
type Model struct {
	Version  string // of its content
	Document []byte
	Added    time.Time
	Author   string
}

// Enforcement says which model was in force from when on. The newest is in force.
type Enforcement struct {
	Number  int64 // 1, 2, 3...
	Version string
	Since   time.Time
	Author  string
	Note    string // why: "rolled back: errors rose at edge/a"
}

// AddModel keeps a model. Adding the same again does nothing; the error wraps ErrConflict if another document has
// its version.
func (t *Tx) AddModel(ctx context.Context, m Model) error {
	n, err := t.exec(ctx, `INSERT INTO models (version, document, added, author) VALUES ($1, $2, $3, $4) ON CONFLICT (version) DO NOTHING`,
		m.Version, m.Document, micro(m.Added), m.Author)
	if err == nil && n == 0 {
		var old Model
		if old, err = t.Model(ctx, m.Version); err == nil && !bytes.Equal(old.Document, m.Document) {
			err = ErrConflict
		}
	}
	if err != nil {
		return fmt.Errorf("keeping the model %q: %w", m.Version, err)
	}
	return nil
}

// Model returns a model. The error wraps ErrNotFound if there is none.
func (t *Tx) Model(ctx context.Context, version string) (Model, error) {
	m := Model{Version: version}
	var added int64
	err := t.one(ctx, "SELECT document, added, author FROM models WHERE version = $1", []any{version}, &m.Document, &added, &m.Author)
	if err != nil {
		return Model{}, fmt.Errorf("reading the model %q: %w", version, err)
	}
	m.Added = fromMicro(added)
	return m, nil
}

// Enforce puts a model in force, if the one with the given number still is (0: none yet). The error wraps ErrConflict if
// it is not, ErrNotFound if there is no such model. e.Number is not looked at.
func (t *Tx) Enforce(ctx context.Context, e Enforcement, number int64) (Enforcement, error) {
	fail := func(err error) (Enforcement, error) {
		return Enforcement{}, fmt.Errorf("putting the model %q in force: %w", e.Version, err)
	}
	now, err := t.InForce(ctx)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fail(err)
	}
	if now.Number != number {
		return fail(fmt.Errorf("%w: number %d is in force", ErrConflict, now.Number))
	}
	if _, err := t.Model(ctx, e.Version); err != nil {
		return fail(err)
	}
	e.Number = number + 1
	_, err = t.exec(ctx, "INSERT INTO enforcements (number, version, since, author, note) VALUES ($1, $2, $3, $4, $5)",
		e.Number, e.Version, micro(e.Since), e.Author, e.Note)
	if err != nil {
		return fail(err)
	}
	return e, nil
}

func scanEnforcement(scan func(...any) error) (e Enforcement, err error) {
	var since int64
	err = scan(&e.Number, &e.Version, &since, &e.Author, &e.Note)
	e.Since = fromMicro(since)
	return e, err
}

// InForce returns what is in force. The error wraps ErrNotFound if nothing is yet.
func (t *Tx) InForce(ctx context.Context) (Enforcement, error) {
	newest, err := t.Enforcements(ctx, 0, 1)
	switch {
	case err != nil:
		return Enforcement{}, err
	case len(newest) == 0:
		return Enforcement{}, fmt.Errorf("reading which model is in force: %w", ErrNotFound)
	}
	return newest[0], nil
}

// Enforcements returns up to limit of them, the newest first, older than a number (0: from the newest on).
func (t *Tx) Enforcements(ctx context.Context, before int64, limit int) ([]Enforcement, error) {
	out, err := all(ctx, t, scanEnforcement, `SELECT number, version, since, author, note FROM enforcements
		WHERE $1 = 0 OR number < $1 ORDER BY number DESC LIMIT $2`, before, limit)
	if err != nil {
		return nil, fmt.Errorf("reading which models were in force: %w", err)
	}
	return out, nil
}
