package main

import "github.com/palisade-security/palisade/app"

type eraseCmd struct {
	User string `arg:"" help:"Name of the user, or the pseudonym."`
	modelArgs
	reachFlags
	Yes bool `help:"Do not ask." short:"y"`
}

func (c *eraseCmd) Run(e *environment) error {
	return app.Erase(e.ctx, c.on(e, c.Model...), c.User, c.Yes)
}

// Help shows examples.
func (*eraseCmd) Help() string {
	return `Destroys the key of the person, for good: the events stay, and the ledger verifies, but nobody can tell whom they mean. It
needs audit: {pseudonyms: true}. Refused while a hold keeps events of the person. See docs/audit.md.

Examples:
  palisade erase alice                       shows what it means, and asks
  palisade erase alice examples/shop --yes
  palisade erase alice --control control.example:9950 --bundle bundle.json --token-file token`
}
