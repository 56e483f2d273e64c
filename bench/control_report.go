package main

import (
	"fmt"
	"math"
	"strings"
)

// controlTables are the tables in docs/performance.md.
func controlTables(r *ControlResults) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s with %d rounds, on %s. Load average before the run: %s.\nCommand: `%s`.\n", r.Date, r.Rounds, r.Machine, r.Load, strings.TrimSpace(r.Command))
	if len(r.Issue) > 0 {
		b.WriteString("\n### Identities issued\n\n| | per second and core | per second, askers on the same cores |\n|---|---:|---:|\n")
		for _, i := range r.Issue {
			elapsed := "-"
			if i.Elapsed > 0 {
				elapsed = number(i.Elapsed)
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", i.What, number(i.PerCPU), elapsed)
		}
	}
	pushTables(&b, r.Push)
	if len(r.Scale) > 0 {
		b.WriteString("\n### A fleet that grows\n\n| services | heap, MB | resident, MB | heap per service, KB | CPU to start and publish all, s | CPU to change all, s | all published after, s | CPU to start again, s |\n|---:|---:|---:|---:|---:|---:|---:|---:|\n")
		for _, s := range r.Scale {
			fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | %s | %s |\n", s.Services, number(float64(s.Heap)/1e6), number(float64(s.Resident)/1e6),
				number(float64(s.Heap)/1e3/float64(s.Services)), number(s.LeadCPU/1e6), number(s.ApplyCPU/1e6), number(s.Apply/1e6), number(s.AgainCPU/1e6))
		}
		b.WriteString("\n" + growth(r.Scale) + "\n")
	}
	if len(r.Read) > 0 {
		b.WriteString("\n### Models and slices compiled\n\n| services | CPU to load and compile, s | ms per service | compiled, MB | as JSON, MB |\n|---:|---:|---:|---:|---:|\n")
		for _, one := range r.Read {
			fmt.Fprintf(&b, "| %d | %s | %s | %s | %s |\n", one.Services, number(one.CPU/1e6), number(one.CPU/1e3/float64(one.Services)), number(float64(one.Heap)/1e6), number(float64(one.Document)/1e6))
		}
	}
	if len(r.Take) > 0 {
		b.WriteString("\n| routes of a slice | CPU of a sidecar to take it, ms | µs per route | memory of both engines, MB |\n|---:|---:|---:|---:|\n")
		for _, one := range r.Take {
			fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", one.Routes, number(one.CPU/1e3), number(one.CPU/float64(one.Routes)), number(float64(one.Heap)/1e6))
		}
	}
	return b.String()
}

func pushTables(b *strings.Builder, all []*PushResult) {
	if len(all) == 0 {
		return
	}
	b.WriteString("\n### A changed model, until proxies have it\n\n| proxies | change | told | in force: p50, ms | p99, ms | last, ms | confirmed: p50, ms | p99, ms | last, ms | CPU of control, ms |\n|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, r := range all {
		for _, p := range r.Pushes {
			fmt.Fprintf(b, "| %d | %s | %d |", r.Proxies, p.What, p.Told)
			for _, v := range append(p.InForce[:], p.Confirmed[:]...) {
				fmt.Fprintf(b, " %s |", number(v/1e3))
			}
			fmt.Fprintf(b, " %s |\n", number(p.CPU/1e3))
		}
	}
	b.WriteString("\n| proxies | resident, MB | CPU at rest, µs per second and proxy | CPU of an enrolment, ms |\n|---:|---:|---:|---:|\n")
	for _, r := range all {
		fmt.Fprintf(b, "| %d | %s | %s | %s |\n", r.Proxies, number(float64(r.Resident)/1e6), number(r.Rest), number(r.Enrol/1e3))
	}
}

// growth says by which power of the number of services something grows from the second size to the last: 1 is linear. The
// first is left out: there the fixed part is most.
func growth(all []*ScaleResult) string {
	if len(all) < 3 {
		return ""
	}
	a, z := all[1], all[len(all)-1]
	power := func(of func(*ScaleResult) float64) float64 {
		return math.Log(of(z)/of(a)) / math.Log(float64(z.Services)/float64(a.Services))
	}
	return fmt.Sprintf("From %d to %d services the heap grows with the power %.2f of their number, CPU to start and publish with %.2f, CPU to change all with %.2f (1 is linear).",
		a.Services, z.Services,
		power(func(s *ScaleResult) float64 { return float64(s.Heap) }), power(func(s *ScaleResult) float64 { return s.LeadCPU }),
		power(func(s *ScaleResult) float64 { return s.ApplyCPU }))
}

// panel is one diagram: lines over a common axis, both axes from zero.
// controlChart draws memory, CPU and latency as they grow.
func controlChart(r *ControlResults) string {
	heap, resident := line{name: "heap", class: "a"}, line{name: "resident", class: "b"}
	lead, apply := line{name: "start", class: "b"}, line{name: "change all", class: "a"}
	for _, s := range r.Scale {
		n := float64(s.Services)
		heap.add(n, float64(s.Heap)/1e6)
		resident.add(n, float64(s.Resident)/1e6)
		lead.add(n, s.LeadCPU/1e6)
		apply.add(n, s.ApplyCPU/1e6)
	}
	p50, p99 := line{name: "p50", class: "a"}, line{name: "p99", class: "b"}
	for _, p := range r.Push {
		for _, what := range p.Pushes {
			if what.What == everything {
				p50.add(float64(p.Proxies), what.Confirmed[0]/1e3)
				p99.add(float64(p.Proxies), what.Confirmed[1]/1e3)
			}
		}
	}
	panels := []panel{
		{title: "Memory of control, MB", under: "services", lines: []line{heap, resident}},
		{title: "CPU to publish every slice, s", under: "services", lines: []line{lead, apply}},
		{title: "All changed, until confirmed, ms", under: "connected proxies", lines: []line{p50, p99}},
	}
	return panelChart(panels, "How control grows")
}
