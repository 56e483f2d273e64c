package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/palisade-security/palisade/app"
	"github.com/palisade-security/palisade/app/process"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/token"
)

const description = `Palisade secures a fleet of services from one declared model.

Examples:
  palisade up examples/shop                             run a fleet behind its gateway
  palisade validate                                     check palisade.yaml here
  palisade try 'GET /orders/1' --as user-1 --role customer
  palisade explain 01a20506-0392-7200                   why was this request decided so?
  palisade events --follow --refused                    watch refusals`

// errRefused ends "try" with exit code 1.
var errRefused = errors.New("refused")

type cli struct {
	State     string `group:"common" help:"Where keys, the local authority and records live (default: .palisade beside the model; of sidecar and run: .palisade/NAME)." placeholder:"DIR" env:"PALISADE_STATE"`
	AuditDir  string `group:"common" help:"Where records lie (default: audit.dir of the model; for proxies that control feeds, and without it, events in the state directory)." placeholder:"DIR" env:"PALISADE_AUDIT_DIR" type:"path"`
	Format    string `group:"common" help:"Output: text or json; map also draws, events also write table and csv." default:"text"`
	LogFormat string `group:"common" help:"Messages: text or json." enum:"text,json" default:"text"`
	NoColor   bool   `group:"common" help:"No colours (also: NO_COLOR=1)."`
	Quiet     bool   `group:"common" help:"No line per request." short:"q"`
	Debug     bool   `group:"common" help:"More messages."`

	Up      upCmd      `cmd:"" group:"run" help:"Run a fleet on this machine: its services, and the edge before them."`
	Edge    edgeCmd    `cmd:"" group:"run" help:"Run the edge alone, before services that others run."`
	Control controlCmd `cmd:"" group:"run" help:"Run the control of a mesh on several hosts."`
	Run     runCmd     `cmd:"" group:"run" help:"Run a service behind a sidecar of its own, fed by control."`
	Sidecar sidecarCmd `cmd:"" group:"run" help:"Run the sidecar of one service, fed by control."`

	Validate validateCmd `cmd:"" group:"model" help:"Check a model: exit 0 clean, 1 findings, 2 error."`
	Try      tryCmd      `cmd:"" group:"model" help:"Decide about a request without sending it."`
	Plan     planCmd     `cmd:"" group:"model" help:"Show what a model permits more and less: exit 0 nothing more, 1 something, 2 error."`
	Snapshot snapshotCmd `cmd:"" group:"model" help:"Print the compiled model as JSON."`
	Schema   schemaCmd   `cmd:"" group:"model" help:"Print the JSON Schema of palisade.yaml."`

	Events  eventsCmd  `cmd:"" group:"see" help:"Find recorded requests, connections and acts, or count them."`
	Explain explainCmd `cmd:"" group:"see" help:"Explain a recorded decision, and its way through the fleet, by its id."`
	Map     mapCmd     `cmd:"" group:"see" help:"Draw who calls whom, and show what follows from it."`
	Replay  replayCmd  `cmd:"" group:"see" help:"Decide what is recorded again under another model: exit 0 nothing is newly denied, 1 something, 2 error."`
	Learn   learnCmd   `cmd:"" group:"see" help:"Propose, as a patch, the least model that lets pass what was seen."`
	Drift   driftCmd   `cmd:"" group:"see" help:"Find what API documents do not declare and was used: exit 0 nothing, 1 something, 2 error."`
	Status  statusCmd  `cmd:"" group:"see" help:"Show every proxy of a running fleet: snapshot, SVID, connections."`
	History historyCmd `cmd:"" group:"see" help:"Show which models were in force, or what administrators did."`
	Audit   auditCmd   `cmd:"" group:"see" help:"Prove that records are as they were written, export them, be a witness."`

	Reload    reloadCmd    `cmd:"" group:"act" help:"Make a running gateway read its model again."`
	Apply     applyCmd     `cmd:"" group:"act" help:"Put a model in force: exit 0 applied, 1 rolled back or not confirmed, 2 error."`
	Revoke    revokeCmd    `cmd:"" group:"act" help:"Refuse a service, serial or node from now on, and cut its connections."`
	Restore   restoreCmd   `cmd:"" group:"act" help:"Undo revoke."`
	Hold      holdCmd      `cmd:"" group:"act" help:"Keep events from being deleted for their age, as long as a case needs them."`
	Erase     eraseCmd     `cmd:"" group:"act" help:"Destroy the key of a person: nobody can tell any more whom their events mean (GDPR, art. 17)."`
	Join      joinCmd      `cmd:"" group:"act" help:"Make a token with which a proxy joins, once."`
	Console   consoleCmd   `cmd:"" group:"act" help:"Let a browser into the console."`
	Bundle    bundleCmd    `cmd:"" group:"act" help:"Print the trust bundle by which control is known."`
	BusServer busServerCmd `cmd:"" group:"act" name:"bus-server" help:"Write what a server of an external bus needs."`

	Token   tokenCmd   `cmd:"" group:"other" help:"Make a development token, valid only under palisade up."`
	CA      caCmd      `cmd:"" group:"other" name:"ca" help:"Print the local authority's certificate."`
	SVID    svidCmd    `cmd:"" group:"other" name:"svid" help:"Write the SVID of this process to files, and keep them new."`
	Export  exportCmd  `cmd:"" group:"other" help:"Write the segmentation for Kubernetes, Compose, nftables or NATS."`
	Capture captureCmd `cmd:"" group:"other" help:"Bring what a service asks to its sidecar, whether it wants or not (Linux)."`

	Help       helpCmd       `cmd:"" group:"itself" help:"Show help, also of a verb."`
	Completion completionCmd `cmd:"" group:"itself" help:"Print a completion script for bash, zsh or fish."`
	Version    versionCmd    `cmd:"" group:"itself" help:"Print the version."`
}

