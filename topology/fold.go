package topology

import (
	"cmp"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
)

const serviceInfix = "/service/"

// Bounds on what events can add, for some of it is what attackers choose.
const (
	mostUndeclared = 1000 // nodes and edges each
	mostNames      = 64   // identities, roles and routes of an edge
)

// Fold adds what events show to a map. It is for one goroutine.
type Fold struct {
	m        *Map
	ids      map[string]string // names by SPIFFE ID
	own      string            // what the IDs of own services begin with; empty without a mesh
	declared map[string]bool
	nodes    map[string]bool
	edges    map[edgeKey]*folded
	strange  int // nodes and edges added so far that nobody declared
}

// folded is an edge as both of its sides saw it. The same calls are in both.
type folded struct {
	edge Edge
	seen [2]*Seen
}

// NewFold begins with what is declared, or with a map of before, whose observations stay. The map is not changed.
func NewFold(m *Map) *Fold {
	c := *m
	c.Nodes = slices.Clone(m.Nodes)
	f := &Fold{m: &c, ids: map[string]string{}, declared: map[string]bool{}, nodes: map[string]bool{}, edges: map[edgeKey]*folded{}}
	for i := range m.Nodes {
		n := &m.Nodes[i]
		f.nodes[n.Name] = true
		f.declared[n.Name] = n.Kind == KindService
		if n.ID != "" {
			f.ids[n.ID] = n.Name
		}
		if domain, ok := strings.CutSuffix(n.ID, model.EdgeID("")[len("spiffe://"):]); ok && n.Kind == KindEdge {
			f.own = domain + serviceInfix
		}
	}
	for i := range m.Edges {
		f.edges[m.Edges[i].key()] = &folded{edge: m.Edges[i]}
	}
	return f
}

// Event folds in one event. Acts, log records, and records that another closes, are none of a map's business.
func (f *Fold) Event(e *event.Event) {
	if e.Act != nil || e.Log != nil || e.Open {
		return
	}
	f.count(e)
	s, ok := f.sight(e)
	if !ok || !f.see(&s) {
		f.m.Omitted++
	}
}

func (f *Fold) count(e *event.Event) {
	f.m.Events++
	if f.m.From.IsZero() || e.Time.Before(f.m.From) {
		f.m.From = e.Time
	}
	if e.Time.After(f.m.Until) {
		f.m.Until = e.Time
	}
}

// see adds a sighting, unless too much is there that nobody declared.
func (f *Fold) see(s *Sighting) bool {
	k := edgeKey{s.From, s.To, s.Kind}
	e := f.edges[k]
	if e == nil {
		if f.strange >= mostUndeclared {
			return false
		}
		f.strange++
		f.meet(s.From, KindService)
		kind := KindService
		if s.Kind == Egress {
			kind = KindOutside
		}
		f.meet(s.To, kind)
		e = &folded{edge: Edge{From: s.From, To: s.To, Kind: s.Kind, Protocol: s.Protocol}}
		f.edges[k] = e
	}
	if e.seen[s.Side] == nil {
		e.seen[s.Side] = &Seen{First: s.Time}
	}
	e.seen[s.Side].add(s)
	return true
}

func (f *Fold) meet(name string, kind NodeKind) {
	if !f.nodes[name] {
		f.nodes[name] = true
		f.m.Nodes = append(f.m.Nodes, Node{Name: name, Kind: kind})
	}
}

func (s *Seen) add(x *Sighting) {
	if x.Time.Before(s.First) {
		s.First = x.Time
	}
	if x.Time.After(s.Last) {
		s.Last = x.Time
	}
	s.Calls++
	s.Refused += int64(b2i(x.Refused))
	s.Failed += int64(b2i(x.Failed))
	s.Plain += int64(b2i(x.Plain))
	s.In += x.In
	s.Out += x.Out
	if !x.Refused {
		s.Latency.Add(x.Took)
	}
	s.Identities = include(s.Identities, x.Identity)
	if !x.Refused { // what was asked for in vain is no use of a role or route
		s.Routes = include(s.Routes, x.Route)
		for _, r := range x.Roles {
			s.Roles = include(s.Roles, r)
		}
		if !x.User {
			s.Roles = include(s.Roles, "-")
		}
	}
}

// include keeps a short list sorted and without doubles.
func include(list []string, s string) []string {
	at, found := slices.BinarySearch(list, s)
	if s == "" || found || len(list) >= mostNames {
		return list
	}
	return slices.Insert(list, at, s)
}

// Map returns what is known by now. Of two sides that saw an edge the one counts that saw more: the caller's also knows
// what it was refused, the callee's also what came past the caller's proxy.
func (f *Fold) Map() *Map {
	m := *f.m
	m.Nodes = slices.Clone(f.m.Nodes)
	m.Edges = make([]Edge, 0, len(f.edges))
	for _, e := range f.edges {
		out := e.edge
		out.Seen = out.Seen.and(more(e.seen[Callee], e.seen[Caller]))
		m.Edges = append(m.Edges, out)
	}
	m.sort()
	return &m
}

func more(callee, caller *Seen) *Seen {
	if callee == nil || caller == nil {
		return cmp.Or(callee, caller)
	}
	out := *callee
	if caller.Calls > callee.Calls {
		out = *caller
		out.Plain, out.Identities = callee.Plain, callee.Identities // only they know
	}
	out.Routes = union(callee.Routes, caller.Routes)
	return &out
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		out = include(out, s)
	}
	return out
}

// and adds what was seen later.
func (s *Seen) and(o *Seen) *Seen {
	if s == nil || o == nil {
		return cmp.Or(s, o)
	}
	out := *s
	if o.First.Before(out.First) {
		out.First = o.First
	}
	if o.Last.After(out.Last) {
		out.Last = o.Last
	}
	out.Calls, out.Refused, out.Failed, out.Plain = s.Calls+o.Calls, s.Refused+o.Refused, s.Failed+o.Failed, s.Plain+o.Plain
	out.In, out.Out = s.In+o.In, s.Out+o.Out
	out.Latency = s.Latency.plus(o.Latency)
	out.Identities, out.Roles, out.Routes = union(s.Identities, o.Identities), union(s.Roles, o.Roles), union(s.Routes, o.Routes)
	return &out
}

// caller names who has an identity: a service by its name, also one that is no longer declared, others by their ID.
func (f *Fold) caller(id string) string {
	if name := f.ids[id]; name != "" {
		return name
	}
	if name, ok := strings.CutPrefix(id, f.own); ok && f.own != "" {
		return name
	}
	return id
}
