package topology

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// By is with what a taken service takes the next.
type By string

// The ways.
const (
	ByIdentity By = "identity" // its SVID, or its address: it may call
	ByMessage  By = "message"  // what it publishes is believed
	ByToken    By = "token"    // access tokens of end users that it is given, at the gateway
	BySecret   By = "secret"   // one that both are given
)

// Blast is what a service reaches once it is taken.
type Blast struct {
	Service  string   `json:"service"`
	ID       string   `json:"id,omitempty"`
	Data     []string `json:"data,omitempty"`    // its own
	Weight   float64  `json:"weight"`            // its own
	Tokens   Tokens   `json:"tokens,omitempty"`  // of end users that it sees
	Secrets  []string `json:"secrets,omitempty"` // that it is given
	Callers  []string `json:"callers,omitempty"` // who believes its answers, and tells it things
	Allowed  Reach    `json:"allowed"`           // by what is declared
	Observed *Reach   `json:"observed,omitempty"`
	Cuts     []Cut    `json:"cuts,omitempty"` // that shrink Allowed, the best first
}

// Reach is what is reached. The service itself is not counted.
type Reach struct {
	Direct   float64   `json:"direct"`            // weight of what is one step away
	Total    float64   `json:"total"`             // weight of all, if one after another is taken
	Share    float64   `json:"share"`             // of the weight of all other services
	Data     []string  `json:"data,omitempty"`    // classes of what is reached
	Outside  []string  `json:"outside,omitempty"` // hosts to which data can be sent
	Services []Reached `json:"services,omitempty"`
}

// Reached is a service in reach.
type Reached struct {
	Name   string   `json:"name"`
	Steps  int      `json:"steps"` // the fewest
	By     []By     `json:"by"`    // the last of the steps
	Path   []string `json:"path"`  // from the taken service to this one
	Data   []string `json:"data,omitempty"`
	Weight float64  `json:"weight"`
}

// Cut is a permission, secret or token whose end takes services out of reach.
type Cut struct {
	From    string   `json:"from"`
	To      string   `json:"to"`
	Kind    By       `json:"kind"`
	Shrinks float64  `json:"shrinks"` // weight of Loses; of cuts of the whole fleet the sum over all taken services
	Loses   []string `json:"loses,omitempty"`
	Unused  bool     `json:"unused,omitempty"` // no event shows its use
}

// Blast tells what a service reaches once it is taken.
func (m *Map) Blast(service string) (*Blast, error) {
	n := m.Node(service)
	if n == nil || n.Kind != KindService {
		return nil, fmt.Errorf("the map has no service %q; it has %s", service, strings.Join(m.services(), ", "))
	}
	allowed := m.takeable()
	b := &Blast{
		Service: n.Name, ID: n.ID, Data: n.Data, Weight: m.Weight(n), Tokens: n.Tokens, Secrets: n.Secrets,
		Allowed: allowed.from(service), Cuts: allowed.cuts(service),
	}
	for i := range m.Edges {
		if e := &m.Edges[i]; e.To == service && e.Declared && e.Kind == Call {
			b.Callers = append(b.Callers, e.From)
		}
	}
	if m.Observed() {
		seen := m.spread(func(e *Edge) bool { return e.Used() })
		r := seen.from(service)
		b.Observed = &r
	}
	return b, nil
}

func (m *Map) services() []string {
	var out []string
	for i := range m.Nodes {
		if m.Nodes[i].Kind == KindService {
			out = append(out, m.Nodes[i].Name)
		}
	}
	return out
}

// spread is the graph in which a taken service takes others.
type spread struct {
	*graph
	m     *Map
	names []string // of tokens and secrets, which come after the nodes
}

func (m *Map) spread(want func(*Edge) bool) *spread {
	return &spread{graph: newGraph(m, func(e *Edge) bool { return e.From != EdgeNode && want(e) }), m: m}
}

