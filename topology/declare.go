package topology

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/model"
)

// The weights of data classes unless told otherwise: what must not be in a record weighs more.
const (
	defaultWeight  = 1
	redactedWeight = 3
)

// Declare draws what a model declares. Fleet adds what a snapshot does not hold (secrets, data classes, what starts
// before what) and may be nil.
func Declare(s *model.Snapshot, fleet *model.Fleet) *Map {
	d := &declarer{Snapshot: s, fleet: fleet, m: &Map{Format: Format, Fleet: s.Fleet, Snapshot: s.Version, Weights: map[string]float64{}}}
	d.node(Node{Name: EdgeNode, Kind: KindEdge, ID: d.edgeID()})
	for i := range s.Services {
		d.service(&s.Services[i])
	}
	d.exposures()
	for i := range s.Services {
		d.calls(&s.Services[i])
		d.messages(&s.Services[i])
	}
	d.m.sort()
	d.tokens()
	return d.m
}

type declarer struct {
	*model.Snapshot
	fleet *model.Fleet
	m     *Map
}

func (d *declarer) node(n Node) {
	n.Declared = true
	d.m.Nodes = append(d.m.Nodes, n)
}

func (d *declarer) edge(e Edge) {
	e.Declared = true
	d.m.Edges = append(d.m.Edges, e)
}

func (d *declarer) edgeID() string {
	if d.Mesh == nil {
		return ""
	}
	return model.EdgeID(d.TrustDomain)
}

func (d *declarer) service(s *model.ResolvedService) {
	n := Node{Name: s.Name, Kind: KindService, ID: s.ID, Owner: s.Owner, Data: s.Data, Places: s.Sidecars}
	if d.Mesh == nil {
		_, n.Places = scheme(s.Address)
	}
	for _, class := range s.Data {
		d.m.Weights[class] = defaultWeight
		if d.fleet != nil && len(d.fleet.DataClasses[class].Redact) > 0 {
			d.m.Weights[class] = redactedWeight
		}
	}
	if d.fleet != nil {
		declared := d.fleet.Services[s.Name]
		n.Secrets = secrets(&declared)
		if declared.Run != nil {
			n.After = slices.Sorted(slices.Values(declared.Run.After))
		}
	}
	d.node(n)
}

