package app

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/palisade-security/palisade/app/archive"
	"github.com/palisade-security/palisade/console"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/model/plan"
	"github.com/palisade-security/palisade/replay"
)

// usedFor is how far back a draft is held against what was used, as with "palisade apply".
const usedFor = 24 * time.Hour

// quietly is for those who tell a browser what others tell a terminal.
func (o *Options) quietly() *Options {
	out := *o.forOthers()
	out.Err, out.Out = io.Discard, io.Discard
	return &out
}

// wanted reads the model that somebody in the console means. Stored returns one of the past.
func (o *Options) wanted(p *console.Proposal, development bool, stored func(version string) (json.RawMessage, error)) (*model.Snapshot, error) {
	switch {
	case p.Files:
		_, snap, findings, err := o.load(development)
		if err != nil {
			var text strings.Builder
			if writing := model.FormatFindings(&text, findings); writing != nil {
				return nil, writing
			}
			return nil, &console.Refusal{Text: strings.TrimSpace(err.Error() + "\n" + text.String())}
		}
		return snap, nil
	case p.Version != "":
		data, err := stored(p.Version)
		if err != nil {
			return nil, err
		}
		var snap model.Snapshot
		return &snap, json.Unmarshal(data, &snap)
	}
	snap, err := parseSnapshot(p.Document, "what was given")
	switch {
	case errors.Is(err, errNotJSON) && development:
		return nil, &console.Refusal{Text: "This page takes a model as JSON, as \"palisade snapshot DIR\" writes it; YAML is not taken.\n" + err.Error()}
	case errors.Is(err, errNotJSON):
		return nil, &console.Refusal{Text: "This page takes a model as JSON, as \"palisade snapshot --production DIR\" writes it; YAML is not taken.\n" + err.Error()}
	case err != nil:
		return nil, &console.Refusal{Text: err.Error()}
	}
	return snap, nil
}

// drafted says what a model would change, and what it would do to what was used.
func (o *Options) drafted(ctx context.Context, before, next *model.Snapshot, events admin.Events) (*console.Draft, error) {
	if err := sameDomain(before, next); err != nil {
		return nil, &console.Refusal{Text: err.Error()}
	}
	if err := checkModel(ctx, next); err != nil {
		return nil, &console.Refusal{Text: err.Error()}
	}
	d := &console.Draft{Plan: plan.Diff(before, next), Same: before.Content() == next.Content()}
	since := time.Now().Add(-usedFor)
	r, err := o.replay(ctx, next, &finder{Events: events}, Span{Since: since}, mostUsed)
	switch {
	case ctx.Err() != nil:
		return nil, err
	case errors.Is(err, archive.ErrOpening):
		return nil, console.ErrNotYet
	case err != nil:
		d.Unused = "what was used cannot be decided again: " + err.Error()
	default:
		d.Used = usedOf(r, since)
	}
	return d, nil
}

// mostUsedKinds is how many kinds of changed decisions a page shows.
const mostUsedKinds = 200

func usedOf(r *replay.Report, since time.Time) *console.Used {
	out := &console.Used{Since: since, Records: r.Records, Denied: r.Denied, Allowed: r.Allowed, Unknown: r.NotDecided(), More: r.MoreChanges}
	for i := range r.Changes {
		c := &r.Changes[i]
		if i >= mostUsedKinds {
			out.More += c.Count
			continue
		}
		out.Kinds = append(out.Kinds, console.UsedKind{
			Denied: c.Newly == replay.NewlyDenied, Count: c.Count, What: strings.TrimSpace(c.What.Method + " " + replayPlace(&c.What)), Who: replayWho(&c.Who),
			Now: verdictText(&c.Now), Was: verdictText(&c.Was), Samples: c.Samples,
		})
	}
	return out
}

// as is a client of the own control for somebody who signed in to the console.
func (f controlFleet) as(by console.Person) *admin.Client {
	return admin.Within(f.c.As(by.Name, admin.Role(by.Role)))
}

// told makes of a refusal of control what a page shows.
func told(err error) error {
	p, ok := errors.AsType[*admin.Problem](err)
	if !ok || p.Status == http.StatusInternalServerError {
		return err
	}
	return &console.Refusal{Text: p.Error()}
}

// Past lists the models that were in force.
func (f controlFleet) Past(ctx context.Context) ([]console.Past, error) {
	all, err := f.as(console.Person{Name: "console", Role: console.Viewer}).History(ctx)
	out := make([]console.Past, len(all))
	for i, m := range all {
		out[i] = console.Past{Number: m.Number, Version: m.Version, Since: m.Since, Author: m.Author, Note: m.Note}
	}
	return out, err
}

// Draft reads a model and holds it against the one in force, as "palisade apply" does before it asks.
func (f controlFleet) Draft(ctx context.Context, by console.Person, p *console.Proposal) (*console.Draft, error) {
	client := f.as(by)
	before, err := inForce(ctx, client)
	if err != nil {
		return nil, told(err)
	}
	next, err := f.o.wanted(p, false, func(version string) (json.RawMessage, error) {
		data, err := client.Model(ctx, version)
		return data, told(err)
	})
	if err != nil {
		return nil, err
	}
	document, err := json.Marshal(next)
	if err != nil {
		return nil, err
	}
	switch {
	case p.Version == "": // what control would not take at all
		if _, err := client.Plan(ctx, document); err != nil {
			return nil, told(err)
		}
	case next.Development: // control has it from an earlier build, and would not take it again
		return nil, &console.Refusal{Text: model.ErrDevelopment.Error()}
	}
	d, err := f.o.drafted(ctx, before, next, f.kept)
	if err != nil {
		return nil, err
	}
	if d.Version = p.Version; p.Version == "" {
		d.Document = document
	}
	return d, nil
}

// Apply puts a draft in force, as "palisade apply" does once it was told yes.
func (f controlFleet) Apply(ctx context.Context, by console.Person, d *console.Draft, how console.How) (*console.Applied, error) {
	r, err := f.as(by).Apply(ctx, admin.ApplyRequest{Before: d.Plan.Before, Model: d.Document, Version: d.Version, Watch: model.Duration(how.Watch), Note: how.Note})
	if err != nil {
		return nil, told(err)
	}
	out := &console.Applied{Outcome: string(r.Outcome), Version: r.Model.Version, Reason: r.Reason}
	for _, t := range r.Trials {
		out.Trials = append(out.Trials, console.Trial{
			Name: path.Base(t.ID), Instance: t.Instance, Verdict: t.Verdict, Failed: t.Failed, Before: ratesOf(t.Before), After: ratesOf(t.After),
		})
	}
	return out, nil
}

func ratesOf(r admin.Rates) console.Rates {
	return console.Rates{Requests: r.Requests, Errors: r.Errors, Refused: r.Refused, Over: r.Over.Std()}
}

// Past is none: the files of the model are what was in force.
func (f upFleet) Past(context.Context) ([]console.Past, error) { return nil, nil }

// Draft reads a model and holds it against the one in force. The gateway reads its files by itself, so that nothing is applied.
func (f upFleet) Draft(ctx context.Context, _ console.Person, p *console.Proposal) (*console.Draft, error) {
	o := *f.e.o
	o.Err, o.Out = io.Discard, io.Discard
	before := f.e.serving()
	next, err := o.wanted(p, before.Development, func(string) (json.RawMessage, error) {
		return nil, &console.Refusal{Text: "no models of the past are kept here"}
	})
	if err != nil {
		return nil, err
	}
	return o.drafted(ctx, before, next, f.e.memory)
}
