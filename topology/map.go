// Package topology knows who calls whom: a Map of what the model declares and what events show, and what follows from it.
// Which service is a single point of failure, what a taken service reaches, which permissions nobody uses, in which order
// a fleet comes back. A Map is plain data: it is kept as JSON, drawn by topology/draw, and compared with another.
//
// It decides nothing and enforces nothing; for that see policy and proxy. It reads no storage: events are handed in.
package topology

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Format is the version of a Map's JSON.
const Format = 1

// Map is who calls whom in a fleet, as of one model and one window of time.
type Map struct {
	Format   int                `json:"format"`
	Fleet    string             `json:"fleet"`
	Snapshot string             `json:"snapshot,omitempty"` // version of the model
	Models   []Force            `json:"models,omitempty"`   // of a map that was kept: those in force in its time, the oldest first
	From     time.Time          `json:"from,omitzero"`      // of what was observed: the first event
	Until    time.Time          `json:"until,omitzero"`     // the last; zero where nothing was observed
	Events   int64              `json:"events,omitempty"`   // that were folded in
	Omitted  int64              `json:"omitted,omitempty"`  // of these, not drawn: no service could be told, or there were too many
	Weights  map[string]float64 `json:"weights,omitempty"`  // of data classes
	Nodes    []Node             `json:"nodes"`              // sorted by name
	Edges    []Edge             `json:"edges"`              // sorted by From, To, Kind
}

// Force says which model was in force from a time on.
type Force struct {
	Since    time.Time `json:"since"`
	Snapshot string    `json:"snapshot"`
}

// NodeKind tells what a node is.
type NodeKind string

// The kinds of nodes.
const (
	KindEdge    NodeKind = "edge"    // the gateway, where all from outside begins
	KindService NodeKind = "service" // also a broker
	KindOutside NodeKind = "outside" // a host outside the fleet, as host:port
)

// EdgeNode is the name of the gateway's node. No service has it: names of services have no parentheses.
const EdgeNode = "(edge)"

// Node is who calls or is called.
type Node struct {
	Name     string   `json:"name"`
	Kind     NodeKind `json:"kind"`
	Declared bool     `json:"declared"`
	ID       string   `json:"id,omitempty"` // SPIFFE ID
	Owner    string   `json:"owner,omitempty"`
	Data     []string `json:"data,omitempty"`   // classes that it holds
	Places   []string `json:"places,omitempty"` // host:port where the model says that it runs; none: not said
	After    []string `json:"after,omitempty"`  // services that must be ready before it, whether it calls them or not
	Secrets  []string `json:"secrets,omitempty"`
	Tokens   Tokens   `json:"tokens,omitempty"`
	Open     []string `json:"open,omitempty"` // ids of its routes at the gateway
}

// Tokens tells which tokens of end users pass through a service.
type Tokens string

// The kinds of tokens a service sees.
const (
	NoTokens     Tokens = ""
	Transactions Tokens = "transaction" // worth something between services alone
	AccessTokens Tokens = "access"      // worth something at the gateway
)

// EdgeKind tells how one node reaches another.
type EdgeKind string

// The kinds of edges.
const (
	Call    EdgeKind = "call"    // a request, or a connection
	Message EdgeKind = "message" // what it publishes at a broker is delivered there
	Egress  EdgeKind = "egress"  // out of the fleet
)

// Encryption tells how an edge is protected on the wire.
type Encryption string

// How edges are protected.
const (
	Unknown Encryption = ""
	Plain   Encryption = "plain"
	TLS     Encryption = "tls"  // the one that is called proves who it is
	Mutual  Encryption = "mtls" // both do
)

// Edge is that one node calls another, or may.
type Edge struct {
	From       string     `json:"from"`
	To         string     `json:"to"`
	Kind       EdgeKind   `json:"kind"`
	Declared   bool       `json:"declared"`
	Protocol   string     `json:"protocol,omitempty"` // http, https, h2c, tcp, tls, nats
	Encryption Encryption `json:"encryption,omitempty"`
	Routes     []string   `json:"routes,omitempty"`  // ids of routes that it may ask, sorted; of messages their subjects
	Users      bool       `json:"users,omitempty"`   // every one of its routes is open only on behalf of an end user
	Via        string     `json:"via,omitempty"`     // of messages, the broker
	Permits    []string   `json:"permits,omitempty"` // ids of policies that can allow some of its routes (SetPolicies), in their order
	Forbids    []string   `json:"forbids,omitempty"` // that can forbid some
	Seen       *Seen      `json:"seen,omitempty"`    // nil: not observed
}

