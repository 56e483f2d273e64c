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
	"github.com/palisade-security/palisade/learn/drift"
	"github.com/palisade-security/palisade/model"
)

// DriftQuery says what is compared with the API documents, and what is shown.
type DriftQuery struct {
	From    string // state directory, or folder of records; empty: where events are found otherwise
	Service string // only this one
	Least   int64  // how often something must have been seen
	Patch   bool   // show a patch to the documents
	Overlay bool   // show an overlay to the document of one service
	Span
}

// drifted is a report as programs read it.
type drifted struct {
	*drift.Report
	Patch string `json:"patch"`
}

// Drift compares what was used with success with what the API documents declare, and reports whether something is undocumented.
func Drift(ctx context.Context, o *Options, q *DriftQuery) (undocumented bool, err error) {
	_, snap, findings, err := o.forOthers().load(true)
	if err != nil {
		return false, errors.Join(errors.New("nothing is compared: "+err.Error()), o.printFindings(o.Err, findings))
	}
	if q.Service != "" && snap.ServiceByName(q.Service) == nil {
		return false, fmt.Errorf("there is no service %q in the model", q.Service)
	}
	seen, findings, err := drift.New(snap, q.Service)
	if err != nil {
		return false, errors.Join(fmt.Errorf("nothing is compared: %w", err), o.printFindings(o.Err, findings))
	}
	from, err := o.finding(ctx, q.From)
	if err != nil {
		return false, err
	}
	defer from.close()
	for e, err := range decisions(ctx, from, q.Span) {
		if err != nil {
			return false, o.asked(err)
		}
		seen.Event(e)
	}
	r := seen.Report(q.Least)
	if !slices.ContainsFunc(r.Services, func(s drift.Service) bool { return s.Requests > 0 }) {
		return false, fmt.Errorf("nothing is compared: no request that a documented service answered with success is recorded in that time in %s", from.where)
	}
	proposals, err := seen.Propose(r)
	if err != nil {
		return false, err
	}
	return len(r.Undocumented) > 0, o.showDrift(r, proposals, q)
}

func (o *Options) showDrift(r *drift.Report, proposals []drift.Proposal, q *DriftQuery) error {
	if q.Overlay {
		if len(proposals) != 1 {
			return fmt.Errorf("an overlay is for one document, and %d would change: name a service with --service", len(proposals))
		}
		return writeJSON(o.Out, proposals[0].Overlay())
	}
	edited := make([]model.Edited, len(proposals))
	for i := range proposals {
		edited[i] = proposals[i].Edited
	}
	patch, err := patchOf(edited)
	if err != nil {
		return err
	}
	if o.JSON {
		return writeJSON(o.Out, drifted{r, patch})
	}
	text := driftText(r)
	if q.Patch {
		text = "# " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n# ") + "\n" + patch
	}
	_, err = io.WriteString(o.Out, text)
	return err
}

// driftText is a report for people.
func driftText(r *drift.Report) string {
	var b strings.Builder
	for i := range r.Services {
		s := &r.Services[i]
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "drift %s  %s  %d requests answered with success", observe.Printable(s.Name), observe.Printable(s.Document), s.Requests)
		if s.Requests > 0 {
			fmt.Fprintf(&b, " of %s to %s, in %d of the 168 hours of a week, on %s", s.First.Local().Format(time.DateTime), s.Last.Local().Format(time.DateTime), s.Hours, days(s.Days))
		}
		b.WriteByte('\n')
		undocumentedText(&b, r, s.Name)
		unusedText(&b, r, s)
		if s.Dropped > 0 {
			fmt.Fprintf(&b, "  %d requests or names are not listed: there is no room for them, or they look like values\n", s.Dropped)
		}
	}
	return b.String()
}

func undocumentedText(b *strings.Builder, r *drift.Report, service string) {
	n := 0
	for i := range r.Undocumented {
		u := &r.Undocumented[i]
		if u.Service != service {
			continue
		}
		if n++; n == 1 {
			b.WriteString("  undocumented:\n")
		}
		fmt.Fprintf(b, "  %6d× %-9s %s\n", u.Count, u.Kind, observe.Printable(placeOf(u)))
		by := make([]string, 0, len(u.By))
		for _, who := range u.By {
			by = append(by, fmt.Sprintf("%s %d×", who.Name, who.Count))
		}
		fmt.Fprintf(b, "          since %s, last %s, by %s\n", u.First.Local().Format(time.DateTime), u.Last.Local().Format(time.DateTime), observe.Printable(strings.Join(by, "; ")))
		fmt.Fprintf(b, "          palisade explain %s\n", observe.Printable(u.Samples[0]))
		if u.Why != "" {
			fmt.Fprintf(b, "          not proposed: %s\n", observe.Printable(u.Why))
		}
	}
	if n == 0 {
		b.WriteString("  nothing is undocumented\n")
	}
}

// placeOf names what is undocumented.
func placeOf(u *drift.Undocumented) string {
	parts := []string{u.Method, u.Path}
	if u.Name != "" {
		parts = append(parts, u.Name)
	}
	if len(u.Types) > 0 {
		parts = append(parts, "("+strings.Join(u.Types, ", ")+")")
	}
	if u.Media != "" {
		parts = append(parts, "in "+u.Media)
	}
	return strings.Join(parts, " ")
}

func unusedText(b *strings.Builder, r *drift.Report, s *drift.Service) {
	n := 0
	for i := range r.Unused {
		u := &r.Unused[i]
		if u.Service != s.Name {
			continue
		}
		if n++; n == 1 {
			fmt.Fprintf(b, "  documented, and not seen (%.0f%% sure; unseen is not unused):\n", 100*s.Sure)
		}
		fmt.Fprintf(b, "          %-9s %s  %s\n", u.Kind, observe.Printable(strings.TrimSpace(u.Method+" "+u.Path+" "+u.Name)), u.Position)
	}
}
