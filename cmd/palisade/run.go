package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"

	"golang.org/x/term"

	"github.com/palisade-security/palisade/app"
	"github.com/palisade-security/palisade/app/isolate"
)

type runCmd struct {
	placeFlags
	joinFlags
	Capture bool     `help:"Bring connections to any address beyond loopback to the sidecar, so that attempts are recorded; it takes nft."`
	Command []string `arg:"" passthrough:"" help:"What to run, after --."`
}

func (c *runCmd) Run(e *environment) error {
	e.slacken()
	command := c.Command
	if len(command) > 0 && command[0] == "--" {
		command = slices.Delete(command, 0, 1)
	}
	if len(command) == 0 {
		return errors.New("nothing to run; give the command after --")
	}
	stdin := os.Stdin
	if term.IsTerminal(int(stdin.Fd())) { // the service is in the background of our terminal, and would stop when it reads
		var err error
		if stdin, err = os.Open(os.DevNull); err != nil {
			return fmt.Errorf("opening standard input: %w", err)
		}
		defer stdin.Close()
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, isolate.Handed()...)
	defer signal.Stop(signals)
	o := c.options()
	o.Started = true
	// Signals are the service's: they end us when it has ended.
	return app.Run(context.WithoutCancel(e.ctx), e.aside(), c.join(), o, &app.RunOptions{
		Command: command, Files: [3]*os.File{stdin, os.Stdout, os.Stderr}, Signals: signals, Capture: c.Capture,
	})
}

// Help shows examples.
func (*runCmd) Help() string {
	return `The service finds in its environment LISTEN_ADDRESS, and NAME_ADDRESS for every service that it may call. It starts
when its sidecar serves, gets the signals that we get, and its exit code is ours. SIGTERM and SIGINT reach it after the
calls under way are over, a second one at once; a third kills it. Standard output is the service's alone.

Examples:
  palisade run --service orders --control 10.0.0.5:9950 --trust-domain shop.example --join-token-file token -- ./orders
  palisade run --service report --listen 127.0.0.1:0 -- ./report --month 11   (a job; other flags from the environment)`
}
