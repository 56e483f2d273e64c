package topology

import (
	"net"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/policy"
)

// Side is who saw a call.
type Side uint8

// The sides. A call between services is seen by both, and counts once.
const (
	Callee  Side = iota // who was called, or the gateway, for itself
	Caller              // who called
	Foreign             // none of our proxies: the record of a service or system, which is believed no further than that it says so

	sides = 3
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
	Policies []string // that permitted it
	More     int64    // calls like it that are told of at once
}

// sight makes a sighting of an event, or tells that the event is of no call between two that can be told.
func (f *Fold) sight(e *event.Event) (Sighting, bool) {
	switch {
	case e.Log != nil:
		return f.told(e)
	case e.Act != nil:
		return f.attempt(e)
	}
	s := Sighting{
		Time: e.Time, Kind: Call, Refused: !e.Allowed, In: e.BytesIn, Out: e.BytesOut, Took: e.Took, Identity: e.Workload, Route: e.Route,
		Failed: e.Allowed && (e.Status >= 500 || e.Aborted == "upstream" || e.Aborted == "timeout"),
		From:   f.caller(e.Workload), To: f.target(e),
	}
	if e.User != nil {
		s.User, s.Roles = true, e.User.Roles
	}
	s.Policies = permitting(e)
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

// permitting lists the policies that permitted what an event is of.
func permitting(e *event.Event) []string {
	var out []string
	for i := range e.Trail {
		if e.Trail[i].Name != event.StageAuthorise {
			continue
		}
		for j := range e.Trail[i].Reasons {
			if r := &e.Trail[i].Reasons[j]; r.Code == policy.CodePermit && r.Policy != "" {
				out = append(out, r.Policy)
			}
		}
	}
	return out
}

// target is the service that was asked: the one that was found, else the one that was named.
func (f *Fold) target(e *event.Event) string {
	if e.Service != "" {
		return e.Service
	}
	return f.service(e.Host)
}

// service is the one that is found under a name, with or without a port; empty: none is.
func (f *Fold) service(host string) string {
	if name := f.places[host]; name != "" {
		return name
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host = strings.TrimSuffix(strings.ToLower(host), model.MeshHost); f.declared[host] {
		return host
	}
	return ""
}
