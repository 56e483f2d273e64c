package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// ControlResults are all figures about control of one run.
type ControlResults struct {
	Date    string         `json:"date"`
	Machine string         `json:"machine"`
	Load    string         `json:"load_average"` // of one, five and fifteen minutes, before the run
	Command string         `json:"command"`
	Rounds  int            `json:"rounds"`
	Issue   []IssueResult  `json:"issue"`
	Push    []*PushResult  `json:"push"`
	Scale   []*ScaleResult `json:"scale"`
	Read    []*ReadResult  `json:"read"`
	Take    []*TakeResult  `json:"take"`
}

var controlGroups = []string{"issue", "push", "scale", "compile"} //nolint:gochecknoglobals // constant

// The sizes of a full run; a scale below 1 makes them smaller.
var (
	fleetProxies  = []int{100, 300, 1000}         //nolint:gochecknoglobals // constant
	fleetServices = []int{100, 1000, 3000, 10000} //nolint:gochecknoglobals // constant
	sliceRoutes   = []int{10, 100, 1000}          //nolint:gochecknoglobals // constant
)

// measureControl measures control: what it issues, how it pushes, and how it grows.
func measureControl(ctx context.Context, o *options) (*ControlResults, error) {
	r := &ControlResults{Date: time.Now().UTC().Format("2006-01-02"), Machine: machine(), Load: loadAverage(), Command: command(), Rounds: o.rounds}
	sized := func(sizes []int) (out []int) {
		for _, n := range sizes {
			out = append(out, max(int(float64(n)*min(o.scale, 1)), 10))
		}
		return slices.Compact(out)
	}
	every := time.Duration(float64(reportEvery) * min(o.scale*10, 1))
	said := func(what string, n int) { fmt.Fprintf(os.Stderr, "control: %s %d\n", what, n) }
	var err error
	if o.wants("issue") {
		if r.Issue, err = issuing(ctx, o.rounds, o.scale); err != nil {
			return nil, fmt.Errorf("issuing: %w", err)
		}
	}
	for _, n := range sized(fleetProxies) {
		if !o.wants("push") {
			break
		}
		said("proxies", n)
		p, err := push(ctx, n, o.rounds, every)
		if err != nil {
			return nil, fmt.Errorf("pushing to %d proxies: %w", n, err)
		}
		r.Push = append(r.Push, p)
	}
	for _, n := range sized(fleetServices) {
		if !o.wants("scale") {
			break
		}
		said("services", n)
		s, err := scale(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("control of %d services: %w", n, err)
		}
		r.Scale = append(r.Scale, s)
	}
	for _, n := range sized(fleetServices) {
		if !o.wants("compile") {
			break
		}
		said("services to compile", n)
		one, err := reading(n, o.rounds)
		if err != nil {
			return nil, fmt.Errorf("compiling %d services: %w", n, err)
		}
		r.Read = append(r.Read, one)
	}
	for _, n := range sized(sliceRoutes) {
		if !o.wants("compile") {
			break
		}
		said("routes", n)
		one, err := taking(ctx, n, o.rounds)
		if err != nil {
			return nil, fmt.Errorf("taking a slice of %d routes: %w", n, err)
		}
		r.Take = append(r.Take, one)
	}
	return r, nil
}

func runControl(ctx context.Context, o *options) error {
	r, err := measureControl(ctx, o)
	if err != nil {
		return err
	}
	return writeAll(o.out, r, "control.json", map[string]string{"control.md": controlTables(r), "control.svg": controlChart(r)}, "control.md")
}
