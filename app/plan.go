package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/model/plan"
	"github.com/palisade-security/palisade/replay"
)

// planned is a plan as programs read it.
type planned struct {
	Widens bool `json:"widens"`
	plan.Plan
	Replay *replay.Report `json:"replay,omitempty"`
	Never  string         `json:"never,omitempty"` // why this model cannot be put in force where the one before is
}

// PlanQuery says what a plan begins with.
type PlanQuery struct {
	From   string    // a model, or a snapshot in a file whose name ends in .json; empty: what is in force
	Replay time.Time // what was used since then is decided again; zero: nothing is
}

// Plan shows what the model permits more and less than the one before, and reports whether it permits anything more
// or cannot be told not to, or denies what was used. Without From the model
// before is what control has put in force, or what the gateway serves that runs on the state directory.
func Plan(ctx context.Context, o *Options, q PlanQuery) (finds bool, err error) {
	before, err := o.before(ctx, q.From)
	if err != nil {
		return false, err
	}
	_, after, findings, err := o.forOthers().load(before.Development)
	if err != nil {
		// Exit code 1 means that something widens; what cannot be compared is an error, also when findings are why.
		return false, errors.Join(errors.New("no plan: "+err.Error()), o.printFindings(o.Err, findings))
	}
	p := plan.Diff(before, after)
	used, err := o.planReplay(ctx, after, q.Replay)
	if err != nil {
		return false, err
	}
	never := ""
	if err := sameDomain(before, after); err != nil && q.From == "" {
		never = err.Error()
	}
	finds = p.Widens() || used != nil && used.Narrows()
	if o.JSON {
		if p.Changes == nil {
			p.Changes = []plan.Change{}
		}
		return finds, writeJSON(o.Out, planned{p.Widens(), p, used, never})
	}
	if err := o.showPlan(after.Fleet, p); err != nil {
		return finds, err
	}
	if never != "" {
		if _, err := fmt.Fprintf(o.Out, "%s: %s\n", o.style().Paint(observe.Bad, "cannot be applied"), never); err != nil {
			return finds, err
		}
	}
	if used == nil {
		return finds, nil
	}
	return finds, o.showReplay(used, mostShown)
}

// planReplay decides what was used since a time under the model after; nil if that is not asked for.
func (o *Options) planReplay(ctx context.Context, after *model.Snapshot, since time.Time) (*replay.Report, error) {
	if since.IsZero() {
		return nil, nil //nolint:nilnil // it is not asked for
	}
	from, err := o.find(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("--replay-since: %w", err)
	}
	defer from.close()
	return o.replay(ctx, after, from, Span{Since: since}, 0)
}

// before is the snapshot that a plan starts from.
func (o *Options) before(ctx context.Context, from string) (*model.Snapshot, error) {
	switch {
	case from == "":
		c, err := o.administer()
		if err != nil {
			return nil, err
		}
		defer c.Close()
		snap, err := inForce(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("no plan: --from names no model to compare with, and %w", o.asked(err))
		}
		return snap, nil
	case filepath.Ext(from) == ".json":
		return readSnapshot(from)
	}
	other := *o
	other.Paths = []string{from}
	_, snap, findings, err := other.load(true)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("no plan: %s: %s", from, err.Error()), o.printFindings(o.Err, findings))
	}
	return snap, nil
}

// readSnapshot reads what "palisade snapshot" printed.
func readSnapshot(path string) (*model.Snapshot, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the snapshot: %w", err)
	}
	return parseSnapshot(text, path)
}

// errNotJSON tells that a snapshot is not even JSON, such as a model in YAML.
var errNotJSON = errors.New("it is not JSON as palisade snapshot writes it")

// parseSnapshot reads a snapshot that stands somewhere, and holds that it is what was written.
func parseSnapshot(text []byte, where string) (*model.Snapshot, error) {
	var snap model.Snapshot
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(&snap)
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return nil, fmt.Errorf("%s: %w: %w", where, errNotJSON, err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the snapshot in %s: %w", where, err)
	}
	if snap.Version == "" || snap.Self != "" {
		return nil, fmt.Errorf("%s is no snapshot of a whole model; palisade snapshot prints one", where)
	}
	if err := snap.Verify(); err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	return &snap, nil
}

// showPlan writes a plan for people.
func (o *Options) showPlan(fleet string, p plan.Plan) error {
	st := o.style()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s  snapshot %s → %s\n", st.Paint(observe.Bold, "plan"), fleet, short(p.Before), short(p.After))
	colours := map[plan.Kind]string{plan.Widens: observe.Bad, plan.MayWiden: observe.Bad, plan.Narrows: observe.Good, plan.Changes: observe.Faint}
	n := map[plan.Kind]int{}
	for _, c := range p.Changes {
		n[c.Kind]++
		text := c.Words
		if c.Key != "" {
			text = c.Key + ": " + text
		}
		fmt.Fprintf(&b, "  %s %s%s\n", st.Paint(colours[c.Kind], fmt.Sprintf("%-9s", c.Kind)), observe.Printable(text), st.Paint(observe.Faint, places(c)))
	}
	if len(p.Changes) == 0 {
		b.WriteString("nothing changes\n")
	} else {
		fmt.Fprintf(&b, "%d widen, %d may widen, %d narrow, %d change nothing of either\n", n[plan.Widens], n[plan.MayWiden], n[plan.Narrows], n[plan.Changes])
	}
	_, err := o.Out.Write([]byte(b.String()))
	return err
}

// places says where a change stands.
func places(c plan.Change) string {
	was, is := c.Before.String(), c.After.String()
	switch {
	case was == is && was == "":
		return ""
	case was == "":
		return "  " + is
	case is == "":
		return "  was " + was
	case was == is:
		return "  " + is
	}
	return "  " + is + ", was " + was
}
