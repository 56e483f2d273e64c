package main

import (
	"errors"

	"github.com/palisade-security/palisade/app"
)

type replayCmd struct {
	modelArgs
	askFlags
	New   string `name:"model" help:"Files of the model that decides (default: the one whose events these are)." placeholder:"PATH"`
	From  string `help:"State directory, or folder of records, whose events are decided again (default: those of --control, of what runs here, or of the model)." placeholder:"DIR"`
	Since moment `help:"Only events from then on: 36h or 7d ago, or a date such as 2026-11-17." placeholder:"WHEN"`
	Until moment `help:"Only events before then." placeholder:"WHEN"`
}

func (c *replayCmd) Run(e *environment) error {
	if c.From != "" && c.Control != "" {
		return errors.New("--from and --control: events are in one place; leave out one of them")
	}
	narrows, err := app.Replay(e.ctx, c.on(e, c.Model...), &app.ReplayQuery{
		Model: c.New, From: c.From, Span: app.Span{Since: c.Since.Time, Until: c.Until.Time},
	})
	if err == nil && narrows {
		return errRefused
	}
	return err
}

// Help shows examples.
func (*replayCmd) Help() string {
	return `Decides recorded requests and connections again under another model, and lists what it would newly deny or allow, for
whom and why. Rate limits, inspection and schemas are not decided again: what they decided then holds.

Examples:
  palisade replay --model new/ --since 7d
  palisade replay --model new/ --from /var/lib/palisade --format json | jq .changes
  palisade replay                            do the policies as edited explain what was decided?`
}
