package topology

import (
	"net"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
)

// Side is who saw a call.
type Side uint8

// The sides. A call between services is seen by both, and counts once.
const (
	Callee Side = iota // who was called, or the gateway, for itself
	Caller             // who called
)

// Sighting is one call as somebody saw it: one of our proxies, or another that looks at the fleet.
type Sighting struct {
	Time     time.Time
	From, To string // names of nodes; of the gateway EdgeNode
	Kind     EdgeKind
	Side     Side
	Refused  bool
	Failed   bool
	Plain    bool // seen on the wire without TLS
	In, Out  int64
	Took     time.Duration
	Identity string   // SPIFFE ID of the caller; empty: none
	Roles    []string // of the end user
	User     bool     // there is one
	Route    string
	Protocol string
}

// sight makes a sighting of an event, or tells that the event is of no call between two that can be told.
func (f *Fold) sight(e *event.Event) (Sighting, bool) {
	s := Sighting{
		Time: e.Time, Kind: Call, Refused: !e.Allowed, In: e.BytesIn, Out: e.BytesOut, Took: e.Took, Identity: e.Workload, Route: e.Route,
		Failed: e.Allowed && (e.Status >= 500 || e.Aborted == "upstream" || e.Aborted == "timeout"),
		From:   f.caller(e.Workload), To: f.target(e),
	}
	if e.User != nil {
		s.User, s.Roles = true, e.User.Roles
	}
	if c := e.Connection; c != nil {
		s.Protocol = c.Protocol
		s.Failed = e.Allowed && e.UpstreamTook == 0
	}
	switch e.SeenAt() {
	case event.SideUnknown:
		s.From, s.Identity = EdgeNode, ""
		// What the edge of a mesh forwards is recorded by the sidecar, too, and that counts.
		s.Side = Caller
	case event.SideInbound:
		s.Plain = e.TLSVersion == ""
	case event.SideOutbound:
		s.Side = Caller
	case event.SideEgress:
		s.Kind, s.To, s.Route = Egress, strings.ToLower(e.Host), ""
		if _, _, err := net.SplitHostPort(s.To); err != nil {
			return s, false
		}
	}
	return s, s.From != "" && s.To != "" && s.From != s.To
}

// target is the service that was asked: the one that was found, else the one that was named.
func (f *Fold) target(e *event.Event) string {
	if e.Service != "" {
		return e.Service
	}
	host := e.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host = strings.TrimSuffix(strings.ToLower(host), model.MeshHost); f.declared[host] {
		return host
	}
	return ""
}
