package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/internal/unified"
	"github.com/palisade-security/palisade/learn"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/model/plan"
)

// LearnQuery says from what is learned.
type LearnQuery struct {
	From  string    // state directory, or folder of records; empty: where events are found otherwise
	Since time.Time // what was not used since then is unused; zero: in all that is recorded
	Sure  float64   // how sure it must be to be proposed, 0 to 1
}

// learned is a proposal as programs read it.
type learned struct {
	*learn.Proposal
	Patch string `json:"patch"`
}

// Learn proposes the least model that lets pass what was seen, as a patch to the files of the model.
func Learn(ctx context.Context, o *Options, q *LearnQuery) error {
	d, snap, findings, err := o.forOthers().load(true)
	if err != nil {
		return errors.Join(errors.New("nothing is learned: "+err.Error()), o.printFindings(o.Err, findings))
	}
	from, err := o.finding(ctx, q.From)
	if err != nil {
		return err
	}
	defer from.close()
	seen := learn.New(snap, &d.Fleet, q.Since)
	for e, err := range decisions(ctx, from, Span{}) {
		if err != nil {
			return o.asked(err)
		}
		seen.Event(e)
	}
	p := seen.Propose(q.Sure)
	if p.Events == 0 {
		return fmt.Errorf("nothing is learned: no request or connection is recorded in that time in %s", from.where)
	}
	edited, err := o.proposed(ctx, d, snap, p, from)
	if err != nil {
		return err
	}
	patch, err := patchOf(edited)
	if err != nil {
		return err
	}
	if o.JSON {
		return writeJSON(o.Out, learned{p, patch})
	}
	_, err = io.WriteString(o.Out, learnText(snap, p)+patch)
	return err
}

// proposed edits the model, and makes sure of what the edit does: it is a model, lets pass nothing more, and denies nothing of what
// was seen.
func (o *Options) proposed(ctx context.Context, d *model.Declared, snap *model.Snapshot, p *learn.Proposal, from *finder) ([]model.Edited, error) {
	keys := p.Keys()
	if len(keys) == 0 {
		return nil, nil
	}
	edited, err := d.Without(keys)
	if err != nil {
		return nil, fmt.Errorf("proposing a patch: %w", err)
	}
	after, findings, err := d.With(edited)
	if err != nil {
		return nil, err
	}
	var next *model.Snapshot
	if !model.HasErrors(findings) {
		next, findings = after.Compile(model.Options{Development: true, Elsewhere: true, Getenv: os.LookupEnv})
	}
	if next == nil || model.HasErrors(findings) {
		return nil, errors.Join(errors.New("proposing a patch: the model would have errors"), o.printFindings(o.Err, findings))
	}
	for _, c := range plan.Diff(snap, next).Changes {
		if c.Kind == plan.Widens || c.Kind == plan.MayWiden {
			return nil, fmt.Errorf("proposing a patch: it would permit more than before: %s: %s", c.Key, c.Words)
		}
	}
	r, err := o.replay(ctx, next, from, Span{Since: p.Since}, mostUsed)
	if err != nil {
		return nil, err
	}
	if r.Narrows() {
		return nil, fmt.Errorf("proposing a patch: it would deny %d of what was seen, such as %s", r.Denied, strings.Join(r.Changes[0].Samples, " "))
	}
	return edited, nil
}

// patchOf is the patch of files, named from the working directory.
func patchOf(edited []model.Edited) (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("writing a patch: %w", err)
	}
	var b strings.Builder
	for i := range edited {
		e := &edited[i]
		name, err := filepath.Abs(e.File)
		if err != nil {
			return "", fmt.Errorf("writing a patch: %w", err)
		}
		if rel, err := filepath.Rel(here, name); err == nil && filepath.IsLocal(rel) {
			name = rel
		} else {
			name = strings.TrimPrefix(name, "/") // for patch -d /
		}
		b.WriteString(unified.Diff(filepath.ToSlash(name), string(e.Before), string(e.After)))
	}
	return b.String(), nil
}

// learnText is what people read above a patch; patch leaves it alone.
func learnText(snap *model.Snapshot, p *learn.Proposal) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# learn %s  %d decisions of %s to %s\n", observe.Printable(snap.Fleet), p.Events, p.First.Local().Format(time.DateTime), p.Last.Local().Format(time.DateTime))
	fmt.Fprintf(&b, "# The edge was at work in %d of the 168 hours of a week, on %s. Unseen is not unused: look at each line.\n", p.Hours, days(p.Days))
	for _, proposed := range []bool{true, false} {
		title := "# proposed to go:\n"
		if !proposed {
			title = "# not seen, and not proposed:\n"
		}
		for i := range p.Unseen {
			u := &p.Unseen[i]
			if u.Proposed != proposed {
				continue
			}
			b.WriteString(title)
			title = ""
			fmt.Fprintf(&b, "#   %-8s %s  (%s, %.0f%% sure)", u.Kind, observe.Printable(u.Words), unseenFor(u, p), 100*u.Sure)
			if u.Why != "" {
				b.WriteString(": " + observe.Printable(u.Why))
			}
			fmt.Fprintf(&b, "  %s\n", u.Position)
		}
	}
	if len(p.Attempts) > 0 {
		b.WriteString("# tried, refused, and declared nowhere; never proposed:\n")
		for i, a := range p.Attempts {
			if i == mostShown {
				fmt.Fprintf(&b, "#   and %d others\n", len(p.Attempts)-i)
				break
			}
			fmt.Fprintf(&b, "#   %s calls %s  %d×, last %s\n", observe.Printable(a.From), observe.Printable(a.To), a.Calls, a.Last.Local().Format(time.DateTime))
		}
	}
	return b.String()
}

func unseenFor(u *learn.Unseen, p *learn.Proposal) string {
	if !u.Last.IsZero() {
		return "last seen " + u.Last.Local().Format(time.DateTime)
	}
	since := p.First
	if !p.Since.IsZero() && p.Since.Before(since) {
		since = p.Since
	}
	return "not seen since " + since.Local().Format(time.DateTime)
}

// days is how many days, in words.
func days(n int) string {
	if n == 1 {
		return "1 day"
	}
	return strconv.Itoa(n) + " days"
}
