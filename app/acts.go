package app

import (
	"cmp"
	"path"
	"strings"

	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/event"
)

// actOfControl is what control did, saw or refused, as an event.
func actOfControl(e control.Event) *event.Event {
	if kind, ok := strings.CutPrefix(e.Kind, "proxy-"); ok {
		out := actOfNote(e.Who, wire.Note{At: e.At, Kind: kind, Text: e.Text})
		out.Act.Object, out.Act.Proxy = cmp.Or(e.Object, out.Act.Object), "control"
		return out
	}
	kind := event.KindAdminister
	switch e.Kind {
	case "apply":
		if event.Result(e.Outcome).Known() == event.Done { // else it is not in force
			kind = event.KindApplied
		}
	case "rolled-back":
		kind = event.KindRolledBack
	case "revoke":
		kind = event.KindRevoked
	case "restore":
		kind = event.KindRestored
	case "token":
		kind = event.KindJoinToken
	case "hold":
		kind = event.KindHeld
	case "release":
		kind = event.KindReleased
	case "erase":
		kind = event.KindErased
	case "enrolled":
		kind = event.KindEnrolled
	case "enrolment-denied":
		kind = event.KindEnrolment
	case "events-refused":
		kind = event.KindForged
	case "identity-denied":
		kind = event.KindIdentity
	}
	a := &event.Act{Kind: kind, Who: e.Who, Role: string(e.Role), Object: e.Object, Outcome: event.Result(e.Outcome).Known(), Text: e.Text, Proxy: "control"}
	if kind == event.KindAdminister {
		a.Reason = e.Kind
	}
	return &event.Event{Time: e.At, Act: a}
}

// actOfNote is what happened to a proxy, as an event. Self is its SPIFFE ID. What a note is called stays as the reason.
func actOfNote(self string, n wire.Note) *event.Event {
	a := &event.Act{Kind: event.KindOther, Who: self, Outcome: event.Done, Reason: n.Kind, Text: n.Text, Proxy: path.Base(self)}
	switch n.Kind {
	case "enrolled":
		a.Kind = event.KindEnrolled
	case "not-enrolled":
		a.Kind, a.Outcome = event.KindEnrolment, event.Denied
	case "denied":
		a.Kind, a.Outcome = event.KindIdentity, event.Denied
	case "accepted":
		a.Kind = event.KindTook
	case "rejected":
		a.Kind, a.Outcome = event.KindTook, event.Failed
	case "refused":
		a.Kind, a.Outcome = event.KindStatement, event.Denied
	case "stale-serve", "stale-stop":
		a.Kind, a.Outcome = event.KindStale, event.Failed
	case "fresh":
		a.Kind = event.KindFresh
	case "state-lost", "not-kept":
		a.Kind, a.Outcome = event.KindState, event.Failed
	case "cut":
		a.Kind = event.KindCut
	case "revoked":
		a.Kind = event.KindIdentityRevoked
	}
	return &event.Event{Time: n.At, Act: a}
}
