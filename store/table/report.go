package table

import (
	"context"
	"fmt"
	"time"
)

// Report is what one process of a proxy last said of itself.
type Report struct {
	ID       string // SPIFFE ID
	Instance string // distinguishes processes of one identity
	Version  string // of the snapshot it serves
	Accepted bool   // whether it took the newest it was given
	Reason   string // why not
	Expires  time.Time
	Reported time.Time
	Detail   []byte // more, as JSON
}

// PutReport writes a report, unless a newer one of the same instance is there.
func (t *Tx) PutReport(ctx context.Context, r Report) error {
	accepted := 0
	if r.Accepted {
		accepted = 1
	}
	if r.Detail == nil {
		r.Detail = []byte{}
	}
	_, err := t.exec(ctx, `INSERT INTO proxies (id, instance, version, accepted, reason, expires, reported, detail)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id, instance) DO UPDATE SET version = excluded.version,
		accepted = excluded.accepted, reason = excluded.reason, expires = excluded.expires, reported = excluded.reported,
		detail = excluded.detail WHERE excluded.reported >= proxies.reported`,
		r.ID, r.Instance, r.Version, accepted, r.Reason, micro(r.Expires), micro(r.Reported), r.Detail)
	if err != nil {
		return fmt.Errorf("writing the report of %q: %w", r.ID, err)
	}
	return nil
}

// Reports returns all, sorted by ID and instance.
func (t *Tx) Reports(ctx context.Context) ([]Report, error) {
	out, err := all(ctx, t, func(scan func(...any) error) (r Report, err error) {
		var accepted, expires, reported int64
		err = scan(&r.ID, &r.Instance, &r.Version, &accepted, &r.Reason, &expires, &reported, &r.Detail)
		r.Accepted, r.Expires, r.Reported = accepted != 0, fromMicro(expires), fromMicro(reported)
		return r, err
	}, "SELECT id, instance, version, accepted, reason, expires, reported, detail FROM proxies ORDER BY id, instance")
	if err != nil {
		return nil, fmt.Errorf("reading reports: %w", err)
	}
	return out, nil
}

// ForgetReport removes that of an instance; that there is none is no error.
func (t *Tx) ForgetReport(ctx context.Context, id, instance string) error {
	if _, err := t.exec(ctx, "DELETE FROM proxies WHERE id = $1 AND instance = $2", id, instance); err != nil {
		return fmt.Errorf("forgetting the report of %q: %w", id, err)
	}
	return nil
}

// ForgetReports removes those from before a time and returns how many.
func (t *Tx) ForgetReports(ctx context.Context, before time.Time) (int64, error) {
	n, err := t.exec(ctx, "DELETE FROM proxies WHERE reported < $1", micro(before))
	if err != nil {
		return 0, fmt.Errorf("forgetting reports: %w", err)
	}
	return n, nil
}
