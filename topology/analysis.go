package topology

import (
	"cmp"
	"slices"
)

// Analysis is what follows from a map.
type Analysis struct {
	SinglePoints []SinglePoint `json:"single_points"`
	Cycles       [][]string    `json:"cycles"` // services that need each other in a circle, sorted
	Deepest      []string      `json:"deepest"`
	Unreached    []string      `json:"unreached"`  // services to which no way leads from the gateway
	Unused       []Link        `json:"unused"`     // declared, and nobody was seen to use it; nil where nothing was observed
	Undeclared   []Link        `json:"undeclared"` // seen, and not declared
	Plain        []Link        `json:"plain"`      // not encrypted
	Privileges   []Privilege   `json:"privileges"` // of those that may more than they were seen to do, the worst first; nil like Unused
	Radius       []Radius      `json:"radius"`     // of every service, the widest first
	Cuts         []Cut         `json:"cuts"`       // that make radii smaller, all services taken together
	Recovery     [][]string    `json:"recovery"`   // waves: what a service needs comes in a wave before it
}

// SinglePoint is a service without which others cannot be reached.
type SinglePoint struct {
	Service string   `json:"service"`
	CutsOff []string `json:"cuts_off,omitempty"` // services that can then not be reached from the gateway at all
	Splits  int      `json:"splits,omitempty"`   // into how many more parts the fleet falls, whoever calls whom
	Needed  []string `json:"needed,omitempty"`   // services that need it, directly or through others
	Places  int      `json:"places,omitempty"`   // where it runs, if the model says
	Weight  float64  `json:"weight"`             // of those cut off
}

// Link names an edge.
type Link struct {
	From   string   `json:"from"`
	To     string   `json:"to"`
	Kind   EdgeKind `json:"kind"`
	Passed int64    `json:"passed,omitempty"` // calls that were let pass
	Tried  int64    `json:"tried,omitempty"`  // calls that were refused
	Told   int64    `json:"told,omitempty"`   // records of others that tell of one
}

// Privilege is what a service may and was not seen to do. That it was not seen does not mean that it is not needed: look
// at how long was watched.
type Privilege struct {
	Service string   `json:"service"`
	Edges   []Link   `json:"edges,omitempty"`  // of which nothing is used
	Routes  []string `json:"routes,omitempty"` // of edges that are used
	Allowed int      `json:"allowed"`          // edges it has
	Weight  float64  `json:"weight"`           // of what the unused edges lead to
}

// Radius sums up what a taken service reaches.
type Radius struct {
	Service string  `json:"service"`
	Direct  float64 `json:"direct"`
	Total   float64 `json:"total"`
	Share   float64 `json:"share"`
}

// Analyse tells what follows from a map. What is declared and what is used both count as needed.
func (m *Map) Analyse() *Analysis {
	g := newGraph(m, func(e *Edge) bool { return e.Kind != Message && (e.Declared || e.Used()) })
	out := g.heads()
	found := components(out)
	a := &Analysis{
		SinglePoints: m.singlePoints(g, out), Cycles: m.cycles(out, found), Deepest: m.deepest(g, out, found),
		Recovery: m.recovery(g), Unreached: []string{}, Undeclared: []Link{}, Plain: []Link{}, Radius: []Radius{},
	}
	reached := make([]bool, len(m.Nodes))
	for _, i := range reach(out, g.index[EdgeNode]) {
		reached[i] = true
	}
	for i := range m.Nodes {
		if m.Nodes[i].Kind == KindService && !reached[i] {
			a.Unreached = append(a.Unreached, m.Nodes[i].Name)
		}
	}
	m.links(a)
	if m.Observed() {
		a.Privileges = m.privileges()
	}
	s := m.takeable()
	for _, name := range m.services() {
		r := s.from(name)
		a.Radius = append(a.Radius, Radius{name, r.Direct, r.Total, r.Share})
	}
	slices.SortStableFunc(a.Radius, func(a, b Radius) int { return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(b.Direct, a.Direct)) })
	a.Cuts = s.fleetCuts()
	return a
}

// links sorts out the edges that call for a look.
func (m *Map) links(a *Analysis) {
	if m.Observed() {
		a.Unused = []Link{}
	}
	for i := range m.Edges {
		e := &m.Edges[i]
		l := Link{From: e.From, To: e.To, Kind: e.Kind}
		if e.Seen != nil {
			l.Passed, l.Tried, l.Told = e.Seen.Passed(), e.Seen.Refused, e.Seen.Foreign
		}
		if m.Observed() && e.Declared && !e.Used() && e.Kind != Message { // messages are seen by their broker alone
			a.Unused = append(a.Unused, l)
		}
		if !e.Declared {
			a.Undeclared = append(a.Undeclared, l)
		}
		if e.Encryption == Plain || e.Seen != nil && e.Seen.Plain > 0 {
			a.Plain = append(a.Plain, l)
		}
	}
}

