package main

import (
	"time"

	"github.com/palisade-security/palisade/app"
)

type replayCmd struct {
	modelArgs
	New   string `name:"model" help:"Files of the model that decides (default: the one whose records these are)." placeholder:"PATH"`
	From  string `help:"State directory, or folder of records, in place of those of the model." placeholder:"DIR"`
	Since ago    `help:"Only what was recorded this long ago or later: 90m, 24h, 7d, 4w (default: all)." placeholder:"AGO"`
	Until ago    `help:"Only what was recorded longer ago than this." placeholder:"AGO"`
}

func (c *replayCmd) Run(e *environment) error {
	now := time.Now()
	narrows, err := app.Replay(e.ctx, e.with(c.Model...), &app.ReplayQuery{
		Model: c.New, From: c.From, Span: app.Span{Since: c.Since.before(now), Until: c.Until.before(now)},
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
