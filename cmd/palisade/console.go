package main

import "github.com/palisade-security/palisade/app"

type consoleCmd struct {
	Link consoleLinkCmd `cmd:"" help:"Print a link that signs one browser in, once."`
}

type consoleLinkCmd struct {
	modelArgs
	Role string `help:"What its bearer may do: viewer, operator or admin." enum:"viewer,operator,admin" default:"admin"`
}

func (c *consoleLinkCmd) Run(e *environment) error {
	return app.ConsoleLink(e.ctx, e.with(c.Model...), c.Role)
}

// Help shows examples.
func (*consoleCmd) Help() string {
	return `Examples:
  palisade console link examples/shop`
}

// Help shows examples.
func (*consoleLinkCmd) Help() string {
	return `The link works once, within five minutes, for what runs on the state directory. Its secret stands behind #, which browsers
send to nobody.

Examples:
  palisade console link examples/shop
  palisade console link --role viewer --state /var/lib/palisade`
}
