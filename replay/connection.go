package replay

import (
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/stream"
)

// connection decides about a connection that is no HTTP, and about what leaves the fleet: once, by who calls whom.
func (r *Replay) connection(e *event.Event, o *Outcome) {
	if o.Kept = keptConnection(e, &o.Was); o.Kept != "" {
		return
	}
	caller := &proxy.Workload{SPIFFEID: e.Workload}
	switch e.SeenAt() {
	case event.SideInbound, event.SideOutbound:
		svc := r.whole.ServiceByName(e.Service)
		if svc == nil {
			o.Now = gone()
			return
		}
		ids := make([]string, len(svc.Callers))
		for i, name := range svc.Callers {
			ids[i] = model.ServiceID(r.whole.TrustDomain, name)
		}
		allowed, why := stream.Callers(svc.Position.String(), ids...).Decide(caller)
		o.Now = verdict(allowed, why)
	case event.SideEgress:
		r.outside(e, o)
	case event.SideUnknown:
		o.Unknown = "side: not where the connection was seen"
	}
}

func verdict(allowed bool, why []event.Reason) Verdict {
	v := Verdict{Allowed: allowed, Stage: event.StageAuthorise}
	if len(why) > 0 {
		v.Code, v.Text, v.Policy, v.Position = why[0].Code, why[0].Text, why[0].Policy, why[0].Position
	}
	return v
}

// keptConnection says why a connection is not decided again, "" if it is.
func keptConnection(e *event.Event, was *Verdict) string {
	switch {
	case e.Allowed:
		return ""
	case was.Stage == "":
		return "refused for want of room or of a record"
	case was.Stage != event.StageAuthorise:
		return "refused by " + was.Stage
	case was.Code != "call-not-declared":
		return "refused for " + was.Code
	}
	return ""
}

// outside decides about a host outside the fleet.
func (r *Replay) outside(e *event.Event, o *Outcome) {
	svc := r.whole.ServiceByName(serviceOf(e.Workload))
	if svc == nil {
		o.Now = gone()
		return
	}
	host, digits, err := net.SplitHostPort(e.Host)
	port, err2 := strconv.Atoi(digits)
	if err != nil || err2 != nil {
		o.Unknown = "host: not which one was meant"
		return
	}
	protocol := "http"
	if e.Connection != nil {
		protocol = e.Connection.Protocol
	}
	declared := func(h model.Egress) bool { return h.Host == host && h.Port == port && h.Protocol == protocol }
	if !slices.ContainsFunc(svc.Egress, declared) {
		if o.Unknown = undeclared(svc.Egress, host, port, protocol); o.Unknown != "" {
			return
		}
		o.Now = Verdict{Stage: event.StageAuthorise, Code: "call-not-declared", Text: "the model declares no such host outside the fleet", Position: svc.Position.String()}
		return
	}
	o.Now = Verdict{Allowed: true, Stage: event.StageAuthorise, Code: "declared-host", Text: "the model declares this host", Position: svc.Position.String()}
}

// undeclared says why a host that the model does not name could still be one that it does, "" if it cannot.
func undeclared(hosts []model.Egress, host string, port int, protocol string) string {
	if protocol != "tcp" {
		return "" // the client named the host
	}
	_, err := netip.ParseAddr(host)
	for _, h := range hosts {
		switch {
		case h.Port != port:
		case h.Protocol != "tcp":
			return "host: the client may have named it in what nobody read then"
		case err == nil:
			return "host: an address, and not whose it was"
		}
	}
	return ""
}
