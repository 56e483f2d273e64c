package main

import (
	"errors"

	"github.com/palisade-security/palisade/app"
)

type learnCmd struct {
	modelArgs
	askFlags
	From  string  `help:"State directory, or folder of records, from which is learned (default: those of --control, of what runs here, or of the model)." placeholder:"DIR"`
	Since moment  `help:"What was not used since then is unused: 30d ago, or a date (default: all that is recorded)." placeholder:"WHEN"`
	Sure  float64 `help:"Propose only what is at least so sure, of 0 to 1." default:"0.5"`
}

func (c *learnCmd) Run(e *environment) error {
	switch {
	case c.From != "" && c.Control != "":
		return errors.New("--from and --control: events are in one place; leave out one of them")
	case !(c.Sure >= 0 && c.Sure <= 1):
		return errors.New("--sure: expected a number from 0 to 1")
	}
	return app.Learn(e.ctx, c.on(e, c.Model...), &app.LearnQuery{From: c.From, Since: c.Since.Time, Sure: c.Sure})
}

// Help shows examples.
func (*learnCmd) Help() string {
	return `Proposes the least model that lets pass what was seen, as a patch: callers, paths at the edge, grants, methods, roles and hosts
outside that nobody used go. What was refused is never proposed. Unseen is not unused: each line says how long and how sure.

Examples:
  palisade learn --since 30d > least.patch
  patch -p1 < least.patch
  palisade learn --since 30d --sure 0.9 --format json | jq '.unseen[] | select(.proposed)'`
}
