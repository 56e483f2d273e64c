package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Results are all figures of one run.
type Results struct {
	Date     string            `json:"date"`
	Machine  string            `json:"machine"`
	Load     string            `json:"load_average"` // of one, five and fifteen minutes, before the run
	Command  string            `json:"command"`
	Rounds   int               `json:"rounds"`
	Versions map[string]string `json:"versions"`
	Groups   []*GroupResult    `json:"groups"`
	Memory   []MemoryResult    `json:"memory,omitempty"`
}

// GroupResult is one group, a row for every proxy that took part.
type GroupResult struct {
	Name    string       `json:"name"`
	Title   string       `json:"title"`
	Against string       `json:"against"`
	Pace    int          `json:"pace"` // requests per second of the latencies
	Conns   int          `json:"connections"`
	Direct  string       `json:"direct,omitempty"` // the row of calls with no proxy between; empty: there is none
	Rows    []*RowResult `json:"rows"`
}

// RowResult is one proxy in one group. CPU and rate come from connections that send as fast as they are
// answered; latencies from paced requests. All times are in microseconds.
type RowResult struct {
	Peer    string    `json:"peer"`
	Title   string    `json:"title"`
	Rounds  []float64 `json:"cpu_us_per_request_by_round"`
	CPU     float64   `json:"cpu_us_per_request"` // median of Rounds
	Ratio   float64   `json:"ratio"`              // median over rounds of CPU by that of Against in the same round
	Rate    float64   `json:"requests_per_second"`
	P50     float64   `json:"p50_us"`
	P95     float64   `json:"p95_us"`
	P99     float64   `json:"p99_us"`
	latency []time.Duration
	rates   []float64
}

// runner is a proxy that takes part in a group.
type runner struct {
	row   *RowResult
	procs []*process // none: nobody stands between client and backend
	conn  fleet
}

// measure runs one group: all its proxies at once, one of them loaded at a time, in random order every round.
func (b *bench) measure(ctx context.Context, g group, results *Results) (err error) {
	runners, err := b.field(ctx, g)
	defer func() {
		for _, r := range runners {
			r.conn.close()
			stopAll(r.procs)
		}
	}()
	if err != nil {
		return err
	}
	count := max(int(float64(g.count)*b.o.scale), connections)
	paced := max(int(float64(g.paced)*b.o.scale), connections/2)
	for round := range b.o.rounds {
		fmt.Fprintf(os.Stderr, "%s: round %d of %d:", g.name, round+1, b.o.rounds)
		rand.Shuffle(len(runners), func(i, j int) { runners[i], runners[j] = runners[j], runners[i] })
		for _, r := range runners {
			if err := r.round(ctx, count, paced, g.perSec); err != nil {
				return fmt.Errorf("%s: %w", r.row.Peer, err)
			}
			fmt.Fprintf(os.Stderr, " %s %.1f µs", r.row.Peer, r.row.Rounds[round])
		}
		fmt.Fprintln(os.Stderr)
	}
	results.Groups = append(results.Groups, summarise(g, runners))
	return nil
}

// field starts every proxy of a group and warms it up.
func (b *bench) field(ctx context.Context, g group) ([]*runner, error) {
	var runners []*runner
	for _, name := range g.peers {
		p := peerNamed(name)
		if !b.o.takes(name) {
			continue
		}
		if p == nil || !b.installed(p) {
			fmt.Fprintf(os.Stderr, "%s: %s is not installed and left out\n", g.name, name)
			continue
		}
		procs, at, err := b.launch(ctx, p)
		if err != nil {
			return runners, err
		}
		r := &runner{row: &RowResult{Peer: p.name, Title: p.title}, procs: procs}
		runners = append(runners, r)
		if r.conn, err = b.connect(ctx, g, p, at); err != nil {
			return runners, fmt.Errorf("%s: %w", name, err)
		}
		if _, err := r.conn.send(ctx, max(g.count/10, connections), 0); err != nil {
			return runners, fmt.Errorf("warming up %s: %w", name, err)
		}
	}
	if len(runners) == 0 {
		return nil, errors.New("no proxy of it is installed")
	}
	return runners, nil
}

// connect opens what sends to a proxy at once.
func (b *bench) connect(ctx context.Context, g group, p *peer, at string) (fleet, error) {
	switch g.speaks {
	case http2, grpc:
		return dialStreams(ctx, at, g.shape.fields(g.speaks), g.shape.message(g.speaks), g.conns)
	case http1:
		return dialAll(ctx, at, nil, g.shape.requests([]string{""}), g.conns)
	case http1TLS:
	}
	return dialAll(ctx, at, b.keys.roots, g.shape.requests(b.tokens(p, g.bare)), g.conns)
}

// round loads one proxy: first as fast as it answers, for its CPU time, then at a pace, for its latencies.
func (r *runner) round(ctx context.Context, count, paced, perSec int) error {
	runtime.GC() // of this process, not in the midst of a measurement
	before, err := cpuOf(r.procs)
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := r.conn.send(ctx, count, 0); err != nil {
		return err
	}
	took := time.Since(began)
	after, err := cpuOf(r.procs)
	if err != nil {
		return err
	}
	r.row.Rounds = append(r.row.Rounds, micros(after-before)/float64(count))
	r.row.rates = append(r.row.rates, float64(count)/took.Seconds())
	latency, err := r.conn.send(ctx, paced, perSec)
	r.row.latency = append(r.row.latency, latency...)
	return err
}

// summarise reports in the order in which the group names its proxies.
func summarise(g group, runners []*runner) *GroupResult {
	out := &GroupResult{Name: g.name, Title: g.title, Against: g.against, Pace: g.perSec, Conns: g.conns}
	if g.hop {
		out.Direct = direct(g.speaks)
	}
	var base []float64
	for _, r := range runners {
		if r.row.Peer == g.against {
			base = r.row.Rounds
		}
	}
	for _, name := range g.peers {
		i := slices.IndexFunc(runners, func(r *runner) bool { return r.row.Peer == name })
		if i < 0 {
			continue
		}
		row := runners[i].row
		row.CPU, row.Rate = median(row.Rounds), median(row.rates)
		ratios := make([]float64, len(base))
		for k := range base {
			ratios[k] = row.Rounds[k] / base[k]
		}
		row.Ratio = median(ratios)
		slices.Sort(row.latency)
		row.P50, row.P95, row.P99 = percentile(row.latency, 50), percentile(row.latency, 95), percentile(row.latency, 99)
		out.Rows = append(out.Rows, row)
	}
	return out
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// percentile of sorted times, in microseconds, by nearest rank.
func percentile(sorted []time.Duration, p int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return micros(sorted[max(0, (len(sorted)*p+99)/100-1)])
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s) / 2; len(s)%2 == 0 {
		return (s[n-1] + s[n]) / 2
	}
	return s[len(s)/2]
}

// machine describes where this runs.
func machine() string {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(text), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			model = strings.TrimSpace(strings.TrimLeft(line, "\t :"))
		}
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = []byte("unknown")
	}
	return fmt.Sprintf("%d cores (%s), Linux %s, %s", runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version())
}

// loadAverage tells how busy the machine is with other work.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(text))
	if err != nil || len(f) < 3 {
		return "unknown"
	}
	return strings.Join(f[:3], ", ")
}
