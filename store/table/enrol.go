package table

import (
	"context"
	"fmt"
	"time"
)

// Enrolment says that control knows a proxy or node, and by what proof.
type Enrolment struct {
	ID       string // SPIFFE ID
	Kind     string // edge, sidecar, node
	Node     string // where it runs; "" if it is not known
	Attested string // how it proved what it is
	Since    time.Time
}

// Enrol writes an enrolment, in place of an older one of the same ID.
func (t *Tx) Enrol(ctx context.Context, e Enrolment) error {
	_, err := t.exec(ctx, `INSERT INTO enrolments (id, kind, node, attested, since) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, node = excluded.node, attested = excluded.attested, since = excluded.since`,
		e.ID, e.Kind, e.Node, e.Attested, micro(e.Since))
	if err != nil {
		return fmt.Errorf("enrolling %q: %w", e.ID, err)
	}
	return nil
}

// Unenrol removes an enrolment. The error wraps ErrNotFound if there is none.
func (t *Tx) Unenrol(ctx context.Context, id string) error {
	n, err := t.exec(ctx, "DELETE FROM enrolments WHERE id = $1", id)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("removing the enrolment of %q: %w", id, err)
	}
	return nil
}

func scanEnrolment(scan func(...any) error) (e Enrolment, err error) {
	var since int64
	err = scan(&e.ID, &e.Kind, &e.Node, &e.Attested, &since)
	e.Since = fromMicro(since)
	return e, err
}

// Enrolments returns all, sorted by ID.
func (t *Tx) Enrolments(ctx context.Context) ([]Enrolment, error) {
	out, err := all(ctx, t, scanEnrolment, "SELECT id, kind, node, attested, since FROM enrolments ORDER BY id")
	if err != nil {
		return nil, fmt.Errorf("reading enrolments: %w", err)
	}
	return out, nil
}

// EnrolmentsOn returns those on a node, sorted by ID.
func (t *Tx) EnrolmentsOn(ctx context.Context, node string) ([]Enrolment, error) {
	out, err := all(ctx, t, scanEnrolment, "SELECT id, kind, node, attested, since FROM enrolments WHERE node = $1 ORDER BY id", node)
	if err != nil {
		return nil, fmt.Errorf("reading the enrolments on %q: %w", node, err)
	}
	return out, nil
}
