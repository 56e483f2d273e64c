package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/palisade-security/palisade/app"
)

type mapCmd struct {
	Draw  mapDrawCmd  `cmd:"" default:"withargs" help:"Draw the map; this is what map does without a verb of its own."`
	Blast mapBlastCmd `cmd:"" help:"Show what a service reaches once it is taken, and the cuts that shrink that most."`
	Diff  mapDiffCmd  `cmd:"" help:"Show what has changed between two maps or models: exit 0 nothing, 1 something, 2 error."`
}

// mapFlags say of what a map is made beside the model.
type mapFlags struct {
	From   string             `help:"State directory, or folder of records, whose events are folded in (default: those of --control, or none: the map is what is declared)." placeholder:"DIR"`
	Since  moment             `help:"Only events from then on: 36h or 7d ago, or a date such as 2026-11-17." placeholder:"WHEN"`
	Until  moment             `help:"Only events before then." placeholder:"WHEN"`
	At     when               `help:"The map that was kept of that time, with the model of then, from --from, --control or what runs here: a date for that day, now for the last 24 hours, or 7d or 2026-11-17T10:30 for the hour of then." placeholder:"WHEN"`
	Weight map[string]float64 `help:"How much a data class weighs: CLASS=NUMBER; repeat for several (default: 1, and 3 for a class that redacts)." placeholder:"CLASS=NUMBER"`
	askFlags
}

func (f *mapFlags) query(e *environment) (*app.MapQuery, error) {
	if f.At != (when{}) && (!f.Since.IsZero() || !f.Until.IsZero()) {
		return nil, errors.New("--at draws a map that was kept, --since and --until draw events; leave out one of them")
	}
	if f.From == "" && f.Control == "" && (!f.Since.IsZero() || !f.Until.IsZero()) {
		return nil, errors.New("--since and --until choose among events; say with --from or --control where these are")
	}
	if f.From != "" && f.Control != "" {
		return nil, errors.New("--from and --control: events are in one place; leave out one of them")
	}
	return &app.MapQuery{From: f.From, Weights: f.Weight, Format: e.format, Since: f.Since.Time, Until: f.Until.Time, At: f.At.Span}, nil
}

type mapDrawCmd struct {
	modelArgs
	mapFlags
}

func (*mapDrawCmd) formats() []string {
	return []string{"text", "json", "dot", "mermaid", "svg", "html"}
}

func (c *mapDrawCmd) Run(e *environment) error {
	q, err := c.query(e)
	if err != nil {
		return err
	}
	return app.Map(e.ctx, c.on(e, c.Model...), q)
}

type mapBlastCmd struct {
	Service string `arg:"" help:"The service that is taken."`
	modelArgs
	mapFlags
}

func (*mapBlastCmd) formats() []string { return []string{"text", "json", "svg", "html"} }

func (c *mapBlastCmd) Run(e *environment) error {
	q, err := c.query(e)
	if err != nil {
		return err
	}
	return app.MapBlast(e.ctx, c.on(e, c.Model...), q, c.Service)
}

type mapDiffCmd struct {
	Before string `arg:"" help:"Model, map in a .json file, or a time whose map was kept: 2026-11-17, now, 7d."`
	After  string `arg:"" help:"The same."`
	modelArgs
	From string `help:"State directory with the maps that were kept (default: those of --control, or of what runs here)." placeholder:"DIR"`
	askFlags
}

func (c *mapDiffCmd) Run(e *environment) error {
	if c.From != "" && c.Control != "" {
		return errors.New("--from and --control: maps are kept in one place; leave out one of them")
	}
	before, err := mapSide(c.Before)
	if err != nil {
		return err
	}
	after, err := mapSide(c.After)
	if err != nil {
		return err
	}
	model := c.Model
	for _, side := range []app.MapSide{before, after} { // what is kept of a model's time lies beside that model
		if len(model) == 0 && side.Path != "" && filepath.Ext(side.Path) != ".json" {
			model = []string{side.Path}
		}
	}
	changed, err := app.MapDiff(e.ctx, c.on(e, model...), c.From, before, after)
	if err == nil && changed {
		return errRefused
	}
	return err
}

// mapSide tells a time from the path of a model or of a map.
func mapSide(text string) (app.MapSide, error) {
	if _, err := os.Stat(text); err == nil {
		return app.MapSide{Path: text}, nil
	}
	var at when
	if err := at.UnmarshalText([]byte(text)); err != nil {
		return app.MapSide{}, fmt.Errorf("%w; nor is it a model, or a .json file with a map, that exists", err)
	}
	return app.MapSide{At: at.Span}, nil
}

// Help shows examples.
func (*mapCmd) Help() string {
	return `Who calls whom: what the model declares, and with --from what was seen. A map in a .json file stands for a model.

Examples:
  palisade map examples/shop
  palisade map --from .palisade --format html > map.html
  palisade map --from .palisade --since 168h --until 144h --format json > that-day.json
  palisade map that-day.json --format svg > that-day.svg
  palisade map --at 2026-11-17                            that day, with the model of then
  palisade map diff 2026-11-17 now
  palisade map blast payments
  palisade map diff that-day.json today.json`
}

// Help shows examples.
func (*mapDrawCmd) Help() string { return (*mapCmd)(nil).Help() }

// Help shows examples.
func (*mapBlastCmd) Help() string {
	return `Taken: whoever took it has its identity, the tokens of users that pass through it, and its secrets.

Examples:
  palisade map blast orders examples/shop
  palisade map blast orders --from .palisade --weight payment=10
  palisade map blast orders --format svg > orders.svg`
}

// Help shows examples.
func (*mapDiffCmd) Help() string {
	return `Examples:
  palisade map diff monday.json tuesday.json
  palisade map diff 2026-11-17 now                 maps that were kept, each with the model of then
  palisade map diff old/ new/                two models: plan tells of rights, this of reach`
}
