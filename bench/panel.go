package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// panel is one diagram of a chart. With powers, both axes go by powers of ten.
type panel struct {
	title, under string
	powers       bool
	lines        []line
}

type line struct {
	name, class string
	x, y        []float64
}

const (
	panelWidth  = 300
	panelHeight = 260
	plotLeft    = 52
	plotTop     = 60
	plotWidth   = 225
	plotHeight  = 150
)

// panelChart draws diagrams side by side, three in a row.
func panelChart(panels []panel, label string) string {
	const across = 3
	var b strings.Builder
	for i, p := range panels {
		fmt.Fprintf(&b, "<g transform=\"translate(%d %d)\">\n%s</g>\n", i%across*panelWidth, i/across*panelHeight, p.draw())
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img" aria-label="%[4]s">
<style>text{font:12px system-ui,sans-serif;fill:#333}.t{font-weight:600;font-size:13px}.e{text-anchor:end}.m{text-anchor:middle}path{fill:none;stroke-width:2}.a{stroke:#1f6f5c;fill:#1f6f5c}.b{stroke:#9aa0a6;fill:#9aa0a6}path.a,path.b{fill:none}.axis{stroke:#333;stroke-width:1}.grid{stroke:#e3e5e8;stroke-width:1}</style>
<rect width="100%%" height="100%%" fill="#fff"/>
%[3]s</svg>
`, panelWidth*min(len(panels), across), panelHeight*((len(panels)+across-1)/across), b.String(), html.EscapeString(label))
}

func (l *line) add(x, y float64) { l.x, l.y = append(l.x, x), append(l.y, y) }

func (p *panel) draw() string {
	var all line
	for _, l := range p.lines {
		all.x, all.y = append(all.x, l.x...), append(all.y, l.y...)
	}
	x, y := axisOf(all.x, p.powers), axisOf(all.y, p.powers)
	var b strings.Builder
	fmt.Fprintf(&b, "<text x=\"12\" y=\"20\" class=\"t\">%s</text>\n", html.EscapeString(p.title))
	const bottom = plotTop + plotHeight
	for _, tick := range y.ticks {
		at := bottom - y.at(tick)*plotHeight
		fmt.Fprintf(&b, "<path class=\"grid\" d=\"M%d %.1fh%d\"/><text x=\"%d\" y=\"%.1f\" class=\"e\">%s</text>\n", plotLeft, at, plotWidth, plotLeft-6, at+4, tickName(tick))
	}
	for _, tick := range x.ticks {
		fmt.Fprintf(&b, "<text x=\"%.1f\" y=\"%d\" class=\"m\">%s</text>\n", plotLeft+x.at(tick)*plotWidth, bottom+16, tickName(tick))
	}
	fmt.Fprintf(&b, "<path class=\"axis\" d=\"M%d %dV%dh%d\"/>\n", plotLeft, plotTop, bottom, plotWidth)
	fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" class=\"m\">%s</text>\n", plotLeft+plotWidth/2, bottom+34, html.EscapeString(p.under))
	for i, l := range p.lines {
		var d strings.Builder
		for k := range l.x {
			px, py := plotLeft+x.at(l.x[k])*plotWidth, bottom-y.at(l.y[k])*plotHeight
			fmt.Fprintf(&d, "%c%.1f %.1f", "ML"[min(k, 1)], px, py)
			fmt.Fprintf(&b, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>", l.class, px, py)
		}
		fmt.Fprintf(&b, "<path class=\"%s\" d=\"%s\"/>\n", l.class, d.String())
		left := plotLeft + plotWidth/2*i
		fmt.Fprintf(&b, "<circle class=\"%s\" cx=\"%d\" cy=\"38\" r=\"3\"/><text x=\"%d\" y=\"42\">%s</text>\n", l.class, left+3, left+12, html.EscapeString(l.name))
	}
	return b.String()
}

// axis is where values lie, from 0 to 1.
type axis struct {
	low, high float64
	powers    bool
	ticks     []float64
}

// axisOf has all values: from 0 on, or between powers of ten, where what is 0 lies at the begin.
func axisOf(values []float64, powers bool) axis {
	a := axis{powers: powers, high: 1}
	least, most := math.Inf(1), 0.0
	for _, v := range values {
		most = max(most, v)
		if v > 0 {
			least = min(least, v)
		}
	}
	switch {
	case most == 0:
		a.powers = false
	case powers:
		a.low, a.high = math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
		a.high = max(a.high, a.low+1)
		for p := a.low; p <= a.high; p++ {
			a.ticks = append(a.ticks, math.Pow(10, p))
		}
	default:
		a.high, a.ticks = most, []float64{0, most}
	}
	return a
}

func (a *axis) at(v float64) float64 {
	if a.powers {
		if v <= 0 {
			return 0
		}
		v = math.Log10(v)
	}
	return (v - a.low) / (a.high - a.low)
}

// tickName is short: 1k, 10M.
func tickName(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.3gk", v/1e3)
	}
	return fmt.Sprintf("%.3g", v)
}
