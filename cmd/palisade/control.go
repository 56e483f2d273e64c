package main

import (
	"errors"
	"slices"
	"time"

	"github.com/palisade-security/palisade/app"
)

type controlCmd struct {
	modelArgs
	Listen string `help:"Where this control listens, in place of mesh.control.listen." placeholder:"HOST:PORT"`
	Reach  string `help:"Where other controls reach this one (default: where it listens)." placeholder:"HOST:PORT" env:"PALISADE_REACH"`
	Name   string `help:"Name of this control (default: the host's)."`
	Admin  string `help:"Metrics and health, in place of mesh.control.admin." placeholder:"HOST:PORT"`

	Console string `help:"Where the console serves browsers of this host, a loopback address; off: nowhere (default: as mesh.control.console says)." placeholder:"HOST:PORT"`
}

func (c *controlCmd) Run(e *environment) error {
	o := e.with(c.Model...)
	o.Console = c.Console
	return app.Control(e.ctx, o, app.ControlPlace{Listen: c.Listen, Reach: c.Reach, Name: c.Name, Admin: c.Admin})
}

// reachFlags say which control an administrator means.
type reachFlags struct {
	Control     string `help:"Control on another host; several by commas (default: what runs on the state directory)." placeholder:"HOST:PORT" env:"PALISADE_CONTROL"`
	Bundle      string `help:"Trust bundle by which that control is known." placeholder:"FILE" env:"PALISADE_BUNDLE"`
	TrustDomain string `help:"Its trust domain (default: that of the bundle)." placeholder:"NAME" env:"PALISADE_TRUST_DOMAIN"`
	TokenFile   string `help:"Access token of an administrator; - is standard input (default: PALISADE_ADMIN_TOKEN)." placeholder:"FILE"`
}

func (r *reachFlags) on(e *environment, paths ...string) *app.Options {
	o := e.with(paths...)
	control := r.Control
	if slices.Contains(e.given, "state") && !slices.Contains(e.given, "control") {
		control = "" // who names a state directory means what runs there, whatever the environment says
	}
	o.Reach = app.Reach{Control: control, Bundle: r.Bundle, Domain: r.TrustDomain, TokenFile: r.TokenFile}
	return o
}

// askFlags are reachFlags for verbs that also look into the state of a proxy: where proxies run, PALISADE_CONTROL says whom they obey.
type askFlags struct {
	Control     string `help:"Ask control on another host; several by commas (default: what runs on the state directory, or what it left there)." placeholder:"HOST:PORT"`
	Bundle      string `help:"Trust bundle by which that control is known." placeholder:"FILE" env:"PALISADE_BUNDLE"`
	TrustDomain string `help:"Its trust domain (default: that of the bundle)." placeholder:"NAME" env:"PALISADE_TRUST_DOMAIN"`
	TokenFile   string `help:"Access token of an administrator; - is standard input (default: PALISADE_ADMIN_TOKEN)." placeholder:"FILE"`
}

func (a *askFlags) on(e *environment, paths ...string) *app.Options {
	r := reachFlags(*a)
	return r.on(e, paths...)
}

type statusCmd struct {
	modelArgs
	reachFlags
}

func (c *statusCmd) Run(e *environment) error { return app.Status(e.ctx, c.on(e, c.Model...)) }

type revokeCmd struct {
	Target string `arg:"" help:"service/NAME, edge/edge, serial/HEXADECIMAL or node/NAME."`
	modelArgs
	reachFlags
	Reason string `help:"Why, for the record."`
}

func (c *revokeCmd) Run(e *environment) error {
	return app.Revoke(e.ctx, c.on(e, c.Model...), c.Target, c.Reason)
}

type restoreCmd struct {
	Target string `arg:"" help:"service/NAME, edge/edge, serial/HEXADECIMAL or node/NAME."`
	modelArgs
	reachFlags
}

func (c *restoreCmd) Run(e *environment) error {
	return app.Restore(e.ctx, c.on(e, c.Model...), c.Target)
}

type applyCmd struct {
	modelArgs
	reachFlags
	Version string        `help:"A model of the history, or its beginning, in place of files." placeholder:"SNAPSHOT"`
	Yes     bool          `help:"Do not ask." short:"y"`
	Watch   time.Duration `help:"How long errors are watched on the first proxies, at most 1h." default:"30s"`
	Note    string        `help:"Why, for the history."`
	Replay  moment        `name:"replay-since" help:"Apply nothing that denies what was used since then, as far as events are kept." default:"24h" placeholder:"WHEN"`
	Accept  bool          `help:"Apply it although it denies what was used."`
	Without []string      `help:"Proxies that are not believed: nothing is tried on them, and they do not stop the others; repeat for several." placeholder:"service/NAME" sep:"none"`
}

func (c *applyCmd) Run(e *environment) error {
	if c.Version != "" && len(c.Model) > 0 {
		return errors.New("expected files of a model or --version, found both")
	}
	return app.Apply(e.ctx, c.on(e, c.Model...), app.Application{Version: c.Version, Yes: c.Yes, Watch: c.Watch, Note: c.Note, Used: c.Replay.Time, Accept: c.Accept, Without: c.Without})
}

type historyCmd struct {
	modelArgs
	reachFlags
	Acts bool `help:"What administrators did and tried, in place of models."`
}

func (c *historyCmd) Run(e *environment) error {
	return app.History(e.ctx, c.on(e, c.Model...), c.Acts)
}

type joinCmd struct {
	Name string `arg:"" help:"What its bearer becomes: service/NAME or edge/edge."`
	modelArgs
	reachFlags
	TTL time.Duration `name:"ttl" help:"How long it may be used." default:"1h"`
}

func (c *joinCmd) Run(e *environment) error {
	return app.Join(e.ctx, c.on(e, c.Model...), c.Name, c.TTL)
}

type bundleCmd struct {
	modelArgs
}

func (c *bundleCmd) Run(e *environment) error { return app.Bundle(e.ctx, e.with(c.Model...)) }

type busServerCmd struct {
	Name string `arg:"" help:"Name of the server; its identity is bus/NAME."`
	modelArgs
	Out    string `required:"" help:"Folder to write to." placeholder:"DIR"`
	Watch  bool   `help:"Go on, and make another certificate at half of its life."`
	Reload string `help:"Command that makes the server read the files again, run without a shell." placeholder:"COMMAND"`
}

func (c *busServerCmd) Run(e *environment) error {
	return app.BusServer(e.ctx, e.with(c.Model...), &app.BusServerOptions{Name: c.Name, Folder: c.Out, Watch: c.Watch, Reload: c.Reload})
}
