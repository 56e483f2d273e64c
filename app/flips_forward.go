package app

import (
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/policy"
)

// forwardFlips names what mends a request that was let pass and got no answer, for each reason that the trail holds.
func forwardFlips(e *event.Event, s *event.Stage, snap *model.Snapshot) []policy.Flip {
	position := ""
	if service := snap.ServiceByName(e.Service); service != nil {
		position = service.Position.String()
	}
	caller := "the edge" // whose identity does not hold
	if e.Side != event.SideUnknown {
		caller = "service/" + sidecarOf(e)
	}
	var all []policy.Flip
	for _, r := range s.Reasons {
		if text := forwardMend(r.Code, caller, e); text != "" {
			all = append(all, policy.Flip{Text: text, Position: position})
		}
	}
	return all
}

func forwardMend(code, caller string, e *event.Event) string {
	callee := "service/" + e.Service
	switch code {
	case "own-identity-revoked":
		return "if " + caller + " may call again: palisade restore, with its name as palisade status shows it"
	case "own-identity-expired", "own-identity-missing":
		return "palisade status shows until when the SVID of " + caller + " lasts, and its log why it got no other"
	case "peer-revoked":
		return "if it may be called again: palisade restore " + callee
	case "peer-identity":
		return "who listens at " + e.Upstream + " does not prove to be " + callee + ": start its sidecar there, or mend where it is"
	case "upstream-unreachable":
		if e.Side == event.SideInbound {
			return "start " + callee + ": its sidecar finds nobody at " + e.Upstream
		}
		return "start " + callee + ", in a mesh its sidecar, or mend its address"
	case "upstream-timeout":
		return "find out why " + callee + " takes so long, or give it longer: timeout"
	case "circuit-open":
		return callee + " is tried again by itself in a moment; what failed last is told beside it"
	}
	return ""
}
