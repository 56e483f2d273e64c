package topology

import (
	"net"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/event"
)

// peerNames are the attributes of a log record that name who was called, and its port, the most telling first: of OpenTelemetry's
// semantic conventions (peer, server, and the older net.peer), and of the Elastic Common Schema (destination).
var peerNames = [...]struct{ host, port string }{
	{"peer.service", ""},
	{"server.address", "server.port"},
	{"net.peer.name", "net.peer.port"},
	{"destination.domain", "destination.port"},
	{"destination.address", "destination.port"},
	{"destination.ip", "destination.port"},
}

// told makes a sighting of a log record in which a declared service names whom it calls.
func (f *Fold) told(e *event.Event) (Sighting, bool) {
	s := Sighting{Time: e.Time, Kind: Call, Side: Foreign, From: e.Service}
	if !f.declared[s.From] {
		return s, false
	}
	for _, name := range peerNames {
		host := strings.ToLower(strings.TrimSpace(e.Log.Attributes[name.host]))
		if host == "" {
			continue
		}
		if port := e.Log.Attributes[name.port]; port != "" {
			host = net.JoinHostPort(host, port)
		}
		if s.To = f.service(host); s.To == "" {
			s.Kind, s.To = Egress, host
			if !outside(host) {
				continue
			}
		}
		return s, s.To != s.From
	}
	return s, false
}

// attempt makes a sighting of an act that tells of somebody who tried to call, and was refused before there was a request.
func (f *Fold) attempt(e *event.Event) (Sighting, bool) {
	s := Sighting{Time: e.Time, Kind: Call, Refused: true, From: f.caller(e.Act.Who), Identity: e.Act.Who, More: max(e.Act.Omitted, 0)}
	switch {
	case !strings.HasPrefix(e.Act.Who, "spiffe://"): // who it was is not known
		return s, false
	case e.Act.Kind == event.KindRefused:
		s.To = e.Act.Proxy
		return s, f.declared[s.To] && s.From != s.To
	case e.Act.Kind == event.KindBypass:
		protocol, to, _ := strings.Cut(e.Act.Object, " ")
		s.Side, s.Protocol = Caller, protocol
		if s.To = f.service(to); s.To == "" {
			s.Kind, s.To = Egress, to
		}
		return s, outside(to) && s.From != s.To
	}
	return s, false
}

// outside tells whether a text is a host with a port, and no address of the host itself.
func outside(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || host == "localhost" {
		return false
	}
	if ip := net.ParseIP(host); ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil && len(host) <= 253
}
