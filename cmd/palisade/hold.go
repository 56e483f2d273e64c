package main

import (
	"strings"

	"github.com/palisade-security/palisade/app"
	"github.com/palisade-security/palisade/store/query"
)

type holdCmd struct {
	Place   holdPlaceCmd   `cmd:"" help:"Keep events from being deleted for their age: those that are there and those that come."`
	List    holdListCmd    `cmd:"" help:"Show the holds that stand."`
	Release holdReleaseCmd `cmd:"" help:"End a hold: what it alone has kept is deleted."`
}

type holdPlaceCmd struct {
	Name  string   `arg:"" help:"Name of the hold: a-z, 0-9, '-', '_' and '.', such as case-2026-17."`
	Query []string `arg:"" optional:"" help:"Which events, such as: user:alice or address:203.0.113.7 (default: all of the time that is given); a model may stand before or behind it."`
	reachFlags
	Model  string `help:"Model whose fleet is meant (default: here)." placeholder:"DIR"`
	Since  moment `help:"Only events from then on: 7d ago, or a date such as 2026-11-17." placeholder:"WHEN"`
	Until  moment `help:"Only events before then." placeholder:"WHEN"`
	Reason string `help:"Why, for the record."`
}

func (c *holdPlaceCmd) Run(e *environment) error {
	words, model := splitQuery(c.Query, c.Model)
	return app.Hold(e.ctx, c.on(e, model), query.Hold{
		Name: c.Name, Query: strings.Join(words, " "), From: c.Since.Time, To: c.Until.Time, Reason: c.Reason,
	})
}

type holdListCmd struct {
	modelArgs
	reachFlags
}

func (c *holdListCmd) Run(e *environment) error { return app.Holds(e.ctx, c.on(e, c.Model...)) }

type holdReleaseCmd struct {
	Name string `arg:"" help:"Name of the hold."`
	modelArgs
	reachFlags
}

func (c *holdReleaseCmd) Run(e *environment) error {
	return app.ReleaseHold(e.ctx, c.on(e, c.Model...), c.Name)
}

// Help shows examples.
func (*holdCmd) Help() string {
	return `What is held outlives its retention until the hold is released. See docs/audit.md.

Examples:
  palisade hold place case-2026-17 user:alice --since 2026-10-01 --reason 'claim of 12 October'
  palisade hold list
  palisade hold release case-2026-17`
}

// Help shows examples.
func (*holdPlaceCmd) Help() string {
	return `Which events: as palisade events finds them, with or without a time. Who placed it, what it keeps and why is recorded.

Examples:
  palisade hold place case-2026-17 user:alice --reason 'claim of 12 October'
  palisade hold place breach-1 'service:payments outcome:denied' --since 2026-11-01 --until 2026-11-08
  palisade hold place all-of-october --since 2026-10-01 --until 2026-11-01 --state /var/lib/palisade`
}

// Help shows examples.
func (*holdListCmd) Help() string {
	return `Examples:
  palisade hold list
  palisade hold list --format json | jq -r '.[].name'`
}

// Help shows examples.
func (*holdReleaseCmd) Help() string {
	return `What the hold alone has kept is deleted within the hour, for good. Who released it is recorded.

Examples:
  palisade hold release case-2026-17`
}