// Seen is what was observed of an edge.
type Seen struct {
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Calls   int64     `json:"calls"`             // all, also those that were refused
	Refused int64     `json:"refused,omitempty"` // by a gateway or sidecar
	Failed  int64     `json:"failed,omitempty"`  // let pass, and answered with 5xx or not at all
	Plain   int64     `json:"plain,omitempty"`   // that came without TLS
	Foreign int64     `json:"foreign,omitempty"` // records of others that tell of such a call; none of the other figures has them
	In      int64     `json:"in,omitempty"`      // bytes towards the one that is called
	Out     int64     `json:"out,omitempty"`
	Latency Sketch    `json:"latency,omitzero"`

	Identities []string `json:"identities,omitempty"` // SPIFFE IDs of callers; sorted, and bounded like those below
	Roles      []string `json:"roles,omitempty"`      // of end users on whose behalf; "-": on nobody's
	Routes     []string `json:"routes,omitempty"`     // ids of routes
	Policies   []string `json:"policies,omitempty"`   // ids of those that permitted
}

// Passed is how many calls were let pass.
func (s *Seen) Passed() int64 { return s.Calls - s.Refused }

// Used tells whether a call was let pass. Attempts that were refused do not make an edge used.
func (e *Edge) Used() bool { return e.Seen != nil && e.Seen.Passed() > 0 }

// Observed tells whether events were folded in. Without, nothing can be said about what is used.
func (m *Map) Observed() bool { return m.Events > 0 }

// Rate is the calls per second over the window of the map; zero for a window of no length.
func (m *Map) Rate(e *Edge) float64 {
	if window := m.Until.Sub(m.From).Seconds(); e.Seen != nil && window > 0 {
		return float64(e.Seen.Calls) / window
	}
	return 0
}

// Node returns the node of that name, or nil.
func (m *Map) Node(name string) *Node {
	i, found := slices.BinarySearchFunc(m.Nodes, name, func(n Node, name string) int { return cmp.Compare(n.Name, name) })
	if !found {
		return nil
	}
	return &m.Nodes[i]
}

// Edge returns the edge between two nodes, or nil.
func (m *Map) Edge(from, to string, kind EdgeKind) *Edge {
	i, found := slices.BinarySearchFunc(m.Edges, edgeKey{from, to, kind}, func(e Edge, k edgeKey) int { return e.key().compare(k) })
	if !found {
		return nil
	}
	return &m.Edges[i]
}

// Weight is what it means that a node is reached: 1, and the weights of the data classes that it holds.
func (m *Map) Weight(n *Node) float64 {
	if n.Kind != KindService {
		return 0
	}
	w := 1.0
	for _, class := range n.Data {
		w += m.Weights[class]
	}
	return w
}

type edgeKey struct {
	from, to string
	kind     EdgeKind
}

func (e *Edge) key() edgeKey { return edgeKey{e.From, e.To, e.Kind} }

func (k edgeKey) compare(o edgeKey) int {
	return cmp.Or(cmp.Compare(k.from, o.from), cmp.Compare(k.to, o.to), cmp.Compare(k.kind, o.kind))
}

func (m *Map) sort() {
	slices.SortFunc(m.Nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(m.Edges, func(a, b Edge) int { return a.key().compare(b.key()) })
}

// Read reads a Map's JSON, and checks that it is one. What stands beside the keys of a Map is left alone.
func Read(r io.Reader) (*Map, error) {
	var m Map
	if err := json.NewDecoder(r).Decode(&m); err != nil {
		return nil, fmt.Errorf("reading a map: %w", err)
	}
	if m.Format != Format {
		return nil, fmt.Errorf("reading a map: its format is %d, and this program reads %d; make it with \"palisade map --format json\"", m.Format, Format)
	}
	m.sort()
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("reading a map: %w", err)
	}
	return &m, nil
}

// check refuses what no map of ours has; what is drawn and computed counts on it.
func (m *Map) check() error {
	for i, n := range m.Nodes {
		if i > 0 && m.Nodes[i-1].Name == n.Name {
			return fmt.Errorf("node %q stands there twice", n.Name)
		}
	}
	if len(m.Nodes) == 0 {
		return errors.New("it has no nodes")
	}
	for i := range m.Edges {
		e := &m.Edges[i]
		if m.Node(e.From) == nil || m.Node(e.To) == nil {
			return fmt.Errorf("the edge from %q to %q has an end that is no node", e.From, e.To)
		}
		if i > 0 && m.Edges[i-1].key() == e.key() {
			return fmt.Errorf("the edge from %q to %q stands there twice", e.From, e.To)
		}
		if e.Seen != nil && !e.Seen.Latency.sound() {
			return fmt.Errorf("the latency of the edge from %q to %q cannot be", e.From, e.To)
		}
	}
	return nil
}
