package main

import (
	"fmt"
	"strings"
)

// eventsTables are the tables in docs/performance.md.
func eventsTables(r *EventsResults) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s, on %s. Load average before the run: %s.\nCommand: `%s`.\n", r.Date, r.Machine, r.Load, strings.TrimSpace(r.Command))
	b.WriteString("\n### Events taken, from JSON until durable and sealed\n\n| events | store | per second and core | per second | batch of 1,000: p50, ms | p99, ms | bytes per event | of JSON | merging, CPU µs per event | peak, MB | resident after, MB |\n|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, size := range r.Sizes {
		for _, s := range size.Stores {
			fmt.Fprintf(&b, "| %d | %s | %.0f | %.0f | %s | %s | %s | %s | %s | %s | %s |\n", size.Events, storeTitle(s.Name), s.PerCPU, s.Elapsed, number(s.P50/1e3), number(s.P99/1e3),
				number(s.Bytes), number(s.Record), number(s.Merging), number(float64(s.Peak)/1e6), number(float64(s.Resident)/1e6))
		}
	}
	fmt.Fprintf(&b, "\n### Queries of the console\n\nEach was asked %d times, after once that is not counted.\n\n| events | query | rows | Palisade: p50, ms | p95, ms | CPU, ms | SQLite with FTS5: p50, ms | p95, ms | CPU, ms |\n|---:|---|---:|---:|---:|---:|---:|---:|---:|\n", r.Rounds)
	for _, size := range r.Sizes {
		if len(size.Stores) == 0 {
			continue
		}
		for i, q := range size.Stores[0].Queries {
			fmt.Fprintf(&b, "| %d | %s | %d |", size.Events, q.Name, q.Rows)
			for _, s := range size.Stores {
				q := s.Queries[i]
				fmt.Fprintf(&b, " %s | %s | %s |", number(q.P50/1e3), number(q.P95/1e3), number(q.CPU/1e3))
			}
			b.WriteString(strings.Repeat(" - | - | - |", len(eventStores)-len(size.Stores)) + "\n")
		}
	}
	b.WriteString(bucketTable(r))
	return b.String()
}

func storeTitle(store string) string {
	if store == "sqlite" {
		return "SQLite with FTS5"
	}
	return "Palisade"
}

// eventsChart draws how queries grow with what is stored.
func eventsChart(r *EventsResults) string {
	var panels []panel
	for i, q := range eventNames(r) {
		p := panel{title: q + ", ms", under: "events", powers: true}
		for j, s := range eventStores {
			l := line{name: storeTitle(s.name), class: string(rune('a' + j))}
			for _, size := range r.Sizes {
				for _, one := range size.Stores {
					if one.Name == s.name {
						l.add(float64(size.Events), one.Queries[i].P50/1e3)
					}
				}
			}
			p.lines = append(p.lines, l)
		}
		panels = append(panels, p)
	}
	return panelChart(panels, "How queries grow with the number of events")
}

func eventNames(r *EventsResults) (out []string) {
	if len(r.Sizes) > 0 && len(r.Sizes[0].Stores) > 0 {
		for _, q := range r.Sizes[0].Stores[0].Queries {
			out = append(out, q.Name)
		}
	}
	return out
}
