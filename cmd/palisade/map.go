package main

import (
	"errors"
	"time"

	"github.com/palisade-security/palisade/app"
)

type mapCmd struct {
	Draw  mapDrawCmd  `cmd:"" default:"withargs" help:"Draw the map; this is what map does without a verb of its own."`
	Blast mapBlastCmd `cmd:"" help:"Show what a service reaches once it is taken, and the cuts that shrink that most."`
	Diff  mapDiffCmd  `cmd:"" help:"Show what has changed between two maps or models: exit 0 nothing, 1 something, 2 error."`
}

// mapFlags say of what a map is made beside the model.
type mapFlags struct {
	From   string             `help:"State directory, or folder of records, whose events are folded in (default: none, the map is what is declared)." placeholder:"DIR"`
	Since  time.Duration      `help:"Only events of this long ago, e.g. 168h."`
	Until  time.Duration      `help:"Only events older than this, e.g. 144h."`
	Weight map[string]float64 `help:"How much a data class weighs: CLASS=NUMBER; repeat for several (default: 1, and 3 for a class that redacts)." placeholder:"CLASS=NUMBER"`
}

func (f *mapFlags) query(e *environment) (*app.MapQuery, error) {
	q := &app.MapQuery{From: f.From, Weights: f.Weight, Format: e.format}
	if f.From == "" && (f.Since > 0 || f.Until > 0) {
		return nil, errors.New("--since and --until choose among events; say with --from where these are")
	}
	now := time.Now()
	if f.Since > 0 {
		q.Since = now.Add(-f.Since)
	}
	if f.Until > 0 {
		q.Until = now.Add(-f.Until)
	}
	return q, nil
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
	return app.Map(e.with(c.Model...), q)
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
	return app.MapBlast(e.with(c.Model...), q, c.Service)
}

type mapDiffCmd struct {
	Before string `arg:"" help:"Model, or map in a .json file."`
	After  string `arg:"" help:"Model, or map in a .json file."`
}

func (c *mapDiffCmd) Run(e *environment) error {
	changed, err := app.MapDiff(e.with(), c.Before, c.After)
	if err == nil && changed {
		return errRefused
	}
	return err
}

// Help shows examples.
func (*mapCmd) Help() string {
	return `Who calls whom: what the model declares, and with --from what was seen. A map in a .json file stands for a model.

Examples:
  palisade map examples/shop
  palisade map --from .palisade --format html > map.html
  palisade map --from .palisade --since 168h --until 144h --format json > that-day.json
  palisade map that-day.json --format svg > that-day.svg
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
  palisade map diff old/ new/                two models: plan tells of rights, this of reach`
}
