package app

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/model/plan"
)

// Application asks for a model to be put in force.
type Application struct {
	Version string        // of the history, or its beginning; empty: the model of Options.Paths
	Yes     bool          // nobody is asked
	Watch   time.Duration // how long errors are watched on the first proxies; 0: control's default
	Note    string
	Used    time.Time // what was used since then is not denied; zero: nobody looks
	Accept  bool      // though it is
	Without []string  // proxies whose word does not count: service/NAME or edge/edge
}

// ErrNotApplied tells that a model is not in force: it was taken back, or somebody said no.
var ErrNotApplied = errors.New("not applied")

// Apply shows what a model permits more and less, asks, and has control put it in force.
func Apply(ctx context.Context, o *Options, a Application) error {
	c, err := o.administer()
	if err != nil {
		return err
	}
	defer c.Close()
	before, err := inForce(ctx, c)
	if err != nil {
		return o.asked(err)
	}
	next, document, err := o.next(ctx, c, &a)
	if err != nil {
		return err
	}
	if err := sameDomain(before, next); err != nil {
		return err
	}
	p := plan.Diff(before, next)
	if !o.JSON {
		if err := o.showPlan(next.Fleet, p); err != nil {
			return err
		}
	}
	if before.Content() == next.Content() {
		return o.showApplied(&admin.ApplyResult{Outcome: admin.Unchanged, Model: admin.Model{Version: before.Version}, Plan: p})
	}
	if err := o.unused(ctx, c, next, a.Used, a.Accept); err != nil {
		return err
	}
	if err := o.consent(question{"Apply this?", "applies it", ErrNotApplied}, a.Yes); err != nil {
		return err
	}
	q := admin.ApplyRequest{Before: before.Version, Watch: model.Duration(a.Watch), Note: a.Note, Version: a.Version, Model: document, Without: a.Without}
	out, err := c.Apply(ctx, q)
	if err != nil {
		return o.asked(err)
	}
	return o.showApplied(&out)
}

// inForce is the model that control has put in force, or that a gateway serves.
func inForce(ctx context.Context, c *admin.Client) (*model.Snapshot, error) {
	data, err := c.Model(ctx, "")
	if err != nil {
		return nil, err
	}
	var snap model.Snapshot
	if err := json.Unmarshal(data, &snap); err != nil {
		return nil, fmt.Errorf("reading the model in force: %w", err)
	}
	return &snap, nil
}

// next is what is to be applied: a model as a document, or one of the history, whose whole version it fills in.
func (o *Options) next(ctx context.Context, c *admin.Client, a *Application) (snap *model.Snapshot, document json.RawMessage, err error) {
	if a.Version == "" {
		_, snap, findings, err := o.forOthers().load(false)
		if err != nil {
			return nil, nil, errors.Join(errors.New("nothing is applied: "+err.Error()), o.printFindings(o.Err, findings))
		}
		o.tell(findings)
		document, err := json.Marshal(snap)
		return snap, document, err
	}
	all, err := c.History(ctx)
	if err != nil {
		return nil, nil, o.asked(err)
	}
	found := map[string]bool{}
	for _, m := range all {
		if strings.HasPrefix(m.Version, a.Version) {
			found[m.Version] = true
		}
	}
	if len(found) != 1 {
		return nil, nil, fmt.Errorf("%d models of the history begin with %q; palisade history shows them", len(found), a.Version)
	}
	for version := range found {
		a.Version = version
	}
	data, err := c.Model(ctx, a.Version)
	if err != nil {
		return nil, nil, o.asked(err)
	}
	snap = new(model.Snapshot)
	if err := json.Unmarshal(data, snap); err != nil {
		return nil, nil, fmt.Errorf("reading the model %s: %w", short(a.Version), err)
	}
	return snap, nil, nil
}

// question is what is asked before something is done.
type question struct {
	text string
	does string // what --yes does
	not  error  // it was not done
}

