package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/policy"
)

// Explanation is one decision with everything that led to it.
type Explanation struct {
	Event    *event.Event      `json:"-"`
	Policies map[string]string `json:"policies,omitempty"` // text of every policy named in the trail
	Flips    []policy.Flip     `json:"flips,omitempty"`    // the smallest changes that would turn the decision
	Stale    bool              `json:"stale,omitempty"`    // the model that is here has another snapshot
	Hops     []*Hop            `json:"hops,omitempty"`     // the way of the request through the fleet, as far as it was recorded
}

// Explain finds the recorded decision of a request by its id, or its trace, and what would flip it.
func Explain(ctx context.Context, o *Options, id string) (*Explanation, error) {
	_, snap, _, err := o.load(true)
	if err != nil {
		snap = nil // the record still tells what happened; only the model's part is missing
	}
	from, err := o.find(ctx, snap)
	if err != nil {
		return nil, err
	}
	defer from.close()
	e, err := from.byID(ctx, id)
	if err != nil {
		return nil, o.asked(err)
	}
	whole, err := from.trace(ctx, e)
	if err != nil {
		return nil, o.asked(err)
	}
	if snap == nil {
		fmt.Fprintln(o.Err, "there is no sound model here; name it, to see the texts of policies and what would change this")
	}
	x := explain(e, snap)
	x.Hops = hopsOf(whole)
	return x, nil
}

// explain joins an event with the model's policies.
func explain(e *event.Event, snap *model.Snapshot) *Explanation {
	x := &Explanation{Event: e}
	if e.Log != nil { // nothing was decided
		return x
	}
	if e.Act != nil {
		x.Flips = actFlips(e)
		return x
	}
	if snap == nil {
		return x
	}
	x.Stale = e.Snapshot != snap.Version
	set, _ := policy.Compile(snap)
	if set == nil {
		return x
	}
	x.Policies = map[string]string{}
	for i := range e.Trail {
		for _, r := range e.Trail[i].Reasons {
			if text, _, ok := set.Source(r.Policy); ok {
				x.Policies[r.Policy] = text
			}
		}
	}
	x.Flips = flips(e, snap, set)
	return x
}

// Print writes x for people.
func (x *Explanation) Print(w io.Writer, st observe.Style) {
	e := x.Event
	if e.Log != nil {
		x.log(w, st)
		return
	}
	if e.Act != nil {
		x.act(w, st)
		x.changes(w, st)
		return
	}
	verdict := st.Paint(observe.Good, "allowed")
	if !e.Allowed {
		verdict = st.Paint(observe.Bad, "refused")
	}
	if e.Connection != nil {
		x.connection(w, st, verdict)
	} else {
		x.request(w, st, verdict)
	}
	fmt.Fprintf(w, "  snapshot  %s%s\n\n", short(e.Snapshot), map[bool]string{true: st.Paint(observe.Warn, "  (not that of the model here, of which policy texts below are)")}[x.Stale])
	for i := range e.Trail {
		x.stage(w, st, &e.Trail[i])
	}
	x.changes(w, st)
	x.way(w, st)
}

// changes writes what would turn the decision.
func (x *Explanation) changes(w io.Writer, st observe.Style) {
	if len(x.Flips) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", st.Paint(observe.Bold, "What would change this"))
	for _, f := range x.Flips {
		fmt.Fprintf(w, "  • %s", f.Text)
		if f.Position != "" {
			fmt.Fprintf(w, "  %s", st.Paint(observe.Faint, f.Position))
		}
		fmt.Fprintln(w)
	}
}

// request writes who asked for what.
func (x *Explanation) request(w io.Writer, st observe.Style, verdict string) {
	e := x.Event
	answered := "" // an attempt has no answer
	if e.Status != 0 {
		answered = fmt.Sprintf(", answered %d", e.Status)
	}
	fmt.Fprintf(w, "%s %s %s%s  %s%s\n", st.Paint(observe.Bold, "Request"), e.Method, observe.Printable(e.Host), observe.Printable(withQuery(e)), verdict, answered)
	fmt.Fprintf(w, "  id        %s\n  time      %s\n  client    %s  %s\n", e.ID, e.Time.Format("2006-01-02 15:04:05.000 MST"), e.Client, secured(e))
	if e.Workload != "" {
		fmt.Fprintf(w, "  caller    %s\n", observe.Printable(e.Workload))
	}
	if e.Side != event.SideUnknown {
		fmt.Fprintf(w, "  seen      by the sidecar of %s (%s)\n", observe.Printable(sidecarOf(e)), e.Side)
	}
	fmt.Fprintf(w, "  user      %s\n", observe.Printable(who(e)))
	if e.Route != "" {
		fmt.Fprintf(w, "  route     %s → %s\n", e.Template, strings.TrimSpace(e.Service+" "+e.Upstream))
	}
}

// secured names the protocol and what protects it.
func secured(e *event.Event) string {
	if e.TLSVersion == "" {
		return e.Proto + " in the clear"
	}
	return strings.TrimSpace(e.Proto + " TLS " + e.TLSVersion + " " + e.TLSGroup)
}

// sidecarOf is the service whose sidecar saw a request.
func sidecarOf(e *event.Event) string {
	name, _, _ := strings.Cut(e.Listener, "/")
	return name
}

func (x *Explanation) stage(w io.Writer, st observe.Style, s *event.Stage) {
	mark := map[event.Outcome]string{event.OutcomePass: st.Paint(observe.Good, "✓"), event.OutcomeSkip: "-"}[s.Outcome]
	if mark == "" {
		mark = st.Paint(observe.Bad, "✗")
	}
	dry := ""
	if s.DryRun {
		dry = st.Paint(observe.Warn, " (dry run: not enforced)")
	}
	fmt.Fprintf(w, "%s %-16s %s%s\n", mark, s.Name, st.Paint(observe.Faint, s.Took.String()), dry)
	for _, r := range s.Reasons {
		fmt.Fprintf(w, "    %s", r.Code)
		if r.Policy != "" {
			fmt.Fprintf(w, "  %s", observe.Printable(r.Policy))
		}
		if r.Position != "" {
			fmt.Fprintf(w, "  %s", st.Paint(observe.Faint, r.Position))
		}
		fmt.Fprintln(w)
		if r.Text != "" {
			fmt.Fprintf(w, "      %s\n", observe.Printable(r.Text))
		}
		for _, name := range slices.Sorted(maps.Keys(r.Data)) {
			fmt.Fprintf(w, "      %s\n", st.Paint(observe.Faint, name+": "+observe.Printable(r.Data[name])))
		}
		if text := x.Policies[r.Policy]; text != "" {
			fmt.Fprintln(w, st.Paint(observe.Faint, indent(text, "      | ")))
		}
	}
}

func withQuery(e *event.Event) string {
	if e.Query == "" {
		return e.Path
	}
	return e.Path + "?" + e.Query
}

func who(e *event.Event) string {
	if e.User == nil {
		return "nobody signed in"
	}
	out := e.User.Subject + " (" + e.User.Provider
	if len(e.User.Roles) > 0 {
		out += "; " + strings.Join(e.User.Roles, ", ")
	}
	return out + ")"
}

func indent(text, prefix string) string {
	return prefix + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+prefix)
}

// ShowExplanation prints x in the chosen format.
func (o *Options) ShowExplanation(x *Explanation) error {
	if o.JSON {
		return writeJSON(o.Out, struct {
			Event json.RawMessage `json:"event"` // OCSF, as recorded
			*Explanation
		}{event.AppendJSON(nil, x.Event), x})
	}
	x.Print(o.Out, observe.Style{Color: o.Color})
	return nil
}
