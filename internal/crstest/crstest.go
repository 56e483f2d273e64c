// Package crstest runs the regression tests of the OWASP Core Rule Set against a server. It is for tests only:
// what it needs of the server is an address, the id of each request in the answer, and the rules that matched
// a request of that id.
package crstest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/corazawaf/coraza-coreruleset/v4/tests"
	"github.com/coreruleset/go-ftw/v2/config"
	"github.com/coreruleset/go-ftw/v2/ftwhttp"
	"github.com/coreruleset/go-ftw/v2/output"
	"github.com/coreruleset/go-ftw/v2/runner"
	"github.com/coreruleset/go-ftw/v2/test"
	"github.com/coreruleset/go-ftw/v2/waflog"
	"github.com/rs/zerolog"
)

// Target is the server under test.
type Target struct {
	Address  string      // host:port
	TLS      *tls.Config // nil: plain HTTP
	IDHeader string      // answer field that names the request; default "X-Request-Id"

	// Lines returns the log lines of the request with that id, each with the rule's id as [id "942100"]. It is
	// asked once the answer is complete and must wait for a record that is still being written. The id is
	// empty if the answer names none.
	Lines func(ctx context.Context, id string) ([]string, error)

	// Why returns the reason for which the server itself refused the request with that id. Nil: it does not tell.
	Why func(id string) string
}

// Outcome is what became of one test.
type Outcome string

// The outcomes. A refused test never reached the rules: the server itself refused a stage of it and no rule
// matched, so that it says nothing about them, whatever the suite makes of it. Where the suite wants that stage
// found, the attack is stopped all the same; where it wants it left alone, the server is stricter than the suite.
const (
	Passed  Outcome = "pass"
	Failed  Outcome = "fail"
	Refused Outcome = "refused" // what was to be found
	Strict  Outcome = "strict"  // what was to be left alone
)

// Result is the outcome of one test.
type Result struct {
	ID      string // 942100-1
	Outcome Outcome
	Passed  bool   // the suite's own verdict; differs from Outcome only where that is Refused or Strict
	Detail  string // statuses and rules seen, or why the test could not run
}

// Report is the outcome of a run, in the order of the suite's files.
type Report struct {
	Results []Result
	Took    time.Duration
}

// Count returns how many results have that outcome.
func (r *Report) Count(o Outcome) int {
	n := 0
	for i := range r.Results {
		if r.Results[i].Outcome == o {
			n++
		}
	}
	return n
}

// SuitePassed returns how many tests pass by the suite's own verdict, refused ones included.
func (r *Report) SuitePassed() int {
	n := 0
	for i := range r.Results {
		if r.Results[i].Passed {
			n++
		}
	}
	return n
}

// Setup is the SecLang that the suite expects beside paranoia level 4: every optional check on, the rule set's
// own lists of methods and content types, and nothing refused, so that all rules get to speak.
const Setup = `SecAction "id:900005,phase:1,nolog,pass,t:none,ctl:ruleEngine=DetectionOnly,` +
	`setvar:tx.crs_validate_utf8_encoding=1,setvar:tx.arg_name_length=100,setvar:tx.arg_length=400,` +
	`setvar:tx.total_arg_length=64000,setvar:tx.max_num_args=255,setvar:tx.max_file_size=64100,` +
	`setvar:tx.combined_file_sizes=65535,setvar:tx.reporting_level=4,setvar:tx.crs_skip_response_analysis=0,` +
	`setvar:'tx.allowed_methods=GET HEAD POST OPTIONS',` +
	`setvar:'tx.allowed_request_content_type=|application/x-www-form-urlencoded| |multipart/form-data| ` +
	`|text/xml| |application/xml| |application/soap+xml| |application/json|'"` + "\n"

