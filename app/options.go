// Package app joins the rooms into what a user runs: up, edge and the one-shot verbs. It is the only package
// that knows them all; none of them knows it.
package app

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/app/sinks"
	"github.com/palisade-security/palisade/model"
)

// Options are what every verb needs to know.
type Options struct {
	Paths   []string  // files or directories of the model; default the current directory
	State   string    // where keys, the local CA and records live; default .palisade beside the model
	Audit   string    // where records lie, in place of what the model or the state directory says
	JSON    bool      // machine-readable output
	Color   bool      // colours on Out and Err
	Quiet   bool      // no line per request
	Console string    // host:port of the console; empty: none
	Reach   Reach     // of a control on another host, for administrators
	Ask     bool      // somebody sits at In and may be asked
	In      io.Reader // answers, and what "-" names
	Out     io.Writer // results
	Err     io.Writer // messages for people

	elsewhere bool // the model is for proxies on other hosts; see model.Options
}

// forOthers is for those who decide for proxies on other hosts.
func (o *Options) forOthers() *Options {
	out := *o
	out.elsewhere = true
	return &out
}

// ErrFindings means that the model has mistakes; they have been printed.
var ErrFindings = errors.New("the model has errors")

func (o *Options) style() observe.Style { return observe.Style{Color: o.Color} }

func (o *Options) paths() []string {
	if len(o.Paths) == 0 {
		return []string{"."}
	}
	return o.Paths
}

// state returns the absolute state directory.
func (o *Options) state() (string, error) {
	dir := o.State
	if dir == "" {
		dir = o.paths()[0]
		if info, err := os.Stat(dir); err == nil && !info.IsDir() {
			dir = filepath.Dir(dir)
		}
		dir = filepath.Join(dir, ".palisade")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding the state directory: %w", err)
	}
	return abs, nil
}

// load reads and compiles the model and prints its findings. The error is ErrFindings if some are errors.
func (o *Options) load(development bool) (*model.Declared, *model.Snapshot, []model.Finding, error) {
	d, findings, err := model.Load(o.paths()...)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("reading the model: %w", err)
	}
	if model.HasErrors(findings) {
		return d, nil, findings, ErrFindings
	}
	snap, findings := d.Compile(model.Options{Development: development, Elsewhere: o.elsewhere, Getenv: os.LookupEnv}) // those of Load among them
	if snap != nil {
		findings = append(findings, sinks.Check(snap.Export)...)
	}
	if snap == nil || model.HasErrors(findings) {
		return d, nil, findings, ErrFindings
	}
	return d, snap, findings, nil
}
