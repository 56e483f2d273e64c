package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/palisade-security/palisade/identity/revocation"
)

// Errors of the revocation list.
var (
	ErrNotRevoked = errors.New("not revoked")
	// ErrNotDurable tells that a revocation is in force, but would be forgotten by a restart: the store did not take
	// it. It is tried again at every tick.
	ErrNotDurable = errors.New("in force, but not stored yet")
)

// Revoke refuses a service, a serial number or a node from now on; see revocation.Normal for values. Revoking
// again keeps the first moment, and undoes Restore. It is in force when it returns, also if the error
// wraps ErrNotDurable.
func (a *Authority) Revoke(ctx context.Context, kind revocation.Kind, value, reason, by string) error {
	value, err := revocation.Normal(a.config.TrustDomain, kind, value)
	if err != nil {
		return fmt.Errorf("revoking: %w", err)
	}
	entry := revocation.Entry{Kind: kind, Value: value, Since: wall(), Reason: reason, By: by}
	add := func(s *state) (bool, error) {
		if i := find(s.Revoked, kind, value); i >= 0 {
			if s.Revoked[i].Before.IsZero() {
				return false, nil
			}
			s.Revoked[i] = entry
		} else {
			s.Revoked = append(s.Revoked, entry)
		}
		s.relisted(entry.Since)
		return true, nil
	}
	a.lock.Lock()
	defer a.lock.Unlock()
	err = a.mutateLocked(ctx, add)
	if err == nil {
		return nil
	}
	// The store does not take it. A full disk must not keep a stolen identity alive.
	next := a.view.Load().state.clone()
	if _, changeErr := add(next); changeErr != nil {
		return errors.Join(err, changeErr)
	}
	v, compileErr := a.compile(ctx, next, a.view.Load().revision)
	if compileErr != nil {
		return errors.Join(err, compileErr)
	}
	a.unsaved = append(a.unsaved, add)
	a.publish(v)
	return fmt.Errorf("revoking %s %s: %w: %w", kind, value, ErrNotDurable, err)
}

// Restore undoes Revoke: SVIDs are issued again. What was issued to a service or node before stays refused
// until it has expired; a serial number is taken off the list. The error wraps ErrNotRevoked if there is
// nothing to undo. Unlike Revoke it is in force only when it is stored.
func (a *Authority) Restore(ctx context.Context, kind revocation.Kind, value string) error {
	value, err := revocation.Normal(a.config.TrustDomain, kind, value)
	if err != nil {
		return fmt.Errorf("restoring: %w", err)
	}
	err = a.mutate(ctx, func(s *state) (bool, error) {
		i := find(s.Revoked, kind, value)
		if i < 0 || !s.Revoked[i].Before.IsZero() {
			return false, ErrNotRevoked
		}
		if kind == revocation.Serial {
			s.Revoked = slices.Delete(s.Revoked, i, i+1)
		} else {
			// SVIDs begin at full seconds, Backdate before their issue: one issued now begins after this.
			s.Revoked[i].Before = wall().Add(-Backdate - time.Second)
		}
		s.relisted(wall())
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("restoring %s %s: %w", kind, value, err)
	}
	return nil
}

// prune takes entries off the list that can refuse nothing any more: restored ones when everything issued before
// has expired, and proves nothing either. An entry in force stays for good: a service is not trusted again because time has passed.
func prune(s *state, now time.Time, grace time.Duration) bool {
	before := len(s.Revoked)
	s.Revoked = slices.DeleteFunc(s.Revoked, func(e revocation.Entry) bool {
		return !e.Before.IsZero() && now.Sub(e.Before) > MaxTTL+Backdate+time.Minute+max(grace, 0)
	})
	if len(s.Revoked) == before {
		return false
	}
	s.relisted(now)
	return true
}

// relisted numbers a list that has changed. The number is the time, so that an authority that was restored from a copy does
// not give its next lists numbers that peers know already, and would take for old.
func (s *state) relisted(now time.Time) {
	s.RevokedSequence = max(s.RevokedSequence+1, uint64(max(now.Unix(), 0)))
}

func find(entries []revocation.Entry, kind revocation.Kind, value string) int {
	return slices.IndexFunc(entries, func(e revocation.Entry) bool { return e.Kind == kind && e.Value == value })
}
