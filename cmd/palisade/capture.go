package main

import "github.com/palisade-security/palisade/app"

type captureCmd struct {
	On     captureOnCmd     `cmd:"" help:"Capture what a service asks."`
	Off    captureOffCmd    `cmd:"" help:"Stop capturing it."`
	Status captureStatusCmd `cmd:"" help:"Show what is captured, and what was refused."`
}

type captureNetns struct {
	Netns string `help:"Network namespace: a name as of ip netns, a path, or self (default: that of the host)." placeholder:"NAME"`
}

type captureOnCmd struct {
	modelArgs
	captureNetns
	Service     string   `required:"" help:"Name of the service." placeholder:"NAME"`
	User        []string `help:"User or number that runs it; repeat for several (default: what the model says; with --netns: everybody there)." placeholder:"USER" sep:"none"`
	Serves      *uint16  `help:"Port on which it takes calls; 0: none (default: what the model says)." placeholder:"PORT"`
	Port        uint16   `help:"Where its sidecar takes captured connections (--capture-port)." default:"15001"`
	SidecarUser string   `help:"User or number that its sidecar runs as (default: ${default})." default:"palisade" placeholder:"USER"`
	Resolver    []string `help:"DNS server that it may ask past its sidecar; repeat for several." placeholder:"ADDRESS" sep:"none"`
	Print       bool     `help:"Only print the ruleset."`
}

func (c *captureOnCmd) Run(e *environment) error {
	return app.CaptureOn(e.ctx, e.with(c.Model...), &app.Capture{
		Service: c.Service, Users: c.User, Netns: c.Netns, SidecarUser: c.SidecarUser, Port: c.Port, Serves: c.Serves, Resolvers: c.Resolver,
	}, c.Print)
}

type captureOffCmd struct {
	captureNetns
	Service string `required:"" help:"Name of the service." placeholder:"NAME"`
}

func (c *captureOffCmd) Run(e *environment) error {
	return app.CaptureOff(e.ctx, e.with(), c.Service, c.Netns)
}

type captureStatusCmd struct {
	captureNetns
	Service string `help:"Only this one: exit code 1 if it is not captured." placeholder:"NAME"`
}

func (c *captureStatusCmd) Run(e *environment) error {
	found, err := app.CaptureStatus(e.ctx, e.with(), c.Service, c.Netns)
	if err == nil && c.Service != "" && !found {
		return errRefused
	}
	return err
}

// Help shows examples.
func (*captureOnCmd) Help() string {
	return `Connections that the service opens go to its sidecar, whatever it meant to reach; anything else it sends is dropped, counted
and logged. Nobody but the sidecar reaches its port. It takes root. The rules stay until "palisade capture off": without a
sidecar nothing passes. See docs/capture.md.

Examples:
  palisade capture on --service orders /etc/palisade               user and port from the model
  palisade capture on --service orders --user orders --serves 9103
  palisade capture on --service orders --netns orders --serves 9103
  palisade capture on --service orders --resolver 127.0.0.53 --print /etc/palisade`
}

// Help shows examples.
func (*captureOffCmd) Help() string {
	return `Stop the service first: its open connections break, and new ones go where it likes.

Examples:
  palisade capture off --service orders
  palisade capture off --service orders --netns orders`
}

// Help shows examples.
func (*captureStatusCmd) Help() string {
	return `Examples:
  palisade capture status
  palisade capture status --service orders || alarm
  palisade capture status --netns orders --format json`
}

// Help shows examples.
func (*captureCmd) Help() string {
	return `Examples:
  palisade capture on --service orders --print /etc/palisade
  palisade capture status
  palisade capture off --service orders`
}
