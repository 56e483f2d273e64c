package console

import (
	"cmp"
	"maps"
	"slices"

	"github.com/palisade-security/palisade/topology"
)

// mostDrawn is how many boxes a picture has that people can still read.
const mostDrawn = 60

// drawn says what of a map is in the picture.
type drawn struct {
	Nodes     int
	All       int
	Clustered bool    // boxes stand for all services of one owner
	Groups    []group // all of them, the largest first; none where boxes are services
}

// group is what belongs to one owner.
type group struct {
	Name string
	Size int
}

// focus returns the part of a map that is looked at: what is near a node, one cluster with its neighbours, all of a small map, or the
// clusters of a large one.
func focus(m *topology.Map, around, cluster string, steps int) (*topology.Map, drawn) {
	about := drawn{All: len(m.Nodes)}
	part := m
	switch {
	case around != "":
		part = only(m, near(m, map[string]bool{around: true}, steps))
	case cluster != "":
		inside := map[string]bool{}
		for i := range m.Nodes {
			if n := &m.Nodes[i]; clusterOf(n) == cluster && len(inside) < mostDrawn {
				inside[n.Name] = true
			}
		}
		part = only(m, inside)
	case len(m.Nodes) > mostDrawn:
		part, about.Groups, about.Clustered = clusters(m), groupsOf(m), true
	}
	about.Nodes = len(part.Nodes)
	return part, about
}

// near are the nodes within some steps of others, the busiest ways first, as many as can be drawn.
func near(m *topology.Map, from map[string]bool, steps int) map[string]bool {
	in := maps.Clone(from)
	for range steps {
		var ways []*topology.Edge
		for i := range m.Edges {
			if e := &m.Edges[i]; in[e.From] != in[e.To] {
				ways = append(ways, e)
			}
		}
		slices.SortStableFunc(ways, func(a, b *topology.Edge) int { return cmp.Compare(calls(b), calls(a)) })
		for _, e := range ways {
			if len(in) < mostDrawn {
				in[e.From], in[e.To] = true, true
			}
		}
	}
	return in
}

func calls(e *topology.Edge) int64 {
	if e.Seen == nil {
		return 0
	}
	return e.Seen.Calls
}

// only is a map of some nodes and what is between them.
func only(m *topology.Map, names map[string]bool) *topology.Map {
	out := *m
	out.Nodes, out.Edges = nil, nil
	for i := range m.Nodes {
		if names[m.Nodes[i].Name] {
			out.Nodes = append(out.Nodes, m.Nodes[i])
		}
	}
	for i := range m.Edges {
		if names[m.Edges[i].From] && names[m.Edges[i].To] {
			out.Edges = append(out.Edges, m.Edges[i])
		}
	}
	return &out
}

// others is the cluster of those that have no owner or a small one.
const others = "others"

func clusterOf(n *topology.Node) string {
	if n.Kind != topology.KindService {
		return string(n.Kind)
	}
	return cmp.Or(n.Owner, others)
}

// groupsOf lists the services of every owner, also of those too small for a box of their own.
func groupsOf(m *topology.Map) []group {
	sizes := map[string]int{}
	for i := range m.Nodes {
		if n := &m.Nodes[i]; n.Kind == topology.KindService {
			sizes[clusterOf(n)]++
		}
	}
	out := make([]group, 0, len(sizes))
	for name, size := range sizes {
		out = append(out, group{name, size})
	}
	slices.SortFunc(out, func(a, b group) int { return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Name, b.Name)) })
	return out
}

// clusters is a map in which all services of an owner are one, and what is outside the fleet is one.
func clusters(m *topology.Map) *topology.Map {
	out := *m
	out.Nodes, out.Edges = nil, nil
	sizes := map[string]int{}
	for i := range m.Nodes {
		sizes[clusterOf(&m.Nodes[i])]++
	}
	largest := slices.SortedFunc(maps.Keys(sizes), func(a, b string) int { return cmp.Or(cmp.Compare(sizes[b], sizes[a]), cmp.Compare(a, b)) })
	shown := map[string]bool{string(topology.KindEdge): true}
	for _, name := range largest {
		if len(shown) < mostDrawn {
			shown[name] = true
		}
	}
	of := map[string]string{}
	nodes := map[string]*topology.Node{}
	for i := range m.Nodes {
		n := &m.Nodes[i]
		name := clusterOf(n)
		if !shown[name] {
			name = others
		}
		if n.Kind == topology.KindEdge {
			name = topology.EdgeNode
		}
		of[n.Name] = name
		box := nodes[name]
		if box == nil {
			box = &topology.Node{Name: name, Kind: n.Kind, Declared: true, Owner: countWords(sizes[clusterOf(n)])}
			nodes[name] = box
		}
		for _, class := range n.Data {
			if !slices.Contains(box.Data, class) {
				box.Data = append(box.Data, class)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		slices.Sort(nodes[name].Data)
		out.Nodes = append(out.Nodes, *nodes[name])
	}
	out.Edges = between(m, of)
	return &out
}

func countWords(n int) string {
	if n == 1 {
		return "1 service"
	}
	return countOf(n) + " services"
}

// between joins the edges of clusters.
func between(m *topology.Map, of map[string]string) []topology.Edge {
	type ends struct{ from, to string }
	joined := map[ends]*topology.Edge{}
	for i := range m.Edges {
		e := &m.Edges[i]
		k := ends{of[e.From], of[e.To]}
		if k.from == k.to {
			continue
		}
		j := joined[k]
		if j == nil {
			j = &topology.Edge{From: k.from, To: k.to, Kind: topology.Call}
			joined[k] = j
		}
		j.Declared = j.Declared || e.Declared
		if s := e.Seen; s != nil {
			if j.Seen == nil {
				j.Seen = &topology.Seen{First: s.First, Last: s.Last}
			}
			if s.First.Before(j.Seen.First) {
				j.Seen.First = s.First
			}
			if s.Last.After(j.Seen.Last) {
				j.Seen.Last = s.Last
			}
			j.Seen.Calls, j.Seen.Refused, j.Seen.Failed, j.Seen.Plain = j.Seen.Calls+s.Calls, j.Seen.Refused+s.Refused, j.Seen.Failed+s.Failed, j.Seen.Plain+s.Plain
		}
	}
	out := make([]topology.Edge, 0, len(joined))
	for _, k := range slices.SortedFunc(maps.Keys(joined), func(a, b ends) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) }) {
		out = append(out, *joined[k])
	}
	return out
}
