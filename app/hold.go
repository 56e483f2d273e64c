package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/query"
)

// mountHolds mounts what administrators ask of holds of a running fleet.
func (e *edge) mountHolds(mount func(string, func(context.Context, string, *http.Request) (any, error))) {
	mount("GET "+admin.HoldsPath, func(ctx context.Context, _ string, _ *http.Request) (any, error) { return e.memory.Holds(ctx) })
	mount("POST "+admin.HoldsPath, e.holding(event.KindHeld, func(ctx context.Context, who string, body []byte) (query.Hold, error) {
		return admin.PlaceHold(ctx, e.memory, who, body)
	}))
	mount("POST "+admin.ReleasePath, e.holding(event.KindReleased, func(ctx context.Context, _ string, body []byte) (query.Hold, error) {
		return admin.ReleaseHold(ctx, e.memory, body)
	}))
}

// holding has a hold changed and records it.
func (e *edge) holding(kind event.Kind, do func(context.Context, string, []byte) (query.Hold, error)) func(context.Context, string, *http.Request) (any, error) {
	return func(ctx context.Context, who string, r *http.Request) (any, error) {
		body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxCommand))
		if err != nil {
			return nil, &admin.Problem{Status: http.StatusBadRequest, Title: http.StatusText(http.StatusBadRequest), Detail: "the request cannot be read"}
		}
		out, err := do(context.WithoutCancel(ctx), who, body)
		act := &event.Act{Kind: kind, Who: who, Role: string(admin.Admin), Object: out.Name, Outcome: event.Done, Text: admin.HoldText(&out), Proxy: "control"}
		if err != nil {
			act.Outcome, act.Text = event.Failed, err.Error()
		}
		e.recorder.Act(ctx, &event.Event{Act: act})
		return out, err
	}
}

// Hold keeps events from being deleted for their age until ReleaseHold.
func Hold(ctx context.Context, o *Options, h query.Hold) error {
	if _, err := h.Meant(); err != nil {
		return pointed(err, h.Query)
	}
	return o.onHolds(func(c *admin.Client) error {
		if err := c.Hold(ctx, h); err != nil || o.JSON {
			return orShown(err, func() error { return o.showHolds(ctx, c) })
		}
		_, err := fmt.Fprintf(o.Out, "%s is held (%s) until palisade hold release %s\n", h.Name, h.Scope(), h.Name)
		return err
	})
}

// orShown shows what came of it, unless that is an error.
func orShown(err error, show func() error) error {
	if err != nil {
		return err
	}
	return show()
}

// ReleaseHold ends a hold.
func ReleaseHold(ctx context.Context, o *Options, name string) error {
	return o.onHolds(func(c *admin.Client) error {
		was, err := c.Release(ctx, name)
		if err != nil || o.JSON {
			return orShown(err, func() error { return writeJSON(o.Out, was) })
		}
		_, err = fmt.Fprintf(o.Out, "%s is released (%s): what is older than it is kept is deleted from now on\n", was.Name, was.Scope())
		return err
	})
}

// Holds prints the holds that stand.
func Holds(ctx context.Context, o *Options) error {
	return o.onHolds(func(c *admin.Client) error { return o.showHolds(ctx, c) })
}

func (o *Options) showHolds(ctx context.Context, c *admin.Client) error {
	all, err := c.Holds(ctx)
	if err != nil {
		return err
	}
	if o.JSON {
		return writeJSON(o.Out, all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(o.Out, "nothing is held")
		return err
	}
	w := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "HOLD\tSINCE\tBY\tEVENTS\tREASON")
	for i := range all {
		h := &all[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", h.Name, h.Placed.Format(time.RFC3339), observe.Printable(h.By), observe.Printable(h.Scope()), observe.Printable(h.Reason))
	}
	return w.Flush()
}

// onHolds speaks to what keeps the events that are meant.
func (o *Options) onHolds(do func(*admin.Client) error) error {
	c, err := o.administer()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := do(c); err != nil {
		return o.asked(err)
	}
	return nil
}
