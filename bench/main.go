// Command bench measures Palisade end to end beside its peers: nginx, nginx with ModSecurity and the OWASP Core
// Rule Set, Coraza behind net/http, and Caddy. Every proxy is a process of its own on loopback, before the same
// backend, with the same certificate; all are measured in turn within one run, so that a noisy machine troubles
// all of them alike. It reads /proc and so runs on Linux only. Start it with scripts/bench.sh, which builds what
// it needs; it is no tool for sizing a deployment.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	binaries string // folder with palisade, corazaproxy and perhaps caddy
	rules    string // folder with the Core Rule Set
	work     string // folder for configurations, keys and logs
	out      string // folder that results are written to
	rounds   int
	scale    float64 // of the requests of a round
	only     string  // comma-separated groups; empty: all
	peers    string  // comma-separated; empty: all
	keep     bool
	hop      bool // measure hops of a mesh, not the edge
	control  bool // measure control, not the edge
	events   bool // measure the store of events, not the edge
	sizes    string
	largest  int    // number of events up to which SQLite is measured
	versity  string // S3-compatible server; empty: what scripts/deps.sh built
}

// groups are those that the flags choose among.
func (o *options) groups() []group {
	if o.hop {
		return hops
	}
	return groups
}

func main() {
	var o options
	flag.StringVar(&o.binaries, "bin", "build", "folder with the binaries palisade, corazaproxy and, if it could be built, caddy")
	flag.StringVar(&o.rules, "rules", "", "folder with the OWASP Core Rule Set (rules of the Go module coraza-coreruleset)")
	flag.StringVar(&o.out, "out", "build/bench", "folder for results.json, table.md and performance.svg")
	flag.IntVar(&o.rounds, "rounds", 7, "rounds of every group; medians are reported")
	flag.Float64Var(&o.scale, "scale", 1, "share of the requests of a full round")
	flag.StringVar(&o.only, "only", "", "comma-separated groups: "+strings.Join(groupNames(), ", ")+", memory, "+strings.Join(hopNames(), ", "))
	flag.StringVar(&o.peers, "peers", "", "comma-separated proxies to measure alone, e.g. for a profile")
	flag.BoolVar(&o.keep, "keep", false, "keep the folder with configurations and logs")
	flag.BoolVar(&o.hop, "hop", false, "measure one hop of a mesh in place of the edge")
	flag.BoolVar(&o.control, "control", false, "measure control in place of the edge; its groups: "+strings.Join(controlGroups, ", "))
	flag.BoolVar(&o.events, "events", false, "measure the store of events beside SQLite in place of the edge; -peers palisade leaves SQLite out")
	flag.StringVar(&o.sizes, "sizes", "100000,1000000,10000000,50000000", "comma-separated numbers of events, for -events")
	flag.IntVar(&o.largest, "sqlite-to", 1_000_000, "number of events up to which SQLite is measured, with -events: it takes 45 GB of disk and an hour for ten million")
	flag.StringVar(&o.versity, "versitygw", "", "S3-compatible server for queries over a bucket, with -events; default the one in bin/ that make deps builds")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if asked, err := service(ctx, os.Args[1:]); asked {
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %v\n", err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	do := run
	if config := os.Getenv(siteVariable); config != "" {
		do = func(ctx context.Context, _ *options) error { return runSite(ctx, config, os.Stdin, os.Stdout) }
	} else if o.control {
		do = runControl
	} else if o.events {
		do = runEvents
	}
	if err := do(ctx, &o); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options) (err error) {
	if o.work, err = os.MkdirTemp("", "palisade-bench-"); err != nil {
		return fmt.Errorf("making a folder to work in: %w", err)
	}
	if o.keep {
		fmt.Fprintf(os.Stderr, "working in %s\n", o.work)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(o.work)) }()
	}
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	results := &Results{Date: time.Now().UTC().Format("2006-01-02"), Machine: machine(), Load: loadAverage(), Command: command(), Rounds: o.rounds, Versions: b.versions(ctx)}
	for _, g := range o.groups() {
		if !o.wants(g.name) {
			continue
		}
		if err := b.measure(ctx, g, results); err != nil {
			return fmt.Errorf("group %s: %w", g.name, err)
		}
	}
	if !o.hop && o.wants("memory") {
		if results.Memory, err = b.memory(ctx); err != nil {
			return fmt.Errorf("memory: %w", err)
		}
	}
	return write(o.out, results)
}

// command is how to run the same again, without what the script gives by itself.
func command() string {
	words := []string{"scripts/bench.sh"}
	flag.Visit(func(f *flag.Flag) {
		if f.Name == "hop" || f.Name == "control" || f.Name == "events" {
			words[0] = "scripts/bench-" + f.Name + ".sh"
		}
		if !slices.Contains([]string{"bin", "rules", "out", "keep", "hop", "control", "events"}, f.Name) {
			words = append(words, "-"+f.Name, f.Value.String())
		}
	})
	return strings.Join(words, " ")
}

func (o *options) wants(group string) bool {
	return o.only == "" || strings.Contains(","+o.only+",", ","+group+",")
}

func (o *options) takes(peer string) bool {
	return o.peers == "" || strings.Contains(","+o.peers+",", ","+peer+",")
}

// write leaves the figures as data, as a table and as a chart.
func write(dir string, r *Results) error {
	return writeAll(dir, r, "results.json", map[string]string{"table.md": markdown(r), "performance.svg": chart(r)}, "table.md")
}

// writeAll writes results as JSON and in other forms, one of which it prints.
func writeAll(dir string, results any, name string, files map[string]string, shown string) error {
	data, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the results: %w", err)
	}
	fmt.Println(files[shown])
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	files[name] = string(data) + "\n"
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
	}
	return nil
}
