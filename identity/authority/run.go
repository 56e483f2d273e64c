package authority

import (
	"context"
	"errors"
	"time"
)

const (
	maxTick   = 30 * time.Second
	jumpBound = time.Minute // two clocks that differ by more between two ticks: one has jumped
)

// Run rotates until ctx ends. It looks at the wall clock every 30 s or oftener rather than sleep until something
// is due: a timer would not notice that the clock was set. What fails is logged when it begins and tried again at
// the next tick.
func (a *Authority) Run(ctx context.Context) error {
	ticker := time.NewTicker(min(maxTick, a.config.Intermediate/100))
	defer ticker.Stop()
	last := a.now()
	var before string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := a.now()
		if by := now.wall.Sub(last.wall) - (now.up - last.up); by.Abs() > jumpBound {
			a.config.Log.WarnContext(ctx, "the clock has jumped", "by", by)
		}
		last = now
		err := a.tick(ctx, now)
		if ctx.Err() != nil {
			return nil
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != before {
			a.logTick(ctx, err)
		}
		before = text
	}
}

// logTick tells that the outcome of ticks is another than before.
func (a *Authority) logTick(ctx context.Context, err error) {
	switch {
	case err == nil:
		a.config.Log.InfoContext(ctx, "the authority is up to date again")
	case errors.Is(err, ErrParentAway):
		a.config.Log.WarnContext(ctx, "the authority needs an intermediate signed by hand", "error", err, "ends", a.Status().Ends)
	default:
		a.config.Log.ErrorContext(ctx, "the authority cannot renew itself", "error", err, "ends", a.Status().Ends)
	}
}

// Status says, for people and metrics, how the authority stands.
type Status struct {
	Sequence uint64    // of the bundle
	Signing  int       // number of the generation that signs; 0: none
	Ends     time.Time // when the last intermediate that can be used ends
	Next     time.Time // when the next one begins to sign; zero: it is not made yet
	RootEnds time.Time // when the last root ends
	Revoked  int       // entries of the revocation list
}

// Status returns how the authority stands now.
func (a *Authority) Status() Status {
	v, now := a.view.Load(), wall()
	out := Status{Sequence: v.state.Sequence, Revoked: len(v.state.Revoked)}
	if g := signing(v.state.Generations, now, v.usable); g != nil {
		out.Signing = g.Number
	}
	for i := range v.state.Generations {
		g := &v.state.Generations[i]
		if v.usable(g) && g.Ends.After(out.Ends) {
			out.Ends = g.Ends
		}
		if g.From.After(now) && g.Number > out.Signing {
			out.Next = g.From
		}
	}
	for _, cert := range v.bundle.X509Authorities() {
		if cert.NotAfter.After(out.RootEnds) {
			out.RootEnds = cert.NotAfter
		}
	}
	return out
}
