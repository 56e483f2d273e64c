package topology

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
)

const serviceInfix = "/service/"

// Bounds on what events can add, for some of it is what attackers choose.
const (
	mostUndeclared = 1000 // nodes and edges each, that our proxies saw
	mostForeign    = 250  // that nothing but records of others tells of
	mostNames      = 64   // identities, roles and routes of an edge
)

// Fold adds what events show to a map. It is for one goroutine.
type Fold struct {
	m        *Map
	began    *Map              // with
	ids      map[string]string // names by SPIFFE ID
	own      string            // what the IDs of own services begin with; empty without a mesh
	declared map[string]bool
	places   map[string]string // services by where they run, as host:port
	nodes    map[string]bool
	edges    map[edgeKey]*folded
	strange  int // edges added so far that nobody declared
	hearsay  int // and of which nothing but records of others told
}

// folded is an edge as both of its sides saw it. The same calls are in both.
type folded struct {
	edge Edge
	seen [sides]*Seen
}

// NewFold begins with what is declared, or with a map of before, whose observations stay. The map is not changed.
func NewFold(m *Map) *Fold {
	c := *m
	c.Nodes = slices.Clone(m.Nodes)
	f := &Fold{m: &c, began: m, ids: map[string]string{}, declared: map[string]bool{}, places: map[string]string{}, nodes: map[string]bool{}, edges: map[edgeKey]*folded{}}
	for i := range m.Nodes {
		n := &m.Nodes[i]
		f.nodes[n.Name] = true
		f.declared[n.Name] = n.Kind == KindService
		if n.Kind == KindService {
			for _, place := range n.Places {
				f.places[place] = n.Name
			}
		}
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

// Event folds in one event. Of acts and log records those count that tell of a call; records that another closes do not.
func (f *Fold) Event(e *event.Event) {
	if e.Open {
		return
	}
	s, ok := f.sight(e)
	if !ok && (e.Act != nil || e.Log != nil) {
		return
	}
	if s.Side != Foreign { // what is only told does not say that anything was watched
		f.count(1, e.Time, e.Time)
	}
	if !ok || !f.see(&s) {
		f.m.Omitted++
	}
}

func (f *Fold) count(events int64, first, last time.Time) {
	f.m.Events += events
	if f.m.From.IsZero() || first.Before(f.m.From) {
		f.m.From = first
	}
	if last.After(f.m.Until) {
		f.m.Until = last
	}
}

// see adds a sighting, unless too much is there that nobody declared.
func (f *Fold) see(s *Sighting) bool {
	e := f.edge(edgeKey{s.From, s.To, s.Kind}, s.Protocol, s.Side)
	if e == nil {
		return false
	}
	if e.seen[s.Side] == nil {
		e.seen[s.Side] = &Seen{First: s.Time}
	}
	e.seen[s.Side].add(s)
	return true
}

// edge is the one between two nodes, which are added if they are not there; nil: too much is.
func (f *Fold) edge(k edgeKey, protocol string, side Side) *folded {
	if e := f.edges[k]; e != nil {
		if !e.edge.Declared { // one of several, whatever came first
			e.edge.Protocol = max(e.edge.Protocol, protocol)
		}
		return e
	}
	added, most := &f.strange, mostUndeclared
	if side == Foreign {
		added, most = &f.hearsay, mostForeign
	}
	if *added >= most {
		return nil
	}
	*added++
	f.meet(k.from, KindService)
	kind := KindService
	if k.kind == Egress {
		kind = KindOutside
	}
	f.meet(k.to, kind)
	e := &folded{edge: Edge{From: k.from, To: k.to, Kind: k.kind, Protocol: protocol}}
	f.edges[k] = e
	return e
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
	if x.Side == Foreign {
		s.Foreign++
		return
	}
	n := 1 + x.More
	s.Calls += n
	s.Refused += n * int64(b2i(x.Refused))
	s.Failed += int64(b2i(x.Failed))
	s.Plain += int64(b2i(x.Plain))
	s.In += x.In
	s.Out += x.Out
	if !x.Refused {
		s.Latency.Add(x.Took)
	}
	s.Identities = include(s.Identities, x.Identity)
	for _, p := range x.Policies {
		s.Policies = include(s.Policies, p)
	}
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
		out.Seen = out.Seen.and(more(e.seen[Callee], e.seen[Caller])).and(e.seen[Foreign])
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
	out.Routes, out.Policies = union(callee.Routes, caller.Routes), union(callee.Policies, caller.Policies)
	return &out
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		out = include(out, s)
	}
	return out
}

// clone shares nothing with s.
func (s *Seen) clone() *Seen {
	if s == nil {
		return nil
	}
	out := *s
	out.Latency.Counts = slices.Clone(s.Latency.Counts)
	out.Identities, out.Roles = slices.Clone(s.Identities), slices.Clone(s.Roles)
	out.Routes, out.Policies = slices.Clone(s.Routes), slices.Clone(s.Policies)
	return &out
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
	out.Foreign = s.Foreign + o.Foreign
	out.In, out.Out = s.In+o.In, s.Out+o.Out
	out.Latency = s.Latency.plus(o.Latency)
	out.Identities, out.Roles, out.Routes = union(s.Identities, o.Identities), union(s.Roles, o.Roles), union(s.Routes, o.Routes)
	out.Policies = union(s.Policies, o.Policies)
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
