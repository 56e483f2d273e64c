package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/replay"
)

// ReplayQuery says what is decided again.
type ReplayQuery struct {
	Model string // files of the model that decides; empty: the one of Options.Paths
	From  string // state directory, or folder of records; empty: where events are found otherwise
	Span
}

// Replay decides recorded requests and connections again under a model, shows what it would newly deny or allow, and reports
// whether it would deny any.
func Replay(ctx context.Context, o *Options, q *ReplayQuery) (narrows bool, err error) {
	from, err := o.finding(ctx, q.From)
	if err != nil {
		return false, err
	}
	defer from.close()
	with := *o.forOthers()
	if q.Model != "" {
		with.Paths = []string{q.Model}
	}
	_, snap, findings, err := with.load(true)
	if err != nil {
		return false, errors.Join(errors.New("no replay: "+err.Error()), o.printFindings(o.Err, findings))
	}
	r, err := o.replay(ctx, snap, from, q.Span, 0)
	if err != nil {
		return false, err
	}
	if o.JSON {
		return r.Narrows(), writeJSON(o.Out, r)
	}
	return r.Narrows(), o.showReplay(r, r.Denied+r.Allowed)
}

// replay decides the newest that is recorded of a time again under a snapshot; most 0: all of it.
func (o *Options) replay(ctx context.Context, snap *model.Snapshot, from *finder, span Span, most int) (*replay.Report, error) {
	rp, findings, err := replay.New(ctx, snap)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("no replay: %w", err), o.printFindings(o.Err, findings))
	}
	r, err := rp.Run(ctx, firstOf(most, decisions(ctx, from, span)))
	if err != nil {
		return nil, o.asked(err)
	}
	return r, nil
}

// showReplay writes a report for people, with at most so many of the newly denied and of the newly allowed.
func (o *Options) showReplay(r *replay.Report, most int) error {
	st := o.style()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s  snapshot %s", st.Paint(observe.Bold, "replay"), observe.Printable(r.Fleet), short(r.Snapshot))
	if r.Records == 0 {
		b.WriteString("\nno request or connection is recorded in that time\n")
		_, err := io.WriteString(o.Out, b.String())
		return err
	}
	fmt.Fprintf(&b, "  %d decisions of %s to %s\n", r.Records, r.First.Local().Format(time.DateTime), r.Last.Local().Format(time.DateTime))
	for _, part := range []struct {
		newly, colour string
		n             int
	}{{replay.NewlyDenied, observe.Bad, r.Denied}, {replay.NewlyAllowed, observe.Good, r.Allowed}} {
		fmt.Fprintf(&b, "%s %d\n", st.Paint(part.colour, "newly "+part.newly), part.n)
		shown := 0
		for i := range r.Changes {
			c := &r.Changes[i]
			if c.Newly != part.newly {
				continue
			}
			if shown++; shown > most {
				b.WriteString("          and others; palisade replay lists them all\n")
				break
			}
			showChange(&b, st, c)
		}
	}
	if r.MoreChanges > 0 {
		fmt.Fprintf(&b, "and %d of other kinds, which are too many to list\n", r.MoreChanges)
	}
	fmt.Fprintf(&b, "the same %d\n", r.Same)
	showCounts(&b, "as it was then, not decided again", r.Kept, false)
	showCounts(&b, "cannot be decided again, for want of", r.Unknown, true)
	_, err := io.WriteString(o.Out, b.String())
	return err
}

func showChange(b *strings.Builder, st observe.Style, c *replay.Change) {
	w := &c.What
	what := strings.TrimSpace(w.Method + " " + replayPlace(w))
	fmt.Fprintf(b, "  %6d× %s  %s\n", c.Count, observe.Printable(what), observe.Printable(replayWho(&c.Who)))
	fmt.Fprintf(b, "          now %s\n", observe.Printable(verdictText(&c.Now)))
	fmt.Fprintf(b, "          %s\n", st.Paint(observe.Faint, observe.Printable("was "+verdictText(&c.Was)+"; e.g. "+strings.Join(c.Samples, " "))))
}

// replayPlace is what was asked: a path of a service, or a host where nobody knows a service.
func replayPlace(w *replay.What) string {
	place := w.Service
	switch {
	case w.Template != "":
		place += " " + w.Template
	case w.Service == "":
		place = w.Host
	}
	if w.Side != "edge" {
		place += " (" + w.Side + ")"
	}
	return place
}

func replayWho(w *replay.Who) string {
	var parts []string
	if w.Caller != "" {
		parts = append(parts, "by "+w.Caller)
	}
	switch {
	case w.Provider == "" && w.Caller == "":
		parts = append(parts, "nobody signed in")
	case w.Provider == "":
	case len(w.Roles) == 0:
		parts = append(parts, "user of "+w.Provider+" without a role")
	default:
		parts = append(parts, strings.Join(w.Roles, ", ")+" of "+w.Provider)
	}
	return strings.Join(append(parts, w.Claims...), "  ")
}

func verdictText(v *replay.Verdict) string {
	parts := []string{v.Code}
	if v.Stage != "" {
		parts[0] = v.Stage + ": " + v.Code
	}
	parts = append(parts, v.Text, v.Policy, v.Position)
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "  ")
}

func showCounts(b *strings.Builder, title string, all []replay.Count, samples bool) {
	n := 0
	for i := range all {
		n += all[i].Count
	}
	if n == 0 {
		return
	}
	fmt.Fprintf(b, "%s %d\n", title, n)
	for i := range all {
		fmt.Fprintf(b, "  %6d× %s", all[i].Count, observe.Printable(all[i].Why))
		if samples {
			fmt.Fprintf(b, "; e.g. %s", strings.Join(all[i].Samples, " "))
		}
		b.WriteByte('\n')
	}
}
