package app

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/policy"
)

// flips names the smallest changes that would let a refused request pass, by the stage that refused it.
func flips(e *event.Event, snap *model.Snapshot, set *policy.Set) []policy.Flip {
	if e.Connection != nil || e.Side == event.SideEgress {
		return connectionFlips(e, snap)
	}
	s := e.Refusing()
	if s == nil {
		return nil
	}
	at := ""
	if r := routeOf(snap, e.Route); r != nil {
		at = r.Position.String()
	}
	first := s.Cause()
	switch s.Name {
	case event.StageAuthorise:
		return set.Explain(queryOf(e))
	case event.StageAuthenticate:
		return []policy.Flip{{Text: "send an access token that is valid for this route: Authorization: Bearer <token>", Position: at}}
	case event.StageInspect:
		return []policy.Flip{
			{Text: "if this is no attack, exclude the parameter from the rule: waf: {exclude: [{rule: " + first.Policy + ", target: " + first.Data["target"] + ", reason: …}]}", Position: at},
			{Text: "or only record on this route while tuning: dry_run: [inspect]", Position: at},
		}
	case event.StageInspectAnswer:
		return []policy.Flip{
			{Text: "if this is no leak, exclude the rule: waf: {exclude: [{rule: " + first.Policy + ", reason: …}]}", Position: at},
			{Text: "or leave this route's answers alone: waf: {answers: false}", Position: at},
		}
	case event.StageValidate:
		if first.Data["drift"] == "true" {
			return []policy.Flip{{Text: "declare this endpoint in the service's API document, if the service really has it"}}
		}
		return []policy.Flip{{Text: "send what the API document declares: " + placed(first)}}
	case event.StageLimitAddress, event.StageLimitPrincipal:
		return []policy.Flip{{Text: "wait as long as Retry-After said, or raise the limit", Position: at}}
	case event.StageRoute:
		if first.Code == "method-not-declared" {
			return []policy.Flip{{Text: "add " + e.Method + " to the route's methods, and to a grant of it"}}
		}
		if first.Code == "call-not-declared" {
			flip := declareCall(e.Host, observe.Caller(e), snap)
			flip.Text = "declare the call, if it is meant to be: " + flip.Text + ", and where serve is set there, this path too"
			return []policy.Flip{flip}
		}
		return []policy.Flip{{Text: "expose it: services.<name>.expose: [{host: " + e.Host + ", path: " + e.Path + ", methods: [" + e.Method + "], allow: [{roles: [<role>]}]}], or allow: [{anyone: true}] if nobody need sign in"}}
	case event.StageCanonicalise:
		return []policy.Flip{{Text: "send it unambiguously: " + first.Text}}
	case event.StageForward:
		return forwardFlips(e, s, snap)
	}
	return nil
}

// placed is the text of a reason behind the place in a value that it is about.
func placed(r event.Reason) string {
	if at := r.Data["pointer"]; at != "" {
		return "at " + at + ": " + r.Text
	}
	return r.Text
}

func routeOf(snap *model.Snapshot, id string) *model.ResolvedRoute {
	for i := range snap.Routes {
		if snap.Routes[i].ID == id {
			return &snap.Routes[i]
		}
	}
	for i := range snap.Services {
		for j := range snap.Services[i].Serve {
			if snap.Services[i].Serve[j].ID == id {
				return &snap.Services[i].Serve[j]
			}
		}
	}
	return nil
}

// declareCall says how a call between services that nobody declared would be. Who may call already stays among the callers.
func declareCall(callee, caller string, snap *model.Snapshot) policy.Flip {
	key := "services." + callee + ".callers"
	s := snap.ServiceByName(callee)
	switch {
	case s == nil:
		return policy.Flip{Text: key + ": [" + caller + "]"}
	case s.Calls != (model.Position{}):
		return policy.Flip{Text: "add " + caller + " to " + key, Position: s.Calls.String()}
	}
	callers := append(slices.Clone(s.Callers), caller)
	slices.Sort(callers)
	return policy.Flip{Text: key + ": [" + strings.Join(slices.Compact(callers), ", ") + "]", Position: s.Position.String()}
}

// queryOf asks again what was asked then, as far as the record holds it: claims are not recorded.
func queryOf(e *event.Event) *policy.Query {
	q := &policy.Query{Workload: e.Workload, Method: e.Method, Route: e.Route, Host: e.Host, Path: e.Path, Time: e.Time, TLSVersion: e.TLSVersion}
	q.Client, _ = netip.ParseAddr(e.Client)
	if u := e.User; u != nil {
		q.User = &policy.User{Provider: u.Provider, Issuer: u.Issuer, Subject: u.Subject, Roles: u.Roles, ClientID: u.ClientID}
	}
	return q
}