// groups are the titles under which help shows verbs and flags, by their keys in cli.
func groups() kong.Option {
	return kong.ExplicitGroups([]kong.Group{
		{Key: "run", Title: "Run:"},
		{Key: "model", Title: "Write a model:"},
		{Key: "see", Title: "See what happens:"},
		{Key: "act", Title: "Change what runs:"},
		{Key: "other", Title: "For services and other software:"},
		{Key: "itself", Title: "palisade itself:"},
		{Key: "common", Title: "Flags of every verb:"},
	})
}

// environment is what verbs get beside their flags.
type environment struct {
	ctx     context.Context //nolint:containedctx // the life of the process
	parser  *kong.Kong
	parse   func(args []string) error // shows help if args ask for it
	format  string
	plain   bool     // no colours are wanted
	given   []string // flags that stand on the command line
	options app.Options
}

// slacken is for verbs that run proxies, before they do anything (process.Slacken). A test that runs a verb within itself is no program that could begin again.
func (e *environment) slacken() {
	if e.options.Out == os.Stdout {
		process.Slacken()
	}
}

func (e *environment) with(paths ...string) *app.Options {
	o := e.options
	for _, p := range paths {
		if p != "" {
			o.Paths = append(o.Paths, p)
		}
	}
	return &o
}

// aside are the options of a verb whose standard output belongs to another program: all of ours goes to standard error.
func (e *environment) aside() *app.Options {
	o := e.with()
	o.Out, o.Color = o.Err, colored(e.plain, o.Err)
	return o
}

// hangups delivers SIGHUP as a wish to reload.
func hangups(ctx context.Context) <-chan struct{} {
	signals, out := make(chan os.Signal, 1), make(chan struct{}, 1)
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer signal.Stop(signals)
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
				select {
				case out <- struct{}{}:
				default: // one is waiting already
				}
			}
		}
	}()
	return out
}

type modelArgs struct {
	Model []string `arg:"" optional:"" help:"Files or directories of the model (default: here)."`
}

type upCmd struct {
	modelArgs
	Console string `help:"Where the console serves browsers of this host; off: nowhere (default: a free port)." placeholder:"HOST:PORT" default:"127.0.0.1:0"`
}

func (c *upCmd) Run(e *environment) error {
	e.slacken()
	o := e.with(c.Model...)
	if c.Console != "off" {
		o.Console = c.Console
	}
	return app.Up(e.ctx, o, hangups(e.ctx))
}

type edgeCmd struct {
	modelArgs
	joinFlags
}

func (c *edgeCmd) Run(e *environment) error {
	e.slacken()
	if len(c.Control) > 0 {
		if len(c.Model) > 0 {
			return errors.New("an edge that control feeds has no model of its own; leave out either the model or --control")
		}
		return app.FedEdge(e.ctx, e.with(), c.join(), hangups(e.ctx))
	}
	return app.Edge(e.ctx, e.with(c.Model...), hangups(e.ctx))
}

