package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Diff is what has changed from one map to another.
type Diff struct {
	Fleet  string   `json:"fleet"`
	Before Stand    `json:"before"`
	After  Stand    `json:"after"`
	Nodes  []Change `json:"nodes"`
	Edges  []Change `json:"edges"`
	Radius []Change `json:"radius"` // of services in both whose reach is not the same
}

// Stand says of which model and window a map is.
type Stand struct {
	Snapshot string    `json:"snapshot,omitempty"`
	From     time.Time `json:"from,omitzero"`
	Until    time.Time `json:"until,omitzero"`
	Events   int64     `json:"events,omitempty"`
}

// ChangeKind tells what has changed.
type ChangeKind string

// The kinds of changes.
const (
	Added   ChangeKind = "added"
	Removed ChangeKind = "removed"
	Changed ChangeKind = "changed"
)

// Change is one difference.
type Change struct {
	Kind ChangeKind `json:"kind"`
	What string     `json:"what"`           // the name of a node, or "orders -> payments (call)"
	How  []string   `json:"how,omitempty"`  // in words
	Wide bool       `json:"wide,omitempty"` // more can be reached, or more is open, than before
}

// Compare tells what has changed. What was observed is compared only where both maps observed something, and figures
// only if they differ clearly.
func Compare(before, after *Map) *Diff {
	d := &Diff{Fleet: after.Fleet, Before: before.stand(), After: after.stand(), Nodes: []Change{}, Edges: []Change{}, Radius: []Change{}}
	if before.Fleet != after.Fleet {
		d.Fleet = before.Fleet + " and " + after.Fleet
	}
	both := before.Observed() && after.Observed()
	for i := range after.Nodes {
		n := &after.Nodes[i]
		if o := before.Node(n.Name); o == nil {
			d.Nodes = append(d.Nodes, Change{Kind: Added, What: n.Name, Wide: n.Kind == KindOutside})
		} else if how := n.since(o); len(how) > 0 {
			d.Nodes = append(d.Nodes, Change{Kind: Changed, What: n.Name, How: how})
		}
	}
	for i := range before.Nodes {
		if name := before.Nodes[i].Name; after.Node(name) == nil {
			d.Nodes = append(d.Nodes, Change{Kind: Removed, What: name})
		}
	}
	for i := range after.Edges {
		e := &after.Edges[i]
		if o := before.Edge(e.From, e.To, e.Kind); o == nil {
			d.Edges = append(d.Edges, Change{Kind: Added, What: e.String(), How: e.now(), Wide: true})
		} else if how, wide := e.since(o, both); len(how) > 0 {
			d.Edges = append(d.Edges, Change{Kind: Changed, What: e.String(), How: how, Wide: wide})
		}
	}
	for i := range before.Edges {
		if o := &before.Edges[i]; after.Edge(o.From, o.To, o.Kind) == nil {
			d.Edges = append(d.Edges, Change{Kind: Removed, What: o.String()})
		}
	}
	d.radii(before, after)
	return d
}

// Empty tells whether nothing has changed.
func (d *Diff) Empty() bool { return len(d.Nodes)+len(d.Edges)+len(d.Radius) == 0 }

func (m *Map) stand() Stand { return Stand{m.Snapshot, m.From, m.Until, m.Events} }

// String names the edge.
func (e *Edge) String() string { return fmt.Sprintf("%s -> %s (%s)", e.From, e.To, e.Kind) }

// radii compares what services reach once they are taken.
func (d *Diff) radii(before, after *Map) {
	was, is := before.takeable(), after.takeable()
	for _, name := range after.services() {
		if before.Node(name) == nil {
			continue
		}
		o, n := was.from(name), is.from(name)
		more, fewer := without(n.Services, o.Services), without(o.Services, n.Services)
		if len(more)+len(fewer) == 0 {
			continue
		}
		c := Change{Kind: Changed, What: name, Wide: len(more) > 0}
		if len(more) > 0 {
			c.How = append(c.How, "reaches "+strings.Join(more, ", "))
		}
		if len(fewer) > 0 {
			c.How = append(c.How, "no longer reaches "+strings.Join(fewer, ", "))
		}
		c.How = append(c.How, fmt.Sprintf("weight %.4g, was %.4g", n.Total, o.Total))
		d.Radius = append(d.Radius, c)
	}
}

