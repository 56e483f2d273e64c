package main

import (
	"fmt"
	"html"
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
type panel struct {
	title, under string
	lines        []line
}

type line struct {
	name, class string
	x, y        []float64
}

const (
	panelWidth  = 300
	panelHeight = 250
	plotLeft    = 52
	plotTop     = 44
	plotWidth   = 225
	plotHeight  = 150
)

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
		{"Memory of control, MB", "services", []line{heap, resident}},
		{"CPU to publish every slice, s", "services", []line{lead, apply}},
		{"All changed, until confirmed, ms", "connected proxies", []line{p50, p99}},
	}
	return panelChart(panels, "How control grows")
}

// panelChart draws diagrams side by side, three in a row.
func panelChart(panels []panel, label string) string {
	const across = 3
	var b strings.Builder
	for i, p := range panels {
		fmt.Fprintf(&b, "<g transform=\"translate(%d %d)\">\n%s</g>\n", i%across*panelWidth, i/across*panelHeight, p.draw())
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img" aria-label="%[4]s">
<style>text{font:12px system-ui,sans-serif;fill:#333}.t{font-weight:600;font-size:13px}.e{text-anchor:end}.m{text-anchor:middle}path{fill:none;stroke-width:2}.a{stroke:#1f6f5c;fill:#1f6f5c}.b{stroke:#b3b8bd;fill:#b3b8bd}path.a,path.b{fill:none}.axis{stroke:#333;stroke-width:1}</style>
<rect width="100%%" height="100%%" fill="#fff"/>
%[3]s</svg>
`, panelWidth*min(len(panels), across), panelHeight*((len(panels)+across-1)/across), b.String(), html.EscapeString(label))
}

func (l *line) add(x, y float64) { l.x, l.y = append(l.x, x), append(l.y, y) }

func (p *panel) draw() string {
	mostX, mostY := 0.0, 0.0
	for _, l := range p.lines {
		for i := range l.x {
			mostX, mostY = max(mostX, l.x[i]), max(mostY, l.y[i])
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<text x=\"12\" y=\"20\" class=\"t\">%s</text>\n", html.EscapeString(p.title))
	bottom := plotTop + plotHeight
	fmt.Fprintf(&b, "<path class=\"axis\" d=\"M%d %dV%dH%d\"/>\n", plotLeft, plotTop, bottom, plotLeft+plotWidth)
	fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" class=\"m\">%s</text>\n", plotLeft+plotWidth/2, bottom+34, html.EscapeString(p.under))
	if mostX == 0 || mostY == 0 {
		return b.String()
	}
	fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" class=\"e\">0</text><text x=\"%d\" y=\"%d\" class=\"e\">%s</text><text x=\"%d\" y=\"%d\" class=\"e\">%.0f</text>\n",
		plotLeft-6, bottom, plotLeft-6, plotTop+4, number(mostY), plotLeft+plotWidth, bottom+16, mostX)
	for i, l := range p.lines {
		var d strings.Builder
		for k := range l.x {
			x, y := plotLeft+l.x[k]/mostX*plotWidth, float64(bottom)-l.y[k]/mostY*plotHeight
			fmt.Fprintf(&d, "%c%.1f %.1f", "ML"[min(k, 1)], x, y)
			fmt.Fprintf(&b, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>", l.class, x, y)
		}
		fmt.Fprintf(&b, "<path class=\"%s\" d=\"%s\"/>\n", l.class, d.String())
		fmt.Fprintf(&b, "<circle class=\"%s\" cx=\"%d\" cy=\"%d\" r=\"3\"/><text x=\"%d\" y=\"%d\">%s</text>\n",
			l.class, plotLeft+16, plotTop+4+16*i, plotLeft+24, plotTop+8+16*i, html.EscapeString(l.name))
	}
	return b.String()
}