// takeable is the graph of what is declared. What may be called only on behalf of a user is out of reach for a service
// that no user's token ever passes through. Tokens and secrets are places of their own between those that share them.
func (m *Map) takeable() *spread {
	s := m.spread(func(e *Edge) bool { return e.Declared && (!e.Users || m.Node(e.From).Tokens != NoTokens) })
	gateway := -1
	shared := map[string][]int{}
	for i := range m.Nodes {
		if m.Nodes[i].Tokens == AccessTokens {
			if gateway < 0 {
				gateway = s.add("access tokens")
			}
			s.out[i] = append(s.out[i], arc{gateway, -1})
		}
		for _, secret := range m.Nodes[i].Secrets {
			shared[secret] = append(shared[secret], i)
		}
	}
	for i := range m.Nodes {
		if gateway >= 0 && len(m.Nodes[i].Open) > 0 {
			s.out[gateway] = append(s.out[gateway], arc{i, -1})
		}
	}
	for _, secret := range slices.Sorted(maps.Keys(shared)) {
		if len(shared[secret]) < 2 {
			continue
		}
		at := s.add(secret)
		for _, i := range shared[secret] {
			s.out[i] = append(s.out[i], arc{at, -1})
			s.out[at] = append(s.out[at], arc{i, -1})
		}
	}
	return s
}

// add makes a place that is no node.
func (s *spread) add(name string) int {
	s.names = append(s.names, name)
	s.out = append(s.out, nil)
	return len(s.out) - 1
}

// between tells whether a place is a token or a secret, through which a step leads.
func (s *spread) between(place int) bool { return place >= len(s.m.Nodes) }

func (s *spread) way(from int, a arc) By {
	switch {
	case s.between(from) && s.names[from-len(s.m.Nodes)] == "access tokens":
		return ByToken
	case s.between(from):
		return BySecret
	case s.m.Edges[a.edge].Kind == Message:
		return ByMessage
	}
	return ByIdentity
}

// from walks through the graph from a taken service, nearest first.
func (s *spread) from(service string) Reach {
	root := s.index[service]
	steps, before := s.walk(root)
	r := Reach{}
	by := map[int][]By{}
	for from, arcs := range s.out {
		for _, a := range arcs {
			reached := steps[from] >= 0 && !s.between(a.to) && a.to != root
			if cost := 1 - b2i(s.between(from)); reached && steps[a.to] == steps[from]+cost {
				by[a.to] = append(by[a.to], s.way(from, a))
			}
		}
	}
	all := 0.0
	for i := range s.m.Nodes {
		n := &s.m.Nodes[i]
		if i != root {
			all += s.m.Weight(n)
		}
		switch {
		case i == root || steps[i] < 0:
		case n.Kind == KindOutside:
			r.Outside = append(r.Outside, n.Name)
		case n.Kind == KindService:
			x := Reached{Name: n.Name, Steps: steps[i], By: distinct(by[i]), Data: n.Data, Weight: s.m.Weight(n), Path: s.path(before, i)}
			r.Services = append(r.Services, x)
			r.Data = append(r.Data, n.Data...)
			r.Total += x.Weight
			if x.Steps == 1 {
				r.Direct += x.Weight
			}
		}
	}
	r.Data = distinct(r.Data)
	if all > 0 {
		r.Share = r.Total / all
	}
	slices.SortFunc(r.Services, func(a, b Reached) int { return cmp.Or(cmp.Compare(a.Steps, b.Steps), cmp.Compare(a.Name, b.Name)) })
	return r
}

// walk counts the steps to every place, -1 for what is out of reach, and remembers from where each was reached. Out of
// a token or a secret it costs nothing: the step was to get hold of it.
func (s *spread) walk(root int) (steps, before []int) {
	steps, before = make([]int, len(s.out)), make([]int, len(s.out))
	for i := range steps {
		steps[i], before[i] = -1, -1
	}
	steps[root] = 0
	now := []int{root}
	for len(now) > 0 {
		var next []int
		for i := 0; i < len(now); i++ {
			for _, a := range s.out[now[i]] {
				if steps[a.to] >= 0 {
					continue
				}
				before[a.to] = now[i]
				if steps[a.to] = steps[now[i]]; s.between(now[i]) {
					now = append(now, a.to)
					continue
				}
				steps[a.to]++
				next = append(next, a.to)
			}
		}
		now = next
	}
	return steps, before
}

func (s *spread) path(before []int, to int) []string {
	var out []string
	for at := to; at >= 0; at = before[at] {
		if s.between(at) {
			out = append(out, "("+s.names[at-len(s.m.Nodes)]+")")
		} else {
			out = append(out, s.m.Nodes[at].Name)
		}
	}
	slices.Reverse(out)
	return out
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func distinct[T cmp.Ordered](list []T) []T {
	list = slices.Sorted(slices.Values(list))
	return slices.Compact(list)
}