// consent asks whoever sits at the terminal.
func (o *Options) consent(q question, yes bool) error {
	if yes {
		return nil
	}
	if !o.Ask {
		return fmt.Errorf("%w: nobody is there to ask; --yes %s without asking", q.not, q.does)
	}
	fmt.Fprint(o.Err, q.text+" [y/N] ")
	line, err := bufio.NewReader(o.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return fmt.Errorf("%w: it was not confirmed", q.not)
}

// showApplied shows what came of it.
func (o *Options) showApplied(r *admin.ApplyResult) error {
	var failed error
	if r.Outcome == admin.RolledBack {
		failed = fmt.Errorf("%w: %s", ErrNotApplied, r.Reason)
	}
	if o.JSON {
		return errors.Join(writeJSON(o.Out, r), failed)
	}
	st := o.style()
	var b strings.Builder
	for _, t := range r.Trials {
		colour := observe.Good
		if t.Failed {
			colour = observe.Bad
		}
		fmt.Fprintf(&b, "  %s %s %s  %s\n", st.Paint(colour, "tried"), observe.Printable(path.Base(t.ID)), t.Instance, observe.Printable(t.Verdict))
		for _, rates := range []struct {
			when string
			admin.Rates
		}{{"before", t.Before}, {"after", t.After}} {
			fmt.Fprintf(&b, "        %-6s %d requests, %d errors, %d refused in %s\n", rates.when, rates.Requests, rates.Errors, rates.Refused, rates.Over.Std().Round(time.Second))
		}
	}
	switch r.Outcome {
	case admin.Unchanged:
		fmt.Fprintf(&b, "unchanged: it says what snapshot %s says, which is in force\n", short(r.Model.Version))
	case admin.RolledBack:
		fmt.Fprintf(&b, "%s: snapshot %s is in force as before\n", st.Paint(observe.Bad, "rolled back"), short(r.Model.Version))
		b.WriteString("if that proxy is not to be believed: apply --without service/NAME goes on without its word, palisade revoke cuts it off\n")
	default:
		fmt.Fprintf(&b, "%s: snapshot %s is in force\n", st.Paint(observe.Good, "applied"), short(r.Model.Version))
		if r.Reason != "" {
			fmt.Fprintf(&b, "rejected by %s\n", observe.Printable(r.Reason))
		}
	}
	_, err := io.WriteString(o.Out, b.String())
	return errors.Join(err, failed)
}

// History shows which models were in force, or what administrators did.
func History(ctx context.Context, o *Options, acts bool) error {
	c, err := o.administer()
	if err != nil {
		return err
	}
	defer c.Close()
	if acts {
		return o.acts(ctx, c)
	}
	all, err := c.History(ctx)
	if err != nil {
		return o.asked(err)
	}
	if o.JSON {
		return writeJSON(o.Out, all)
	}
	w := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NUMBER\tSNAPSHOT\tSINCE\tBY\tNOTE")
	for _, m := range all {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", m.Number, short(m.Version), m.Since.Local().Format(time.DateTime), observe.Printable(m.Author), observe.Printable(m.Note))
	}
	return w.Flush()
}

// shortened is an object as people are shown it: of a snapshot, the beginning of its version.
func shortened(object string) string {
	if len(object) == 2*sha256.Size && !strings.Contains(object, "/") {
		return short(object)
	}
	return object
}

func (o *Options) acts(ctx context.Context, c *admin.Client) error {
	all := []admin.Act{}
	for after := int64(0); ; {
		page, err := c.Acts(ctx, after)
		if err != nil {
			return o.asked(err)
		}
		if len(page) == 0 {
			break
		}
		all, after = append(all, page...), page[len(page)-1].Number
	}
	if o.JSON {
		return writeJSON(o.Out, all)
	}
	w := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NUMBER\tAT\tBY\tROLE\tVERB\tOBJECT\tOUTCOME")
	for _, a := range all {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", a.Number, a.At.Local().Format(time.DateTime), observe.Printable(a.Who), a.Role, a.Verb, observe.Printable(shortened(a.Object)), a.Outcome)
	}
	return w.Flush()
}
