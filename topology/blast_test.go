package topology

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// randomMap is a fleet with calls, messages, hosts outside, shared secrets and forwarded tokens.
func randomMap(r *rand.Rand) *Map {
	m := &Map{Format: Format, Fleet: "random", Weights: map[string]float64{"a": 1, "b": 3}, Nodes: []Node{{Name: EdgeNode, Kind: KindEdge, Declared: true}}}
	n := 1 + r.IntN(14)
	name := func(i int) string { return fmt.Sprintf("s%02d", i) }
	for i := range n {
		node := Node{Name: name(i), Kind: KindService, Declared: true}
		for _, class := range []string{"a", "b"} {
			if r.IntN(3) == 0 {
				node.Data = append(node.Data, class)
			}
		}
		if r.IntN(4) == 0 {
			node.Secrets = []string{fmt.Sprintf("env S%d", r.IntN(3))}
		}
		switch r.IntN(6) {
		case 0:
			node.Tokens = AccessTokens
		case 1, 2:
			node.Tokens = Transactions
		}
		if r.IntN(4) == 0 {
			node.Open = []string{"route"}
		}
		m.Nodes = append(m.Nodes, node)
	}
	for range r.IntN(3 * n) {
		from, to := r.IntN(n), r.IntN(n)
		kind := []EdgeKind{Call, Call, Call, Message}[r.IntN(4)]
		if from != to && !slices.ContainsFunc(m.Edges, func(e Edge) bool { return e.key() == edgeKey{name(from), name(to), kind} }) {
			m.Edges = append(m.Edges, Edge{From: name(from), To: name(to), Kind: kind, Declared: true, Users: r.IntN(4) == 0})
		}
	}
	m.sort()
	return m
}

// taken says in the plainest words what a taken service takes: again and again, until nothing new comes.
func taken(m *Map, service string, without Cut) map[string]bool {
	got := map[string]bool{service: true}
	for {
		before := len(got)
		for i := range m.Nodes {
			a := &m.Nodes[i]
			if !got[a.Name] {
				continue
			}
			for j := range m.Nodes {
				b := &m.Nodes[j]
				for _, kind := range []EdgeKind{Call, Message} {
					by := map[EdgeKind]By{Call: ByIdentity, Message: ByMessage}[kind]
					e := m.Edge(a.Name, b.Name, kind)
					if e != nil && (!e.Users || a.Tokens != NoTokens) && (without.From != a.Name || without.To != b.Name || without.Kind != by) {
						got[b.Name] = true
					}
				}
				if a.Tokens == AccessTokens && len(b.Open) > 0 && without.Kind != ByToken {
					got[b.Name] = true
				}
				for _, secret := range a.Secrets {
					if slices.Contains(b.Secrets, secret) && (without.Kind != BySecret || without.From != secret) {
						got[b.Name] = true
					}
				}
			}
		}
		if len(got) == before {
			return got
		}
	}
}

func TestBlastIsWhatIsTaken(t *testing.T) {
	for seed := range uint64(500) {
		m := randomMap(rand.New(rand.NewPCG(seed, 2)))
		for _, service := range m.services() {
			b, err := m.Blast(service)
			if err != nil {
				t.Fatal(err)
			}
			want := taken(m, service, Cut{})
			total := 0.0
			for _, r := range b.Allowed.Services {
				if !want[r.Name] || len(r.By) == 0 || r.Path[0] != service || r.Path[len(r.Path)-1] != r.Name {
					t.Errorf("seed %d: %s reaches %+v", seed, service, r)
				}
				total += r.Weight
			}
			if len(b.Allowed.Services) != len(want)-1 || total != b.Allowed.Total {
				t.Errorf("seed %d: %s reaches %d of weight %v and %v, want %v", seed, service, len(b.Allowed.Services), b.Allowed.Total, total, slices.Sorted(maps.Keys(want)))
			}
		}
	}
}

// TestCutsAreRight takes away each edge, each secret and the tokens, one at a time, and looks what is lost.
func TestCutsAreRight(t *testing.T) {
	for seed := range uint64(40) {
		m := randomMap(rand.New(rand.NewPCG(seed, 3)))
		for _, service := range m.services() {
			b, err := m.Blast(service)
			if err != nil {
				t.Fatal(err)
			}
			listed := map[string]bool{}
			for i, c := range b.Cuts {
				listed[fmt.Sprint(c.From, c.To, c.Kind)] = true
				if i > 0 && c.Shrinks > b.Cuts[i-1].Shrinks {
					t.Errorf("seed %d: %s: cuts are not sorted", seed, service)
				}
				checkCut(t, m, service, c)
			}
			if len(b.Cuts) == mostCuts {
				continue
			}
			for i := range m.Edges { // nothing is left out
				c := Cut{From: m.Edges[i].From, To: m.Edges[i].To, Kind: map[EdgeKind]By{Call: ByIdentity, Message: ByMessage}[m.Edges[i].Kind]}
				if len(taken(m, service, c)) < len(taken(m, service, Cut{})) && !listed[fmt.Sprint(c.From, c.To, c.Kind)] {
					t.Errorf("seed %d: %s: cut %+v is not listed", seed, service, c)
				}
			}
		}
	}
}

func checkCut(t *testing.T, m *Map, service string, c Cut) {
	t.Helper()
	whole, left := taken(m, service, Cut{}), taken(m, service, c)
	var lost []string
	shrinks := 0.0
	for _, name := range slices.Sorted(maps.Keys(whole)) {
		if !left[name] {
			lost = append(lost, name)
			shrinks += m.Weight(m.Node(name))
		}
	}
	if !slices.Equal(lost, c.Loses) || shrinks != c.Shrinks {
		t.Errorf("%s: cut %+v really loses %v, weight %v", service, c, lost, shrinks)
	}
}

func TestFleetCutsAreTheSum(t *testing.T) {
	for seed := range uint64(40) {
		m := randomMap(rand.New(rand.NewPCG(seed, 4)))
		s := m.takeable()
		for _, c := range s.fleetCuts() {
			sum := 0.0
			for _, service := range m.services() {
				whole, left := taken(m, service, Cut{}), taken(m, service, c)
				for name := range whole {
					if !left[name] {
						sum += m.Weight(m.Node(name))
					}
				}
			}
			if sum != c.Shrinks {
				t.Errorf("seed %d: %+v really shrinks %v", seed, c, sum)
			}
		}
	}
}