// singlePoints are the services that some way from the gateway must pass, and those that hold the fleet together.
func (m *Map) singlePoints(g *graph, out [][]int) []SinglePoint {
	in := reversed(out)
	idom, order := dominators(out, in, g.index[EdgeNode])
	inside := newGraph(m, func(e *Edge) bool { return e.Kind == Call && (e.Declared || e.Used()) })
	splits := articulations(inside.heads())
	list := []SinglePoint{}
	for i := range m.Nodes {
		n := &m.Nodes[i]
		if n.Kind != KindService {
			continue
		}
		p := SinglePoint{Service: n.Name, Splits: splits[i], Places: len(n.Places)}
		under := make([]bool, len(out))
		under[i] = true
		for _, at := range order[1:] {
			if at != i && under[idom[at]] {
				under[at] = true
				if m.Nodes[at].Kind == KindService {
					p.CutsOff = append(p.CutsOff, m.Nodes[at].Name)
					p.Weight += m.Weight(&m.Nodes[at])
				}
			}
		}
		if len(p.CutsOff) == 0 && p.Splits == 0 {
			continue
		}
		for _, at := range reach(in, i)[1:] {
			if m.Nodes[at].Kind == KindService {
				p.Needed = append(p.Needed, m.Nodes[at].Name)
			}
		}
		slices.Sort(p.CutsOff)
		slices.Sort(p.Needed)
		list = append(list, p)
	}
	slices.SortStableFunc(list, func(a, b SinglePoint) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(len(b.Needed), len(a.Needed)))
	})
	return list
}

func (m *Map) cycles(out [][]int, found [][]int) [][]string {
	list := [][]string{}
	for _, c := range found {
		if len(c) > 1 || slices.Contains(out[c[0]], c[0]) {
			list = append(list, m.names(c))
		}
	}
	slices.SortFunc(list, slices.Compare)
	return list
}

func (m *Map) names(nodes []int) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = m.Nodes[n].Name
	}
	return out
}

// deepest is the longest chain of services that call each other, from the gateway on. Of a circle it passes one service.
func (m *Map) deepest(g *graph, out [][]int, found [][]int) []string {
	of := make([]int, len(out))
	for c, members := range found {
		for _, n := range members {
			of[n] = c
		}
	}
	depth, next := make([]int, len(found)), make([]int, len(found))
	for c, members := range found { // what is called comes first
		next[c] = -1
		for _, n := range members {
			for _, to := range out[n] {
				if d := of[to]; d != c && m.Nodes[to].Kind == KindService && depth[d]+1 > depth[c] {
					depth[c], next[c] = depth[d]+1, d
				}
			}
		}
	}
	var path []string
	for c := next[of[g.index[EdgeNode]]]; c >= 0; c = next[c] {
		path = append(path, m.Nodes[found[c][0]].Name)
	}
	return path
}

// recovery brings back first what needs nothing, and within a wave what most others need.
func (m *Map) recovery(g *graph) [][]string {
	out := g.heads()
	for i := range m.Nodes {
		for _, name := range m.Nodes[i].After {
			if to, ok := g.index[name]; ok {
				out[i] = append(out[i], to)
			}
		}
	}
	in := reversed(out)
	wave := make([]int, len(out))
	waves := [][]int{}
	found := components(out)
	for _, c := range found {
		w := 0
		for _, n := range c {
			for _, to := range out[n] {
				if m.Nodes[to].Kind == KindService && !slices.Contains(c, to) {
					w = max(w, wave[to]+1)
				}
			}
		}
		for _, n := range c {
			if wave[n] = w; m.Nodes[n].Kind == KindService {
				for len(waves) <= w {
					waves = append(waves, nil)
				}
				waves[w] = append(waves[w], n)
			}
		}
	}
	list := make([][]string, len(waves))
	for w, nodes := range waves {
		needed := map[int]int{}
		for _, n := range nodes {
			needed[n] = len(reach(in, n))
		}
		slices.SortFunc(nodes, func(a, b int) int { return cmp.Or(cmp.Compare(needed[b], needed[a]), cmp.Compare(a, b)) })
		list[w] = m.names(nodes)
	}
	return list
}

// privileges finds for every service, and for the gateway, what it may and does not.
func (m *Map) privileges() []Privilege {
	of := map[string]*Privilege{}
	for i := range m.Edges {
		e := &m.Edges[i]
		if !e.Declared || e.Kind == Message {
			continue
		}
		p := of[e.From]
		if p == nil {
			p = &Privilege{Service: e.From}
			of[e.From] = p
		}
		p.Allowed++
		if !e.Used() {
			p.Edges = append(p.Edges, Link{From: e.From, To: e.To, Kind: e.Kind})
			p.Weight += m.Weight(m.Node(e.To))
			continue
		}
		for _, r := range e.Routes {
			if len(e.Seen.Routes) < mostNames && !slices.Contains(e.Seen.Routes, r) {
				p.Routes = append(p.Routes, r)
			}
		}
	}
	list := []Privilege{}
	for i := range m.Nodes {
		if p := of[m.Nodes[i].Name]; p != nil && len(p.Edges)+len(p.Routes) > 0 {
			list = append(list, *p)
		}
	}
	slices.SortStableFunc(list, func(a, b Privilege) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(len(b.Edges)+len(b.Routes), len(a.Edges)+len(a.Routes)))
	})
	return list
}
