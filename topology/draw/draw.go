// Package draw shows maps of a fleet: as a picture (SVG), a page (HTML), the languages of others that draw (DOT,
// Mermaid), and in words. Everything is made of the map alone, and the same map gives the same bytes. Names in a map may
// come from attackers; each output writes them so that they stay words.
package draw

import (
	"fmt"
	"strings"
	"time"

	"github.com/palisade-security/palisade/topology"
)

// stand says of what a map is.
func stand(m *topology.Map) string {
	services := 0
	for i := range m.Nodes {
		if m.Nodes[i].Kind == topology.KindService {
			services++
		}
	}
	s := count(services, "service") + ", " + count(len(m.Edges), "edge")
	if m.Snapshot != "" {
		s += fmt.Sprintf(", snapshot %.12s", m.Snapshot)
	}
	if n := len(m.Models); n > 1 {
		s += fmt.Sprintf(" in force at its end, the last of %d", n)
	}
	if !m.Observed() {
		return s + ", as declared"
	}
	return s + ", " + count(int(m.Events), "event") + " from " + moment(m.From) + " to " + moment(m.Until)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// rate writes calls per second, minute or hour, whichever gives a number of at least one.
func rate(perSecond float64) string {
	switch {
	case perSecond >= 1:
		return fmt.Sprintf("%.3g/s", perSecond)
	case perSecond*60 >= 1:
		return fmt.Sprintf("%.3g/min", perSecond*60)
	}
	return fmt.Sprintf("%.2g/h", perSecond*3600)
}

// words says all about an edge, in lines.
func words(m *topology.Map, e *topology.Edge) []string {
	out := []string{e.String()}
	how := []string{"not declared"}
	if e.Declared {
		how[0] = "declared"
	}
	if e.Protocol != "" {
		how = append(how, e.Protocol)
	}
	if e.Encryption != topology.Unknown {
		how = append(how, string(e.Encryption))
	}
	if e.Users {
		how = append(how, "on behalf of users only")
	}
	if e.Via != "" {
		how = append(how, "over "+e.Via)
	}
	out = append(out, strings.Join(how, ", "))
	s := e.Seen
	if s == nil {
		if m.Observed() {
			out = append(out, "not seen in use")
		}
		return out
	}
	out = append(out, fmt.Sprintf("%s, %s: %d refused, %d failed", count(int(s.Calls), "call"), rate(m.Rate(e)), s.Refused, s.Failed))
	if !s.Latency.IsZero() {
		out = append(out, fmt.Sprintf("p50 %s, p95 %s, p99 %s", topology.Short(s.Latency.Quantile(0.5)), topology.Short(s.Latency.Quantile(0.95)), topology.Short(s.Latency.Quantile(0.99))))
	}
	if len(s.Identities) > 0 {
		out = append(out, "by "+strings.Join(s.Identities, ", "))
	}
	if len(s.Roles) > 0 {
		out = append(out, "for "+strings.Join(s.Roles, ", "))
	}
	if s.Plain > 0 {
		out = append(out, count(int(s.Plain), "call")+" came without TLS")
	}
	return append(out, "last "+moment(s.Last))
}