// secrets names what a service is given that is not written in the model: {from_env: NAME} and {from_file: PATH}.
func secrets(s *model.Service) []string {
	values := []model.Value{s.BrokerKeys}
	if s.Run != nil {
		values = slices.AppendSeq(values, maps.Values(s.Run.Env))
	}
	var out []string
	for _, v := range values {
		switch {
		case v.FromEnv != "":
			out = append(out, "env "+v.FromEnv)
		case v.FromFile != "":
			out = append(out, "file "+v.FromFile)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// exposures are the edges from the gateway, one for each service that it asks.
func (d *declarer) exposures() {
	routes := map[string][]string{}
	for i := range d.Routes {
		routes[d.Routes[i].Service] = append(routes[d.Routes[i].Service], d.Routes[i].ID)
	}
	for i := range d.m.Nodes {
		n := &d.m.Nodes[i]
		if n.Open = routes[n.Name]; len(n.Open) > 0 {
			protocol, encryption := d.wire(d.ServiceByName(n.Name))
			d.edge(Edge{From: EdgeNode, To: n.Name, Kind: Call, Protocol: protocol, Encryption: encryption, Routes: n.Open})
		}
	}
}

// calls are the edges to a service from those that may call it, and out of the fleet.
func (d *declarer) calls(s *model.ResolvedService) {
	protocol, encryption := d.wire(s)
	for _, caller := range s.Callers {
		if caller == s.Name || d.ServiceByName(caller) == nil {
			continue
		}
		e := Edge{From: caller, To: s.Name, Kind: Call, Protocol: protocol, Encryption: encryption}
		users := len(s.Serve) > 0
		for i := range s.Serve {
			if r := &s.Serve[i]; slices.Contains(r.Callers, model.ServiceID(d.TrustDomain, caller)) {
				e.Routes = append(e.Routes, r.ID)
				users = users && !r.Anonymous
			}
		}
		e.Users = users && len(e.Routes) > 0
		if len(s.Serve) == 0 || len(e.Routes) > 0 {
			d.edge(e)
		}
	}
	for _, out := range s.Egress {
		name := net.JoinHostPort(out.Host, strconv.Itoa(out.Port))
		if !slices.ContainsFunc(d.m.Nodes, func(n Node) bool { return n.Name == name }) {
			d.node(Node{Name: name, Kind: KindOutside})
		}
		e := Edge{From: s.Name, To: name, Kind: Egress, Protocol: out.Protocol}
		switch out.Protocol {
		case "tls":
			e.Encryption = TLS
		case "http":
			e.Encryption = Plain
		}
		if len(d.m.Edges) == 0 || d.m.Edges[len(d.m.Edges)-1].key() != e.key() { // one host may be declared for two protocols
			d.edge(e)
		}
	}
}

// messages are the edges from a service to those that receive what it may publish.
func (d *declarer) messages(s *model.ResolvedService) {
	for _, broker := range slices.Sorted(maps.Keys(s.Publish)) {
		for i := range d.Services {
			to := &d.Services[i]
			if to.Name == s.Name {
				continue
			}
			var subjects []string
			for _, p := range s.Publish[broker] {
				if slices.ContainsFunc(to.Subscribe[broker], func(t string) bool { return meet(p, t) }) {
					subjects = append(subjects, p)
				}
			}
			if len(subjects) == 0 {
				continue
			}
			e := Edge{From: s.Name, To: to.Name, Kind: Message, Protocol: "nats", Encryption: Mutual, Via: broker, Routes: subjects}
			if at := slices.IndexFunc(d.m.Edges, func(o Edge) bool { return o.key() == e.key() }); at >= 0 { // over a second broker
				d.m.Edges[at].Via += ", " + broker
				d.m.Edges[at].Routes = append(d.m.Edges[at].Routes, subjects...)
				continue
			}
			d.edge(e)
		}
	}
}

// meet tells whether some subject matches both patterns of NATS.
func meet(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; i < len(as) && i < len(bs); i++ {
		if as[i] == ">" || bs[i] == ">" {
			return true
		}
		if as[i] != bs[i] && as[i] != "*" && bs[i] != "*" {
			return false
		}
	}
	return len(as) == len(bs)
}

// wire is how a service speaks, and how that is protected on the way to it.
func (d *declarer) wire(s *model.ResolvedService) (string, Encryption) {
	protocol, _ := scheme(s.Address)
	switch {
	case d.Mesh != nil:
		return protocol, Mutual
	case protocol == "https":
		return protocol, TLS
	}
	return protocol, Plain
}

func scheme(address string) (string, []string) {
	protocol, at, _ := strings.Cut(address, "://")
	return protocol, []string{at}
}

// tokens finds out which services see tokens of end users: those that the gateway asks, and, as transaction tokens
// travel on, those that they ask. Access tokens go no further than the model says.
func (d *declarer) tokens() {
	if len(d.Providers) == 0 {
		return
	}
	g := newGraph(d.m, func(e *Edge) bool { return e.Kind == Call && e.Declared })
	for _, i := range g.reach(g.index[EdgeNode]) {
		if n := &d.m.Nodes[i]; n.Kind == KindService {
			n.Tokens = Transactions
			if d.Mesh == nil {
				n.Tokens = NoTokens // nothing but what the gateway forwards
			}
		}
	}
	for i := range d.Routes {
		if r := &d.Routes[i]; r.ForwardToken || d.Mesh == nil {
			d.m.Node(r.Service).Tokens = AccessTokens
		}
	}
}

// SetWeight says how much a data class weighs. It reports whether some service holds that class.
func (m *Map) SetWeight(class string, weight float64) bool {
	_, known := m.Weights[class]
	if known {
		m.Weights[class] = weight
	}
	return known
}
