package topology

import (
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/graph/flow"
	"gonum.org/v1/gonum/graph/simple"
	"gonum.org/v1/gonum/graph/topo"
)

// randomGraph has up to size nodes and, on average, that many edges of each that density says.
func randomGraph(r *rand.Rand, size int, density float64) [][]int {
	out := make([][]int, 1+r.IntN(size))
	for range int(density * float64(len(out)) * r.Float64() * 2) {
		from, to := r.IntN(len(out)), r.IntN(len(out))
		if from != to && !slices.Contains(out[from], to) {
			out[from] = append(out[from], to)
		}
	}
	return out
}

func gonum(out [][]int) *simple.DirectedGraph {
	g := simple.NewDirectedGraph()
	for i := range out {
		g.AddNode(simple.Node(i))
	}
	for from, tos := range out {
		for _, to := range tos {
			g.SetEdge(simple.Edge{F: simple.Node(from), T: simple.Node(to)})
		}
	}
	return g
}

// lacking is the graph without a node.
func lacking(out [][]int, node int) [][]int {
	c := make([][]int, len(out))
	for from, tos := range out {
		for _, to := range tos {
			if from != node && to != node {
				c[from] = append(c[from], to)
			}
		}
	}
	return c
}

// each runs a property on many random graphs, sparse and dense.
func each(t *testing.T, property func(t *testing.T, r *rand.Rand, out [][]int)) {
	t.Helper()
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 1))
		out := randomGraph(r, 24, []float64{0.8, 1.2, 2, 4}[seed%4])
		property(t, r, out)
		if t.Failed() {
			t.Fatalf("seed %d: %v", seed, out)
		}
	}
}

func TestDominatorsAgree(t *testing.T) {
	each(t, func(t *testing.T, _ *rand.Rand, out [][]int) {
		idom, order := dominators(out, reversed(out), 0)
		tree := flow.Dominators(simple.Node(0), gonum(out))
		whole := reach(out, 0)
		if len(order) != len(whole) {
			t.Errorf("ordered %d, reached %d", len(order), len(whole))
		}
		for node := range out {
			want := -1
			if d := tree.DominatorOf(int64(node)); d != nil {
				want = int(d.ID())
			}
			if node == 0 {
				want = 0
			}
			if idom[node] != want {
				t.Errorf("dominator of %d is %d, gonum has %d", node, idom[node], want)
			}
		}
	})
}

// TestDominatedIsCutOff holds the same against no library at all: what a node dominates is what cannot be reached once
// the node is gone.
func TestDominatedIsCutOff(t *testing.T) {
	each(t, func(t *testing.T, _ *rand.Rand, out [][]int) {
		idom, _ := dominators(out, reversed(out), 0)
		whole := reach(out, 0)
		for gone := 1; gone < len(out); gone++ {
			left := reach(lacking(out, gone), 0)
			for _, node := range whole {
				if node == gone {
					continue
				}
				dominated := false
				for at := node; at != 0; at = idom[at] {
					dominated = dominated || at == gone
				}
				if dominated == slices.Contains(left, node) {
					t.Errorf("without %d: %d dominated %v, reachable %v", gone, node, dominated, slices.Contains(left, node))
				}
			}
		}
	})
}

func TestComponentsAgree(t *testing.T) {
	each(t, func(t *testing.T, _ *rand.Rand, out [][]int) {
		var want [][]int
		for _, c := range topo.TarjanSCC(gonum(out)) {
			var nodes []int
			for _, n := range c {
				nodes = append(nodes, int(n.ID()))
			}
			slices.Sort(nodes)
			want = append(want, nodes)
		}
		got := components(out)
		at := map[int]int{}
		for i, c := range got {
			for _, n := range c {
				at[n] = i
			}
		}
		for from, tos := range out {
			for _, to := range tos {
				if at[to] > at[from] {
					t.Errorf("%d is called by %d and comes after it", to, from)
				}
			}
		}
		sorted := slices.SortedFunc(slices.Values(got), slices.Compare)
		slices.SortFunc(want, slices.Compare)
		if !slices.EqualFunc(sorted, want, slices.Equal) {
			t.Errorf("components %v, gonum has %v", sorted, want)
		}
	})
}

// parts counts the undirected components that have another node than gone, as gonum sees them.
func parts(out [][]int, gone int) int {
	g := simple.NewUndirectedGraph()
	for i := range out {
		if i != gone {
			g.AddNode(simple.Node(i))
		}
	}
	for from, tos := range lacking(out, gone) {
		for _, to := range tos {
			g.SetEdge(simple.Edge{F: simple.Node(from), T: simple.Node(to)})
		}
	}
	return len(topo.ConnectedComponents(g))
}

func TestArticulationsSplit(t *testing.T) {
	each(t, func(t *testing.T, _ *rand.Rand, out [][]int) {
		whole := parts(out, -1)
		for node, splits := range articulations(out) {
			// Without it the fleet falls into so many more; one that was alone takes its part with it.
			if want := max(parts(out, node)-whole, 0); splits != want {
				t.Errorf("%d splits off %d, without it there are %d parts more", node, splits, want)
			}
		}
	})
}