func without(list, other []Reached) []string {
	var out []string
	for _, r := range list {
		if !slices.ContainsFunc(other, func(o Reached) bool { return o.Name == r.Name }) {
			out = append(out, r.Name)
		}
	}
	slices.Sort(out)
	return out
}

func (n *Node) since(o *Node) []string {
	var how []string
	if n.Declared != o.Declared {
		how = append(how, declaredNow(n.Declared))
	}
	if n.Owner != o.Owner {
		how = append(how, fmt.Sprintf("owner %s, was %s", cmp.Or(n.Owner, "none"), cmp.Or(o.Owner, "none")))
	}
	how = append(how, lists("data", n.Data, o.Data)...)
	how = append(how, lists("place", n.Places, o.Places)...)
	how = append(how, lists("secret", n.Secrets, o.Secrets)...)
	return append(how, lists("exposure", n.Open, o.Open)...)
}

func (e *Edge) now() []string {
	how := []string{declaredNow(e.Declared)}
	if e.Seen != nil {
		how = append(how, fmt.Sprintf("%d calls, %d refused", e.Seen.Calls, e.Seen.Refused))
	}
	return how
}

func declaredNow(yes bool) string {
	if yes {
		return "declared"
	}
	return "not declared"
}

// since tells what is new of an edge, and whether that opens something.
func (e *Edge) since(o *Edge, observed bool) (how []string, wide bool) {
	if e.Declared != o.Declared {
		how, wide = append(how, declaredNow(e.Declared)), true
	}
	if e.Encryption != o.Encryption {
		how = append(how, fmt.Sprintf("encryption %s, was %s", cmp.Or(e.Encryption, "unknown"), cmp.Or(o.Encryption, "unknown")))
		wide = wide || e.Encryption == Plain
	}
	routes := lists("route", e.Routes, o.Routes)
	wide = wide || slices.ContainsFunc(e.Routes, func(r string) bool { return !slices.Contains(o.Routes, r) })
	how = append(how, routes...)
	if e.Users != o.Users {
		how, wide = append(how, map[bool]string{true: "only on behalf of users", false: "no longer only on behalf of users"}[e.Users]), wide || !e.Users
	}
	if !observed {
		return how, wide
	}
	if e.Used() != o.Used() {
		how = append(how, map[bool]string{true: "used", false: "no longer used"}[e.Used()])
	}
	if e.Seen == nil || o.Seen == nil {
		return how, wide
	}
	if now, was := e.Seen.failing(), o.Seen.failing(); now > 2*was+0.01 || was > 2*now+0.01 {
		how = append(how, fmt.Sprintf("%.1f%% failed, was %.1f%%", 100*now, 100*was))
	}
	if now, was := e.Seen.Latency.Quantile(0.95), o.Seen.Latency.Quantile(0.95); now > 2*was || was > 2*now {
		how = append(how, fmt.Sprintf("p95 %s, was %s", Short(now), Short(was)))
	}
	return how, wide
}

// failing is the share of calls that failed.
func (s *Seen) failing() float64 {
	if s.Passed() == 0 {
		return 0
	}
	return float64(s.Failed) / float64(s.Passed())
}

// lists tells what came to a list and what went.
func lists(what string, now, was []string) []string {
	var how []string
	for _, s := range now {
		if !slices.Contains(was, s) {
			how = append(how, fmt.Sprintf("with %s %s", what, s))
		}
	}
	for _, s := range was {
		if !slices.Contains(now, s) {
			how = append(how, fmt.Sprintf("without %s %s", what, s))
		}
	}
	return how
}

// Short writes a duration with two or three digits, for pictures and tables.
func Short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}
