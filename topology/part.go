package topology

import (
	"fmt"
	"slices"
	"time"
)

// Part is what was observed in a stretch of time, with nothing that is declared: what is kept of events that are gone. Folding
// in the parts of a time gives what folding in its events would, as long as no edge has more names than are kept.
type Part struct {
	Format  int        `json:"format"`
	First   time.Time  `json:"first,omitzero"` // event
	Last    time.Time  `json:"last,omitzero"`
	Events  int64      `json:"events,omitempty"`
	Omitted int64      `json:"omitted,omitempty"`
	Edges   []PartEdge `json:"edges"` // sorted by From, To, Kind
}

// PartEdge is an edge as each side saw it.
type PartEdge struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Kind     EdgeKind `json:"kind"`
	Protocol string   `json:"protocol,omitempty"`
	Callee   *Seen    `json:"callee,omitempty"`
	Caller   *Seen    `json:"caller,omitempty"`
	Foreign  *Seen    `json:"foreign,omitempty"`
}

func (e *PartEdge) key() edgeKey { return edgeKey{e.From, e.To, e.Kind} }

// Part returns what was folded in, without what the map began with.
func (f *Fold) Part() *Part {
	p := &Part{
		Format: Format, First: f.m.From, Last: f.m.Until, Events: f.m.Events - f.began.Events, Omitted: f.m.Omitted - f.began.Omitted,
		Edges: []PartEdge{},
	}
	for k, e := range f.edges {
		if e.seen != ([sides]*Seen{}) {
			p.Edges = append(p.Edges, PartEdge{k.from, k.to, k.kind, e.edge.Protocol, e.seen[Callee].clone(), e.seen[Caller].clone(), e.seen[Foreign].clone()})
		}
	}
	slices.SortFunc(p.Edges, func(a, b PartEdge) int { return a.key().compare(b.key()) })
	return p
}

// Add folds in what was observed at another time. The part is not changed.
func (f *Fold) Add(p *Part) {
	if p.Events > 0 {
		f.count(p.Events, p.First, p.Last)
	}
	f.m.Omitted += p.Omitted
	for i := range p.Edges {
		x := &p.Edges[i]
		side := Callee
		if x.Callee == nil && x.Caller == nil {
			side = Foreign
		}
		e := f.edge(x.key(), x.Protocol, side)
		if e == nil {
			f.m.Omitted += x.calls()
			continue
		}
		for s, seen := range [sides]*Seen{x.Callee, x.Caller, x.Foreign} {
			e.seen[s] = e.seen[s].and(seen.clone())
		}
	}
}

// calls is about how many events are behind an edge.
func (e *PartEdge) calls() (n int64) {
	for _, s := range []*Seen{e.Callee, e.Caller, e.Foreign} {
		if s != nil {
			n += s.Calls + s.Foreign
		}
	}
	return n
}

// Check refuses what no part of ours has.
func (p *Part) Check() error {
	if p.Format != Format {
		return fmt.Errorf("the format of this part of a map is %d, and this program reads %d", p.Format, Format)
	}
	for i := range p.Edges {
		for _, s := range []*Seen{p.Edges[i].Callee, p.Edges[i].Caller, p.Edges[i].Foreign} {
			if s != nil && !s.Latency.sound() {
				return fmt.Errorf("the latency of the edge from %q to %q cannot be", p.Edges[i].From, p.Edges[i].To)
			}
		}
	}
	return nil
}
