package main

import (
	"fmt"
	"html"
	"maps"
	"slices"
	"strings"
)

// markdown is the table in docs/performance.md.
func markdown(r *Results) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s with %d rounds, on %s. Load average before the run: %s.\n", r.Date, r.Rounds, r.Machine, r.Load)
	for i, name := range slices.Sorted(maps.Keys(r.Versions)) {
		sep := ", "
		if i == 0 {
			sep = "Versions: "
		}
		fmt.Fprintf(&b, "%s%s %s", sep, name, r.Versions[name])
	}
	fmt.Fprintf(&b, ".\nCommand: `%s`.\n", strings.TrimSpace(r.Command))
	for _, g := range r.Groups {
		fmt.Fprintf(&b, "\n### %s\n\n", g.Title)
		if g.Direct != "" {
			hopTable(&b, g)
			continue
		}
		fmt.Fprintf(&b, "| | CPU per 1,000 requests, ms | by %s's | requests/s at %d connections | p50, ms | p95, ms | p99, ms |\n|---|---:|---:|---:|---:|---:|---:|\n", title(g, g.Against), g.Conns)
		for _, row := range g.Rows {
			fmt.Fprintf(&b, "| %s | %s | %.2f | %.0f | %s | %s | %s |\n", row.Title, number(row.CPU), row.Ratio, row.Rate, number(row.P50/1000), number(row.P95/1000), number(row.P99/1000))
		}
		fmt.Fprintf(&b, "\nLatencies at %d requests/s.\n", g.Pace)
		if more, ok := step(g, "palisade", "palisade-jwt"); ok {
			fmt.Fprintf(&b, "JWT, authorisation by roles and limits cost %.1f µs of CPU per request more than plain proxying (median of the rounds' differences).\n", more)
		}
	}
	if len(r.Memory) > 0 {
		fmt.Fprintf(&b, "\n### Memory\n\n| | after start, MB | %d connections, MB | after %d more requests, MB |\n|---|---:|---:|---:|\n", r.Memory[0].Connections, r.Memory[0].Requests)
		for _, m := range r.Memory {
			fmt.Fprintf(&b, "| %s | %.0f | %.0f | %.0f |\n", m.Title, float64(m.Start)/1e6, float64(m.Connected)/1e6, float64(m.AfterLoad)/1e6)
		}
	}
	return b.String()
}

// hopTable tells latencies as what a hop adds to a direct call.
func hopTable(b *strings.Builder, g *GroupResult) {
	fmt.Fprintf(b, "| | CPU per 1,000 requests, ms | by that of nginx | requests/s, %d at once | added p50, ms | added p99, ms |\n|---|---:|---:|---:|---:|---:|\n", g.Conns)
	var p50, p99 float64
	for _, row := range g.Rows {
		if row.Peer == g.Direct {
			p50, p99 = row.P50, row.P99
			continue
		}
		fmt.Fprintf(b, "| %s | %s | %.2f | %.0f | %s | %s |\n", row.Title, number(row.CPU), row.Ratio, row.Rate, number((row.P50-p50)/1000), number((row.P99-p99)/1000))
	}
	fmt.Fprintf(b, "\nLatencies at %d requests/s; a direct call takes %s ms (p50) and %s ms (p99).\n", g.Pace, number(p50/1000), number(p99/1000))
}

func title(g *GroupResult, peer string) string {
	for _, row := range g.Rows {
		if row.Peer == peer {
			return row.Title
		}
	}
	return peer
}

// step is the median over rounds of what one proxy costs more than another.
func step(g *GroupResult, from, to string) (float64, bool) {
	var a, b []float64
	for _, row := range g.Rows {
		switch row.Peer {
		case from:
			a = row.Rounds
		case to:
			b = row.Rounds
		}
	}
	if len(a) == 0 || len(b) != len(a) {
		return 0, false
	}
	diffs := make([]float64, len(a))
	for i := range a {
		diffs[i] = b[i] - a[i]
	}
	return median(diffs), true
}

// number shows three digits that count.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

const (
	chartWidth = 900
	chartLeft  = 460 // where bars begin
	chartBar   = 300 // the longest bar
	chartRow   = 24
)

// chart draws one bar per proxy and group: CPU per 1,000 requests, every group to its own scale.
func chart(r *Results) string {
	var b strings.Builder
	y := 34
	for _, g := range r.Groups {
		fmt.Fprintf(&b, "<text x=\"12\" y=\"%d\" class=\"t\">%s</text>\n", y+14, html.EscapeString(g.Title))
		y += 26
		longest := 0.0
		for _, row := range g.Rows {
			longest = max(longest, row.CPU)
		}
		for _, row := range g.Rows {
			if row.CPU == 0 {
				continue // no proxy
			}
			class := "peer"
			if strings.HasPrefix(row.Peer, "palisade") {
				class = "ours"
			}
			w := row.CPU / longest * chartBar
			fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" class=\"n\">%s</text>", chartLeft-8, y+14, html.EscapeString(row.Title))
			fmt.Fprintf(&b, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" class=\"%s\"/>", chartLeft, y+2, w, chartRow-8, class)
			fmt.Fprintf(&b, "<text x=\"%.1f\" y=\"%d\" class=\"v\">%s ms (%.2f)</text>\n", chartLeft+w+6, y+14, number(row.CPU), row.Ratio)
			y += chartRow
		}
		y += 14
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img" aria-label="CPU per 1,000 requests">
<style>text{font:12px system-ui,sans-serif;fill:#333}.t{font-weight:600;font-size:13px}.n{text-anchor:end}.ours{fill:#1f6f5c}.peer{fill:#b3b8bd}</style>
<rect width="100%%" height="100%%" fill="#fff"/>
<text x="12" y="20" class="t">CPU of the proxy per 1,000 requests, and its ratio to the first bar of the group (less is better)</text>
%[3]s</svg>
`, chartWidth, y, b.String())
}