type validateCmd struct {
	modelArgs
	Production bool `help:"Check as palisade edge would: development providers are errors."`
}

func (c *validateCmd) Run(e *environment) error {
	n, err := app.Validate(e.ctx, e.with(c.Model...), !c.Production)
	if err == nil && n > 0 {
		return errRefused
	}
	return err
}

type tryCmd struct {
	Request string            `arg:"" help:"'GET /orders/1', or with a host: 'GET https://shop.localhost/orders/1'."`
	Model   []string          `arg:"" optional:"" help:"Files or directories of the model (default: here)."`
	As      string            `help:"User who asks (default: nobody)." placeholder:"SUBJECT"`
	Role    []string          `help:"Role of the user; repeat for several."`
	Scope   []string          `help:"Scope of the token."`
	Claim   map[string]string `help:"Claim of the token: name=value."`
	Acr     string            `help:"Authentication context class."`
	Amr     []string          `help:"Authentication method; repeat for several."`
	Header  []string          `help:"'Name: value'." short:"H" sep:"none"`
	Data    string            `help:"Request body." short:"d"`
	From    string            `help:"Client address." default:"127.0.0.1"`
}

func (c *tryCmd) Run(e *environment) error {
	method, target, err := app.ParseAttempt(c.Request)
	if err != nil {
		return err
	}
	o := e.with(c.Model...)
	x, findings, err := app.Try(e.ctx, o, &app.Attempt{
		Method: method, Target: target, As: c.As, Roles: c.Role, Scopes: c.Scope, Claims: claims(c.Claim),
		ACR: c.Acr, AMR: c.Amr, Header: c.Header, Body: c.Data, Address: c.From,
	})
	if err != nil {
		// Exit code 1 means refused here; what cannot be decided is an error, also when findings are why.
		return errors.Join(errors.New("no decision: "+err.Error()), model.FormatFindings(o.Err, findings))
	}
	if err := o.ShowExplanation(x); err != nil {
		return err
	}
	if !x.Event.Allowed {
		return errRefused
	}
	return nil
}

// claims reads numbers and truth values as what they are.
func claims(in map[string]string) map[string]any {
	out := make(map[string]any, len(in))
	for k, v := range in {
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			out[k] = n
		} else if b, err := strconv.ParseBool(v); err == nil {
			out[k] = b
		} else {
			out[k] = v
		}
	}
	return out
}

type explainCmd struct {
	ID string `arg:"" help:"Request id, or its beginning, or a trace id."`
	modelArgs
	askFlags
}

func (c *explainCmd) Run(e *environment) error {
	o := c.on(e, c.Model...)
	x, err := app.Explain(e.ctx, o, c.ID)
	if err != nil {
		return err
	}
	return o.ShowExplanation(x)
}

type eventsCmd struct {
	Query []string `arg:"" optional:"" help:"Which ones, such as: service:orders outcome:denied (default: all); a model may stand before or behind it."`
	askFlags
	Model   string `help:"Model whose fleet is meant (default: here)." placeholder:"DIR"`
	Follow  bool   `help:"Go on as new ones come." short:"f"`
	Last    int    `help:"How many of those recorded; 0: all." default:"20" short:"n"`
	Refused bool   `help:"Only refusals, dry runs included."`
	Service string `help:"Only of this service."`
	User    string `help:"Only of this user, or by this administrator."`
	Kind    string `help:"Only of this kind: request, connection, act, log, or a kind of act such as revoked."`
	Since   moment `help:"Only from then on: 1h or 7d ago, or a date such as 2026-11-22." placeholder:"WHEN"`
	Until   moment `help:"Only before then." placeholder:"WHEN"`
	Count   string `help:"Count them by this field, such as service, user, status or route." placeholder:"FIELD"`
	Per     step   `help:"Count over time, in steps such as 1m, 1h or 1d." placeholder:"TIME"`
	Top     int    `help:"How many values are counted apart." default:"10"`
}

func (*eventsCmd) formats() []string { return []string{"text", "json", "table", "csv"} }

