package table

import (
	"context"
	"fmt"
	"time"
)

// Act is what an administrator did or tried. Acts are only ever added.
type Act struct {
	Number  int64 // 1, 2, 3...; AddAct gives it
	At      time.Time
	Who     string
	Role    string // viewer, operator, admin
	Verb    string // apply, revoke
	Object  string // service/payments
	Outcome string // done, denied, failed
	Detail  []byte // more, as JSON
}

// AddAct adds an act and returns its number. In one transaction with what was done, neither is there without the
// other.
func (t *Tx) AddAct(ctx context.Context, a Act) (int64, error) {
	if a.Detail == nil {
		a.Detail = []byte{}
	}
	number, err := t.count(ctx, "acts")
	if err == nil {
		_, err = t.exec(ctx, "INSERT INTO acts (number, at, who, role, verb, object, outcome, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
			number, micro(a.At), a.Who, a.Role, a.Verb, a.Object, a.Outcome, a.Detail)
	}
	if err != nil {
		return 0, fmt.Errorf("recording an act of %q: %w", a.Who, err)
	}
	return number, nil
}

// Acts returns up to limit of them in their order, from after a number on.
func (t *Tx) Acts(ctx context.Context, after int64, limit int) ([]Act, error) {
	out, err := all(ctx, t, func(scan func(...any) error) (a Act, err error) {
		var at int64
		err = scan(&a.Number, &at, &a.Who, &a.Role, &a.Verb, &a.Object, &a.Outcome, &a.Detail)
		a.At = fromMicro(at)
		return a, err
	}, "SELECT number, at, who, role, verb, object, outcome, detail FROM acts WHERE number > $1 ORDER BY number LIMIT $2", after, limit)
	if err != nil {
		return nil, fmt.Errorf("reading acts: %w", err)
	}
	return out, nil
}
