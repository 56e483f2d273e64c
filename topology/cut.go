package topology

import (
	"cmp"
	"slices"
)

// mostCuts bounds what is listed.
const mostCuts = 20

// cuts lists what takes most out of reach of a taken service, the best first.
func (s *spread) cuts(service string) []Cut {
	p := s.pieces()
	idom, order := dominators(p.out, p.in, s.index[service])
	weight := p.weigh(idom, order)
	var out []Cut
	for place := range p.out {
		if weight[place] == 0 || !p.cuttable(place) {
			continue
		}
		c := p.cut(place)
		c.Shrinks = weight[place]
		if len(out) < mostCuts || c.Shrinks > out[len(out)-1].Shrinks {
			c.Loses = p.loses(idom, order, place)
			out = insertCut(out, c)
		}
	}
	return out
}

// fleetCuts lists what takes most out of reach of all services, each taken by itself.
func (s *spread) fleetCuts() []Cut {
	p := s.pieces()
	sum := make([]float64, len(p.out))
	for i := range s.m.Nodes {
		if s.m.Nodes[i].Kind != KindService {
			continue
		}
		for place, w := range p.weigh(dominators(p.out, p.in, i)) {
			sum[place] += w
		}
	}
	var out []Cut
	for place, w := range sum {
		if w > 0 && p.cuttable(place) {
			c := p.cut(place)
			c.Shrinks = w
			out = insertCut(out, c)
		}
	}
	return out
}

func insertCut(list []Cut, c Cut) []Cut {
	at, _ := slices.BinarySearchFunc(list, c, func(a, b Cut) int {
		return cmp.Or(cmp.Compare(b.Shrinks, a.Shrinks), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Kind, b.Kind))
	})
	list = slices.Insert(list, at, c)
	return list[:min(len(list), mostCuts)]
}

// pieces is the graph with every edge made a place of its own. What an edge or a secret dominates is then what is out
// of reach without it: one walk tells it of all of them.
type pieces struct {
	*spread
	out   [][]int
	in    [][]int // out reversed
	edges []int   // of the places after those of the spread, their edge
	from  []int   // of each of these, where it begins
}

func (s *spread) pieces() *pieces {
	p := &pieces{spread: s, out: make([][]int, len(s.out))}
	for from, arcs := range s.out {
		for _, a := range arcs {
			if a.edge < 0 {
				p.out[from] = append(p.out[from], a.to)
				continue
			}
			p.edges, p.from = append(p.edges, a.edge), append(p.from, from)
			p.out[from] = append(p.out[from], len(p.out))
			p.out = append(p.out, []int{a.to})
		}
	}
	p.in = reversed(p.out)
	return p
}

// weigh sums for each place the weight of all that it dominates. The root's own does not count.
func (p *pieces) weigh(idom, order []int) []float64 {
	weight := make([]float64, len(p.out))
	for i := len(order) - 1; i > 0; i-- {
		place := order[i]
		if place < len(p.m.Nodes) {
			weight[place] += p.m.Weight(&p.m.Nodes[place])
		}
		weight[idom[place]] += weight[place]
	}
	return weight
}

// loses names the services that a place dominates.
func (p *pieces) loses(idom, order []int, place int) []string {
	var out []string
	under := make([]bool, len(p.out))
	under[place] = true
	for _, at := range order[1:] {
		if at == place || !under[idom[at]] {
			continue
		}
		under[at] = true
		if at < len(p.m.Nodes) && p.m.Nodes[at].Kind == KindService {
			out = append(out, p.m.Nodes[at].Name)
		}
	}
	slices.Sort(out)
	return out
}

// cuttable tells whether a place can be taken away while all services stay.
func (p *pieces) cuttable(place int) bool { return place >= len(p.m.Nodes) }

func (p *pieces) cut(place int) Cut {
	if i := place - len(p.spread.out); i >= 0 {
		e := &p.m.Edges[p.edges[i]]
		return Cut{From: e.From, To: e.To, Kind: p.way(p.from[i], arc{edge: p.edges[i]}), Unused: p.m.Observed() && !e.Used()}
	}
	name := p.names[place-len(p.m.Nodes)]
	if name == "access tokens" {
		return Cut{From: name, To: EdgeNode, Kind: ByToken}
	}
	return Cut{From: name, To: "all that are given it", Kind: BySecret}
}