func (c *eventsCmd) Run(e *environment) error {
	if c.Per.Duration > 0 && c.Count == "" {
		return errors.New("--per counts over time; say with --count by what, such as --count outcome")
	}
	if c.Follow && c.Count != "" {
		return errors.New("--follow shows events as they come, --count counts those recorded; leave out one of them")
	}
	words, model := splitQuery(c.Query, c.Model)
	q := app.EventQuery{
		Text: strings.Join(words, " "), Follow: c.Follow, Last: c.Last, Refused: c.Refused, Service: c.Service, User: c.User, Kind: c.Kind,
		Since: c.Since.Time, Until: c.Until.Time, Count: c.Count, Per: c.Per.Duration, Top: c.Top, Format: e.format,
	}
	err := app.Events(e.ctx, c.on(e, model), &q)
	if i := slices.IndexFunc(words, isMissing); err != nil && i >= 0 {
		return fmt.Errorf("%w; %q is no file or folder, and was taken for a word to look for", err, words[i])
	}
	return err
}

// isMissing tells the path of something that does not exist from other words.
func isMissing(word string) bool {
	if !filepath.IsAbs(word) && !strings.HasPrefix(word, "./") && !strings.HasPrefix(word, "../") {
		return false
	}
	_, err := os.Stat(word)
	return err != nil
}

// splitQuery parts the words of a query from a model: a first or last one that is a file or folder of a model is that, as for other
// verbs, unless --model has named it.
func splitQuery(all []string, named string) (words []string, model string) {
	last := len(all) - 1
	switch {
	case named != "" || last < 0:
	case isModel(all[0]):
		return all[1:], all[0]
	case isModel(all[last]):
		return all[:last], all[last]
	}
	return all, named
}

func isModel(word string) bool {
	info, err := os.Stat(word)
	switch {
	case err != nil:
		return false
	case !info.IsDir() || word == "." || strings.ContainsRune(word, filepath.Separator):
		return true
	}
	return hasModel(word)
}

func hasModel(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "palisade.yaml"))
	return err == nil
}

type tokenCmd struct {
	modelArgs
	As       string            `required:"" help:"Subject of the token." placeholder:"SUBJECT"`
	Role     []string          `help:"Role; repeat for several."`
	Scope    []string          `help:"Scope; repeat for several."`
	Claim    map[string]string `help:"Further claim: name=value."`
	Acr      string            `help:"Authentication context class."`
	Amr      []string          `help:"Authentication method; repeat for several."`
	Lifetime time.Duration     `help:"How long it is valid, at most 24h." default:"1h"`
}

func (c *tokenCmd) Run(e *environment) error {
	o := e.with(c.Model...)
	t, err := app.Token(o, token.Claims{Subject: c.As, Roles: c.Role, Scopes: c.Scope, Extra: claims(c.Claim), ACR: c.Acr, AMR: c.Amr, Lifetime: c.Lifetime})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(o.Out, t)
	return err
}

type reloadCmd struct{ modelArgs }

func (c *reloadCmd) Run(e *environment) error {
	o := e.with(c.Model...)
	a, err := app.Reload(e.ctx, o)
	if err != nil {
		return err
	}
	if err := model.FormatFindings(o.Err, a.Findings); err != nil {
		return err
	}
	if a.Error != "" {
		fmt.Fprintf(o.Err, "refused: %s; the model before keeps serving\n", a.Error)
		return errRefused
	}
	_, err = fmt.Fprintf(o.Out, "snapshot %s serves\n", a.Version[:12])
	return err
}

type caCmd struct {
	modelArgs
	Path bool `help:"Print where it lies instead."`
}

func (c *caCmd) Run(e *environment) error { return app.LocalCA(e.with(c.Model...), c.Path) }

type snapshotCmd struct {
	modelArgs
	Production bool `help:"Compile as palisade edge and control do: development providers are errors. The console and control take no other."`
}

func (c *snapshotCmd) Run(e *environment) error {
	return app.Snapshot(e.with(c.Model...), !c.Production)
}

type schemaCmd struct{}

func (c *schemaCmd) Run(e *environment) error {
	_, err := e.options.Out.Write(model.Schema())
	return err
}

type helpCmd struct {
	Verb []string `arg:"" optional:"" help:"Verb, such as: up, or: export nats (default: all of them)."`
}

func (c *helpCmd) Run(e *environment) error { return e.parse(append(c.Verb, "--help")) }

type versionCmd struct{}

func (c *versionCmd) Run(e *environment) error {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	_, err := fmt.Fprintf(e.options.Out, "palisade %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
