package topology

import "slices"

// graph is a directed graph over the nodes of a map, by their index, and over what else can be passed: tokens and
// secrets, which come after them.
type graph struct {
	index map[string]int
	out   [][]arc
}

// arc is one way from a node to another. Its edge is the index in the map, or -1.
type arc struct{ to, edge int }

// newGraph takes the edges of a map that are wanted.
func newGraph(m *Map, want func(*Edge) bool) *graph {
	g := &graph{index: make(map[string]int, len(m.Nodes)), out: make([][]arc, len(m.Nodes))}
	for i := range m.Nodes {
		g.index[m.Nodes[i].Name] = i
	}
	for i := range m.Edges {
		if e := &m.Edges[i]; want(e) {
			from, to := g.index[e.From], g.index[e.To]
			g.out[from] = append(g.out[from], arc{to, i})
		}
	}
	return g
}

// heads returns the nodes to which arcs lead.
func (g *graph) heads() [][]int {
	out := make([][]int, len(g.out))
	for i, arcs := range g.out {
		for _, a := range arcs {
			out[i] = append(out[i], a.to)
		}
	}
	return out
}

// reach returns what can be reached from a node, itself first, nearest first.
func (g *graph) reach(root int) []int { return reach(g.heads(), root) }

func reach(out [][]int, root int) []int {
	seen := make([]bool, len(out))
	seen[root] = true
	queue := []int{root}
	for i := 0; i < len(queue); i++ {
		for _, to := range out[queue[i]] {
			if !seen[to] {
				seen[to] = true
				queue = append(queue, to)
			}
		}
	}
	return queue
}

// reversed turns every arc around.
func reversed(out [][]int) [][]int {
	in := make([][]int, len(out))
	for from := range out {
		for _, to := range out[from] {
			in[to] = append(in[to], from)
		}
	}
	return in
}

// postorder lists what can be reached from a root, each after all that were found from it.
func postorder(out [][]int, root int) []int {
	type frame struct{ node, next int }
	seen := make([]bool, len(out))
	seen[root] = true
	stack := []frame{{root, 0}}
	var order []int
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if top.next == len(out[top.node]) {
			order = append(order, top.node)
			stack = stack[:len(stack)-1]
			continue
		}
		to := out[top.node][top.next]
		top.next++
		if !seen[to] {
			seen[to] = true
			stack = append(stack, frame{to, 0})
		}
	}
	return order
}

// dominators returns for each node the last one that every way from the root to it passes (Cooper, Harvey, Kennedy: A
// Simple, Fast Dominance Algorithm, 2001), the root for itself, -1 for what cannot be reached; and the nodes in an order
// in which each follows its dominator. In is out reversed, which is the same for every root.
func dominators(out, in [][]int, root int) (idom, order []int) {
	order = postorder(out, root)
	rank := make([]int, len(out))
	for i, node := range order {
		rank[node] = i
	}
	slices.Reverse(order)
	idom = make([]int, len(out))
	for i := range idom {
		idom[i] = -1
	}
	idom[root] = root
	for changed := true; changed; {
		changed = false
		for _, node := range order[1:] {
			best := -1
			for _, from := range in[node] {
				switch {
				case idom[from] < 0: // not reached, or not yet
				case best < 0:
					best = from
				default:
					best = meeting(idom, rank, best, from)
				}
			}
			if idom[node] != best {
				idom[node], changed = best, true
			}
		}
	}
	return idom, order
}

// meeting is the nearest node that dominates both.
func meeting(idom, rank []int, a, b int) int {
	for a != b {
		for rank[a] < rank[b] {
			a = idom[a]
		}
		for rank[b] < rank[a] {
			b = idom[b]
		}
	}
	return a
}

// components returns the strongly connected components (Tarjan 1972): each before those from which it is reached.
func components(out [][]int) [][]int {
	t := &tarjan{out: out, number: make([]int, len(out)), low: make([]int, len(out)), on: make([]bool, len(out))}
	for node := range out {
		if t.number[node] == 0 {
			t.visit(node)
		}
	}
	return t.found
}

type tarjan struct {
	out         [][]int
	number, low []int // from 1; 0: not visited
	on          []bool
	count       int
	stack       []int
	found       [][]int
}

// visit recurses as deep as the longest way without a circle, which Go's growing stacks allow.
func (t *tarjan) visit(node int) {
	t.count++
	t.number[node], t.low[node] = t.count, t.count
	t.stack, t.on[node] = append(t.stack, node), true
	for _, to := range t.out[node] {
		if t.number[to] == 0 {
			t.visit(to)
			t.low[node] = min(t.low[node], t.low[to])
		} else if t.on[to] {
			t.low[node] = min(t.low[node], t.number[to])
		}
	}
	if t.low[node] != t.number[node] {
		return
	}
	at := slices.Index(t.stack, node)
	c := slices.Clone(t.stack[at:])
	t.stack = t.stack[:at]
	for _, member := range c {
		t.on[member] = false
	}
	slices.Sort(c)
	t.found = append(t.found, c)
}

// articulations counts for each node into how many parts more its undirected component falls without it: 0 unless it
// is an articulation point (Hopcroft and Tarjan 1973).
func articulations(out [][]int) []int {
	near := make([][]int, len(out))
	for from, tos := range out {
		for _, to := range tos {
			if from != to {
				near[from], near[to] = append(near[from], to), append(near[to], from)
			}
		}
	}
	a := &hopcroft{near: near, number: make([]int, len(out)), low: make([]int, len(out)), splits: make([]int, len(out))}
	for node := range out {
		if a.number[node] == 0 {
			a.visit(node, -1)
			a.splits[node] = max(a.splits[node]-1, 0) // a root has no part above it
		}
	}
	return a.splits
}

type hopcroft struct {
	near        [][]int
	number, low []int
	count       int
	splits      []int
}

func (a *hopcroft) visit(node, parent int) {
	a.count++
	a.number[node], a.low[node] = a.count, a.count
	for _, to := range a.near[node] {
		switch {
		case to == parent: // several edges to it are as good as one: it is nodes that are taken out
		case a.number[to] > 0:
			a.low[node] = min(a.low[node], a.number[to])
		default:
			a.visit(to, node)
			a.low[node] = min(a.low[node], a.low[to])
			if a.low[to] >= a.number[node] {
				a.splits[node]++
			}
		}
	}
}
