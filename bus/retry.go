package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
)

// backoff returns how long to wait before try n (1 is the second): doubling, and between half and all of it, so that
// clients that lost a server together do not come back together.
func backoff(n int, most time.Duration) time.Duration {
	d := most
	if n < 30 && backoffMin<<n < most {
		d = backoffMin << n
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // G404: jitter needs no secret
}

// patience is how long try n (0 is the first) may take for what is dear to the server: each twice as long as the one before. When
// a thousand ask at once, who gives up early and asks again only adds to the work that the server is behind with.
func patience(n int) time.Duration { return 2 * attemptTime << min(n, 4) }

// pause waits unless the context ends before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// final marks errors that another try cannot mend.
func final(err error) bool {
	for _, f := range []error{
		ErrConflict, ErrNotFound, ErrNotPermitted, ErrTooLarge, ErrClosed,
		nats.ErrConnectionClosed, nats.ErrConnectionDraining, nats.ErrBadSubject, nats.ErrInvalidMsg,
	} {
		if errors.Is(err, f) {
			return true
		}
	}
	var refusal *Refusal
	var api *apiError
	var stop permanent
	switch {
	case errors.As(err, &stop):
		return true
	case errors.As(err, &refusal):
		return refusal.Code != Busy
	case errors.As(err, &api):
		return !api.passing()
	}
	return false
}

// permanent marks an error as final.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// retry repeats once until it succeeds, fails for good, or the context ends; the error then names the last failure.
// Each try has attemptTime.
func retry(ctx context.Context, once func(context.Context) error) error {
	for n := 0; ; n++ {
		err := within(ctx, attemptTime, once)
		if err == nil || final(err) {
			return err
		}
		d := backoff(n, backoffMax)
		if busy, ok := errors.AsType[*Refusal](err); ok {
			d += busy.After
		}
		if ended := pause(ctx, d); ended != nil {
			return fmt.Errorf("%w; last: %w", ended, err)
		}
	}
}

func within(ctx context.Context, d time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return do(ctx)
}
