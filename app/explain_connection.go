package app

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/policy"
)

// connection writes who connected to what.
func (x *Explanation) connection(w io.Writer, st observe.Style, verdict string) {
	e := x.Event
	ended := ""
	if e.Aborted != "" {
		ended = ", broken off by " + e.Aborted
	}
	fmt.Fprintf(w, "%s %s %s → %s  %s%s\n", st.Paint(observe.Bold, "Connection"), e.Connection.Side,
		observe.Printable(observe.Caller(e)), observe.Printable(observe.Destination(e)), verdict, ended)
	fmt.Fprintf(w, "  id        %s\n  time      %s\n  client    %s  %s\n", e.ID, e.Time.Format("2006-01-02 15:04:05.000 MST"), observe.Printable(e.Client),
		protected(e.Connection.Protocol, e))
	if e.Workload != "" {
		fmt.Fprintf(w, "  workload  %s\n", observe.Printable(e.Workload))
	}
	if e.Upstream != "" {
		fmt.Fprintf(w, "  reached   %s\n", observe.Printable(e.Upstream))
	}
	fmt.Fprintf(w, "  carried   %d bytes there, %d back, in %s\n", e.BytesIn, e.BytesOut, e.Took)
}

// protected names a protocol and what protects it on the side that connected; what is handed on to another sidecar is
// protected there.
func protected(protocol string, e *event.Event) string {
	switch {
	case e.Connection.Side == event.SideEgress && protocol == "tls":
		return "TLS between the service and the host, which nobody else reads"
	case e.TLSVersion == "" || e.Connection.Side == event.SideOutbound:
		return protocol + " in the clear"
	}
	return strings.TrimSpace(protocol + " over TLS " + e.TLSVersion + " " + e.TLSGroup)
}

// connectionFlips names what would let a refused connection pass, or a request on one to the outside.
func connectionFlips(e *event.Event, snap *model.Snapshot) []policy.Flip {
	s := e.Refusing()
	if s == nil || e.Allowed {
		return nil
	}
	host, port, err := net.SplitHostPort(e.Host)
	if err != nil {
		host = e.Host
	}
	side := e.SeenAt()
	caller := observe.Caller(e)
	code := s.Cause().Code
	switch {
	case code == "call-not-declared" && side == event.SideEgress:
		at := ""
		if service := snap.ServiceByName(caller); service != nil {
			at = service.Position.String()
		}
		return []policy.Flip{{Text: "declare the host: services." + caller + ".egress: [{host: " + host + ", port: " + port + protocol(e) + "}]", Position: at}}
	case code == "call-not-declared":
		flip := declareCall(e.Service, caller, snap)
		flip.Text = "declare the call: " + flip.Text
		return []policy.Flip{flip}
	case code == "subject-not-declared":
		at, why := "", s.Cause().Data
		if service := snap.ServiceByName(caller); service != nil {
			at = service.Position.String()
		}
		return []policy.Flip{{Text: "declare the subject: services." + caller + "." + why["verb"] + ": {" + e.Service + ": [" + strconv.Quote(why["subject"]) + "]}", Position: at}}
	case s.Name == event.StageAuthenticate:
		return []policy.Flip{{Text: "connect with an SVID that is valid and not revoked, and without credentials of your own"}}
	case s.Name == event.StageLimitPrincipal:
		return []policy.Flip{{Text: "close connections that are no longer needed; this caller has as many as it may"}}
	}
	return nil
}

// protocol is what of a declared host must be said, unless it is TLS.
func protocol(e *event.Event) string {
	if e.Connection == nil || e.Connection.Protocol == "http" {
		return ", protocol: http"
	}
	return ""
}
