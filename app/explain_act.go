package app

import (
	"fmt"
	"io"
	"strings"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/policy"
)

// act writes who did what.
func (x *Explanation) act(w io.Writer, st observe.Style) {
	e, a := x.Event, x.Event.Act
	_, colour := observe.ActMark(a)
	fmt.Fprintf(w, "%s %s  %s\n", st.Paint(observe.Bold, "Act"), observe.Printable(string(a.Kind)), st.Paint(colour, string(a.Outcome)))
	fmt.Fprintf(w, "  id        %s\n  time      %s\n", e.ID, e.Time.Format("2006-01-02 15:04:05.000 MST"))
	for _, line := range [][2]string{
		{"by", a.Who}, {"role", a.Role}, {"from", e.Client}, {"on", a.Object}, {"seen by", a.Proxy}, {"reason", a.Reason}, {"text", a.Text}, {"snapshot", short(e.Snapshot)},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "  %-9s %s\n", line[0], observe.Printable(line[1]))
		}
	}
	if a.Omitted > 0 {
		fmt.Fprintf(w, "  %-9s %d like it since the one before were left out of the record\n", "omitted", a.Omitted)
	}
}

// actFlips names what would let a refused act pass, or mends what failed.
func actFlips(e *event.Event) []policy.Flip {
	a := e.Act
	mend := ""
	switch {
	case a.Outcome == event.Done:
	case a.Kind == event.KindRefused:
		mend = connectMend(a)
	case a.Kind == event.KindApplied && a.Proxy == "edge":
		mend = "mend the model; palisade validate shows all that is wrong with it"
	case a.Kind == event.KindRenewal, a.Kind == event.KindEnding, a.Kind == event.KindExpired:
		mend = "palisade status shows until when each SVID lasts; they are renewed as soon as the authority answers"
	case a.Kind == event.KindEnrolment, a.Kind == event.KindIdentity:
		mend = "declare the service and what proves it, or give the proxy a join token"
	}
	if mend == "" {
		return nil
	}
	return []policy.Flip{{Text: mend}}
}

// connectMend says what would let a connection pass that a sidecar refused.
func connectMend(a *event.Act) string {
	service := a.Who
	if _, name, ok := strings.Cut(a.Who, "/service/"); ok {
		service = "service/" + name
	}
	switch peer.Reason(a.Reason) { //nolint:exhaustive // others are not for an operator to mend
	case peer.Revoked:
		return "if it may connect again: palisade restore " + service
	case peer.NoCertificate:
		return "services reach each other through their own sidecars, which show an SVID; who has none stays outside"
	case peer.UnknownDomain, peer.Unexpected:
		return "only services of the own trust domain may connect"
	case peer.Expired:
		return "connect with the SVID that was renewed since"
	}
	return ""
}
