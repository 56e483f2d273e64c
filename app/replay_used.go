package app

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
)

// mostUsed is how many decisions apply looks at, the newest.
const mostUsed = 500_000

// unused refuses to put a snapshot in force that denies what was used since a time, unless that is accepted. Where no events are
// kept it says so, and refuses nothing.
func (o *Options) unused(ctx context.Context, events admin.Events, next *model.Snapshot, since time.Time, accept bool) error {
	if since.IsZero() {
		return nil
	}
	r, err := o.replay(ctx, next, &finder{Events: events}, Span{Since: since}, mostUsed)
	if problem, ok := errors.AsType[*admin.Problem](err); ok && problem.Status == http.StatusNotFound {
		fmt.Fprintf(o.Err, "note: no events are kept here, so nobody can say what this would deny of what was used\n")
		return nil
	}
	switch {
	case err != nil && accept:
		fmt.Fprintf(o.Err, "warning: what was used cannot be decided again: %v\n", err)
		return nil
	case err != nil:
		return fmt.Errorf("%w: what was used cannot be decided again, and --accept applies it all the same: %w", ErrNotApplied, err)
	}
	if !o.JSON {
		if err := o.showReplay(r, mostShown); err != nil {
			return err
		}
	}
	if r.Narrows() && !accept {
		return fmt.Errorf("%w: it denies %d of %d decisions (of each request one at every proxy on its way) since %s; --accept applies it all the same, and palisade replay lists them",
			ErrNotApplied, r.Denied, r.Records, r.First.Local().Format(time.DateTime))
	}
	return nil
}

// mostShown is how many kinds of changes are shown beside a plan.
const mostShown = 10

// firstOf are the first n of events, all if n is 0.
func firstOf(n int, events iter.Seq2[*event.Event, error]) iter.Seq2[*event.Event, error] {
	return func(yield func(*event.Event, error) bool) {
		left := n
		for e, err := range events {
			if left--; !yield(e, err) || left == 0 {
				return
			}
		}
	}
}
