package main

import (
	"errors"

	"github.com/palisade-security/palisade/app"
)

type driftCmd struct {
	modelArgs
	askFlags
	From    string `help:"State directory, or folder of records, that is compared (default: those of --control, of what runs here, or of the model)." placeholder:"DIR"`
	Since   moment `help:"Only events from then on: 30d ago, or a date." placeholder:"WHEN"`
	Until   moment `help:"Only events before then." placeholder:"WHEN"`
	Service string `help:"Only this service." placeholder:"NAME"`
	Least   int64  `help:"Only what was seen at least so often." default:"1"`
	Patch   bool   `help:"Show a patch to the API documents, for patch -p1 or git apply."`
	Overlay bool   `help:"Show an overlay (OpenAPI Overlay 1.0) to the document of one service."`
}

func (c *driftCmd) Run(e *environment) error {
	switch {
	case c.From != "" && c.Control != "":
		return errors.New("--from and --control: events are in one place; leave out one of them")
	case c.Patch && c.Overlay:
		return errors.New("--patch and --overlay: leave out one of them")
	case c.Least < 1:
		return errors.New("--least: expected a number from 1")
	}
	undocumented, err := app.Drift(e.ctx, c.on(e, c.Model...), &app.DriftQuery{
		From: c.From, Service: c.Service, Least: c.Least, Patch: c.Patch, Overlay: c.Overlay, Span: app.Span{Since: c.Since.Time, Until: c.Until.Time},
	})
	if err == nil && undocumented && !c.Patch && !c.Overlay {
		return errRefused
	}
	return err
}

// Help shows examples.
func (*driftCmd) Help() string {
	return `Compares what services were asked and answered with success with their API documents: endpoints, parameters, headers, fields and statuses
that no document declares, how often, since when and by whom; and what is documented and was not seen. Names and types, never values.

Examples:
  palisade drift --since 30d
  palisade drift --service orders --patch > drift.patch && git apply drift.patch
  palisade drift --format json | jq '.undocumented[] | select(.kind == "endpoint")'

Exit code 0: all is documented, or a patch is shown; 1: something is undocumented; 2: no answer.`
}