// Run sends every test whose id keep accepts (nil: all) to the target. It keeps its log in dir, and returns an
// error only if the run as a whole is impossible.
func Run(ctx context.Context, target Target, dir string, keep func(id string) bool) (*Report, error) {
	zerolog.SetGlobalLevel(zerolog.Disabled)
	files, err := load()
	if err != nil {
		return nil, err
	}
	logPath := filepath.Join(dir, "waf.log")
	log, err := os.Create(logPath)
	if err != nil {
		return nil, fmt.Errorf("creating the log: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	relay, err := newRelay(ctx, target, log)
	if err != nil {
		return nil, err
	}
	defer relay.close()
	rc, err := newRunContext(relay, logPath)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	report := &Report{}
	for _, file := range files {
		for i := range file.Tests {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if keep != nil && !keep(file.Tests[i].IdString()) {
				continue
			}
			one := *file
			one.Tests = file.Tests[i : i+1]
			report.Results = append(report.Results, runOne(rc, relay, &one))
		}
	}
	report.Took = time.Since(began)
	return report, err
}

// runOne runs a single test; what the runner calls an error of the run is a failure of that test here.
func runOne(rc *runner.TestRunContext, relay *relay, one *test.FTWTest) Result {
	relay.take()
	rc.Stats = runner.NewRunStats()
	rc.Result = runner.Failed
	err := runner.RunTest(rc, one)
	seen := relay.take()
	res := Result{ID: one.Tests[0].IdString(), Outcome: Failed, Detail: describe(seen)}
	if err != nil {
		res.Detail += ": " + err.Error()
	}
	res.Passed = err == nil && len(rc.Stats.Success) == 1
	if res.Passed {
		res.Outcome = Passed
	}
	if slices.ContainsFunc(seen, exchange.refused) {
		res.Outcome = Refused
		if leftAlone(seen, one) {
			res.Outcome = Strict
		}
	}
	return res
}

// leftAlone reports whether the server refused a stage in which the suite wants nothing found.
func leftAlone(seen []exchange, one *test.FTWTest) bool {
	stages := one.Tests[0].Stages
	for i := range seen {
		if !seen[i].refused() {
			continue
		}
		if i >= len(stages) {
			return true
		}
		o := &stages[i].Output
		wants := len(o.Log.ExpectIds) > 0 || o.Log.MatchRegex != "" || o.Status >= 400 ||
			o.ExpectError != nil && *o.ExpectError
		if !wants {
			return true
		}
	}
	return false
}

func describe(seen []exchange) string {
	parts := make([]string, 0, len(seen))
	for _, x := range seen {
		part := fmt.Sprintf("status %d, rules %v", x.status, x.rules())
		if x.why != "" {
			part += ", " + x.why
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

func newRunContext(r *relay, logPath string) (*runner.TestRunContext, error) {
	cfg := config.NewDefaultConfig()
	host, port := r.address()
	protocol := "http"
	cfg.LogFile = logPath
	cfg.TestOverride.Overrides = config.Overrides{DestAddr: &host, Port: &port, Protocol: &protocol}
	rc := config.NewRunnerConfiguration(cfg)
	rc.ShowOnlyFailed = true
	rc.ReadTimeout = 2 * patience
	lines, err := waflog.NewFTWLogLines(rc)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	client, err := ftwhttp.NewClient(rc)
	if err != nil {
		return nil, fmt.Errorf("making the client: %w", err)
	}
	return &runner.TestRunContext{
		RunnerConfig: rc, ShowOnlyFailed: true, Output: output.NewOutput("quiet", io.Discard),
		Stats: runner.NewRunStats(), Client: client, LogLines: lines,
	}, nil
}

// load reads every test of the suite, in the order of the file names.
func load() ([]*test.FTWTest, error) {
	var out []*test.FTWTest
	err := fs.WalkDir(tests.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".yaml" {
			return err
		}
		text, err := fs.ReadFile(tests.FS, name)
		if err != nil {
			return err
		}
		t, err := test.GetTestFromYaml(text, path.Base(name))
		if err != nil {
			return fmt.Errorf("reading %q: %w", name, err)
		}
		out = append(out, t)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("loading the suite: %w", err)
	}
	return out, nil
}
