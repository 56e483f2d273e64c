package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/model"
)

// PushResult is what connected proxies cost control, and how long a changed model takes to them.
type PushResult struct {
	Proxies  int      `json:"proxies"`
	Services int      `json:"services"`
	Enrol    float64  `json:"enrol_cpu_us"`      // CPU of control for a proxy's enrolment: token, SVID, bus, first slice
	Resident int64    `json:"resident"`          // bytes of control with all connected
	Rest     float64  `json:"rest_cpu_us_per_s"` // CPU of control per second and proxy, nothing happening
	Pushes   []Pushed `json:"pushes"`
}

// Pushed is one kind of change. Times are from the moment the model was put in force.
type Pushed struct {
	What      string     `json:"what"`
	Told      int        `json:"told"`        // proxies that it changes something for, in the median
	InForce   [3]float64 `json:"in_force_us"` // at the proxy: p50, p99, most
	Confirmed [3]float64 `json:"confirmed_us"`
	CPU       float64    `json:"cpu_us"`   // of control for the whole change: reading, planning, trial, signing, telling, hearing back
	Apply     float64    `json:"apply_us"` // until the administrator has the answer, trial included; median
	cpu       []float64
	apply     []float64
	told      []float64
	in, heard []time.Duration
}

const everything = "everything" // changes: every slice is another

const (
	reportEvery = 5 * time.Second // as proxies do by themselves
	pushPause   = time.Second     // between changes: reports of the last one are over
)

// push measures changes to n connected proxies, which report every so often.
func push(ctx context.Context, n, rounds int, every time.Duration) (_ *PushResult, err error) {
	s, err := startSite(ctx, n)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	s.every = every
	running, end := context.WithCancel(ctx)
	g := new(errgroup.Group)
	defer func() { end(); err = errors.Join(err, g.Wait()) }()
	before, err := s.cpu()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	proxies, err := s.join(running, g, 0, n)
	if err != nil {
		return nil, err
	}
	after, err := s.cpu()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "control: %d proxies enrolled in %s\n", n, time.Since(begun).Round(time.Millisecond))
	out := &PushResult{Proxies: n, Services: n, Enrol: micros(after-before) / float64(n)}
	if err := out.rest(ctx, s); err != nil {
		return nil, err
	}
	for _, what := range []struct {
		name string
		v    variant
	}{{"one service", oneMore}, {everything, allMore}} {
		p := Pushed{What: what.name}
		if err := p.measure(ctx, s, proxies, what.v, rounds, out.Rest*float64(n)); err != nil {
			return nil, fmt.Errorf("changing %s: %w", what.name, err)
		}
		out.Pushes = append(out.Pushes, p)
	}
	return out, nil
}

// rest measures control with nothing to do but to hear reports.
func (r *PushResult) rest(ctx context.Context, s *controlSite) error {
	wait(ctx, s.every) // places of the last that came are told
	f, err := s.look()
	if err != nil {
		return err
	}
	r.Resident = f.Resident
	before, err := s.cpu()
	if err != nil {
		return err
	}
	wait(ctx, 2*s.every)
	after, err := s.cpu()
	r.Rest = micros(after-before) / (2 * s.every).Seconds() / float64(r.Proxies)
	return err
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// measure applies a change and takes it back, again and again. What control uses at rest, in microseconds per second, does
// not count.
func (p *Pushed) measure(ctx context.Context, s *controlSite, proxies []*simulated, v variant, rounds int, rest float64) error {
	var versions [2]string
	var documents [2]json.RawMessage
	for i, one := range []variant{asIs, v} {
		var err error
		if versions[i], documents[i], err = document(s.Services, one); err != nil {
			return err
		}
	}
	for round := range 2 * rounds {
		next := (round + 1) % 2
		if err := p.once(ctx, s, proxies, admin.ApplyRequest{Model: documents[next], Before: versions[1-next], Watch: model.Duration(time.Millisecond)}); err != nil {
			return err
		}
	}
	for i := range p.cpu {
		p.cpu[i] -= rest * p.apply[i] / 1e6
	}
	p.CPU, p.Apply, p.Told = median(p.cpu), median(p.apply), int(median(p.told))
	p.InForce, p.Confirmed = spread(p.in), spread(p.heard)
	return nil
}

func (p *Pushed) once(ctx context.Context, s *controlSite, proxies []*simulated, q admin.ApplyRequest) error {
	wait(ctx, pushPause)
	if _, err := s.look(); err != nil { // forgets who confirmed earlier ones
		return err
	}
	before, err := s.cpu()
	if err != nil {
		return err
	}
	begun := time.Now()
	out, err := s.admin.Apply(ctx, q)
	took := time.Since(begun)
	if err != nil {
		return err
	}
	if out.Outcome != admin.Applied || out.Reason != "" {
		return fmt.Errorf("%s: %s", out.Outcome, out.Reason)
	}
	after, err := s.cpu()
	if err != nil {
		return err
	}
	f, err := s.look()
	if err != nil {
		return err
	}
	from, told := out.Model.Since, 0
	for _, one := range proxies {
		at, took := one.since(from)
		if !took {
			continue // it has the slice already: it tried it, or has the same as before
		}
		heard, ok := f.Confirmed[one.id]
		if !ok {
			return fmt.Errorf("%s has not confirmed", one.id)
		}
		told++
		p.in, p.heard = append(p.in, at.Sub(from)), append(p.heard, heard.Sub(from))
	}
	fmt.Fprintf(os.Stderr, "control: %s: %d told, applied in %s\n", p.What, told, took.Round(time.Millisecond))
	p.cpu, p.apply, p.told = append(p.cpu, micros(after-before)), append(p.apply, micros(took)), append(p.told, float64(told))
	return nil
}

// spread is the median, the 99th percentile and the most, in microseconds.
func spread(d []time.Duration) [3]float64 {
	slices.Sort(d)
	return [3]float64{percentile(d, 50), percentile(d, 99), percentile(d, 100)}
}
