package main

import (
	"github.com/palisade-security/palisade/app"
)

type controlCmd struct {
	modelArgs
	Listen string `help:"Where this control listens, in place of mesh.control.listen." placeholder:"HOST:PORT"`
	Reach  string `help:"Where other controls reach this one (default: where it listens)." placeholder:"HOST:PORT" env:"PALISADE_REACH"`
	Name   string `help:"Name of this control (default: the host's)."`
}

func (c *controlCmd) Run(e *environment) error {
	return app.Control(e.ctx, e.with(c.Model...), app.ControlPlace{Listen: c.Listen, Reach: c.Reach, Name: c.Name})
}

// Help shows examples.
func (*controlCmd) Help() string {
	return `The first model given is put in force; later ones with palisade apply. Administrators come over the socket in the
state directory, or over HTTPS if the model names a provider (mesh.control.administrators).

Examples:
  palisade control /etc/palisade
  palisade control --state /var/lib/palisade --log-format json /etc/palisade
  palisade control --listen 10.0.0.5:9950 --reach 10.0.0.5:9950 /etc/palisade   one of several`
}
