// Command palisade secures a fleet of services from one declared model.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/term"
	"k8s.io/klog/v2"

	"github.com/palisade-security/palisade/app"
	"github.com/palisade-security/palisade/app/isolate"
)

// The exit codes of every verb.
const (
	exitOK       = 0
	exitFindings = 1 // the model has findings, or the decision was a refusal
	exitError    = 2 // the verb could not do its work
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == isolate.Verb {
		os.Exit(isolate.Inside(context.Background(), os.Args[2:], os.Stderr))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its edges given, so that scripts can test it.
func run(args []string, stdout, stderr io.Writer) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c, kong.Name("palisade"), kong.Description(description), kong.UsageOnError(),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}), groups())
	if err != nil {
		fmt.Fprintf(stderr, "palisade: %v\n", err)
		return exitError
	}
	parsed, err := parser.Parse(arrange(parser.Model, args))
	if exited >= 0 {
		return exited // help and version have printed what was asked for
	}
	if err != nil {
		if wrong, ok := errors.AsType[*kong.ParseError](err); ok && parsed == nil {
			parsed = wrong.Context
		}
		fmt.Fprintf(stderr, "palisade: %v; see %s\n", advised(parsed, err), helpFor(parsed))
		return exitError
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once instead of waiting for the drain
	e := &environment{ctx: ctx, parser: parser, format: c.Format, plain: c.NoColor, given: given(parsed), parse: func(args []string) error {
		if _, err := parser.Parse(args); exited < 0 && err != nil {
			return fmt.Errorf("%w; see palisade --help", err)
		}
		return nil
	}, options: app.Options{
		State: c.State, Audit: c.AuditDir, JSON: c.Format == "json", Color: colored(c.NoColor, stdout), Quiet: c.Quiet, Out: stdout, Err: stderr,
		In: os.Stdin, Ask: term.IsTerminal(int(os.Stdin.Fd())),
	}}
	slog.SetDefault(slog.New(c.handler(stderr)))
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // the ledger's tessera; what is wrong it returns as well
	return exitCode(parsed.Run(e), stderr)
}

// given are the flags that stand on the command line, and not in the environment.
func given(parsed *kong.Context) (names []string) {
	for _, p := range parsed.Path {
		if p.Flag != nil && !p.Resolved {
			names = append(names, p.Flag.Name)
		}
	}
	return names
}

// drawing is a verb with outputs of its own.
type drawing interface{ formats() []string }

// AfterApply refuses an output that the verb does not have.
func (c *cli) AfterApply(parsed *kong.Context) error {
	formats := []string{"text", "json"}
	if verb := parsed.Selected(); verb != nil && verb.Target.CanAddr() {
		if d, ok := reflect.TypeAssert[drawing](verb.Target.Addr()); ok {
			formats = d.formats()
		}
	}
	if !slices.Contains(formats, c.Format) {
		return fmt.Errorf("--format must be one of %s but got %q", `"`+strings.Join(formats, `","`)+`"`, c.Format)
	}
	return nil
}

// helpFor is the command that shows the right words for a command line that could not be read.
func helpFor(parsed *kong.Context) string {
	if parsed != nil {
		if verb := parsed.Selected(); verb != nil {
			return verb.FullPath() + " --help"
		}
	}
	return "palisade --help"
}

func exitCode(err error, stderr io.Writer) int {
	var ended *app.Exit // of palisade run
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errRefused):
		return exitFindings
	case errors.As(err, &ended):
		return ended.Code
	case errors.Is(err, app.ErrFindings), errors.Is(err, app.ErrNotApplied):
		fmt.Fprintf(stderr, "palisade: %v\n", err)
		return exitFindings
	}
	fmt.Fprintf(stderr, "palisade: %v\n", err)
	return exitError
}

// colored follows https://no-color.org: colours only on a terminal that wants them.
func colored(off bool, w io.Writer) bool {
	f, ok := w.(*os.File)
	return !off && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && ok && term.IsTerminal(int(f.Fd()))
}

func (c *cli) handler(w io.Writer) slog.Handler {
	level := slog.LevelInfo
	if c.Debug {
		level = slog.LevelDebug
	}
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}
