package table

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Lease says who leads, for how long. Time is the database's.
type Lease struct {
	Name   string
	Holder string
	Epoch  int64 // grows with each new holder, and each time a holder comes back too late; at least the time in seconds since 1970, so that it also grows over a restored copy
	Until  time.Time
}

// TakeLease takes a lease that nobody holds, or renews the holder's own. The error wraps ErrConflict if another holds it.
func (t *Tx) TakeLease(ctx context.Context, name, holder string, ttl time.Duration) (Lease, error) {
	fail := func(err error) (Lease, error) { return Lease{}, fmt.Errorf("taking the lease %q: %w", name, err) }
	now, err := t.Now(ctx)
	if err != nil {
		return fail(err)
	}
	old, err := t.lease(ctx, "SELECT holder, epoch, until FROM leases WHERE name = $1", name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fail(err)
	}
	next := Lease{Name: name, Holder: holder, Epoch: old.Epoch, Until: now.Add(ttl)}
	switch held := now.Before(old.Until); {
	case held && old.Holder != holder:
		return fail(fmt.Errorf("%w: %q holds it", ErrConflict, old.Holder))
	case !held:
		next.Epoch = max(old.Epoch+1, now.Unix())
	}
	_, err = t.exec(ctx, `INSERT INTO leases (name, holder, epoch, until) VALUES ($1, $2, $3, $4)
		ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = excluded.epoch, until = excluded.until`,
		name, holder, next.Epoch, micro(next.Until))
	if err != nil {
		return fail(err)
	}
	return next, nil
}

// ReleaseLease ends a lease, so that another need not wait for its end. One that is no longer held stays as it is.
func (t *Tx) ReleaseLease(ctx context.Context, l Lease) error {
	_, err := t.exec(ctx, "UPDATE leases SET until = 0 WHERE name = $1 AND holder = $2 AND epoch = $3", l.Name, l.Holder, l.Epoch)
	if err != nil {
		return fmt.Errorf("releasing the lease %q: %w", l.Name, err)
	}
	return nil
}

// Lease returns a lease that somebody holds now. The error wraps ErrNotFound if nobody does.
func (t *Tx) Lease(ctx context.Context, name string) (Lease, error) {
	l, err := t.lease(ctx, "SELECT holder, epoch, until FROM leases WHERE name = $1", name)
	if err != nil {
		return Lease{}, fmt.Errorf("reading the lease %q: %w", name, err)
	}
	now, err := t.Now(ctx)
	if err == nil && !now.Before(l.Until) {
		err = fmt.Errorf("reading the lease %q: %w", name, ErrNotFound)
	}
	return l, err
}

func (t *Tx) lease(ctx context.Context, query, name string) (Lease, error) {
	l := Lease{Name: name}
	var until int64
	err := t.one(ctx, query, []any{name}, &l.Holder, &l.Epoch, &until)
	l.Until = fromMicro(until)
	return l, err
}

// holds returns ErrLeaseLost unless the lease is held now. Nobody else can take it before the transaction ends.
func (t *Tx) holds(ctx context.Context, l Lease) error {
	stored, err := t.lease(ctx, t.dialect.keep, l.Name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("checking the lease %q: %w", l.Name, err)
	}
	now, err := t.Now(ctx)
	if err != nil {
		return err
	}
	if stored.Epoch != l.Epoch || stored.Holder != l.Holder || !now.Before(stored.Until) {
		return fmt.Errorf("checking the lease %q: %w", l.Name, ErrLeaseLost)
	}
	return nil
}
