package replay

import (
	"context"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/field"
)

// Outcome is what became of one record.
type Outcome struct {
	Was, Now Verdict
	Kept     string // why what was decided then still holds, without a second decision; empty: decided again
	Unknown  string // what is not recorded and would be needed to decide; empty: decided, or kept
	Service  string // that is asked, by the model if it knows
	Route    string
	Template string
}

// Narrowed and Widened say how the decision has changed.
func (o *Outcome) Narrowed() bool { return o.Unknown == "" && o.Was.Allowed && !o.Now.Allowed }

// Widened reports whether what was refused is let pass now.
func (o *Outcome) Widened() bool { return o.Unknown == "" && !o.Was.Allowed && o.Now.Allowed }

// Verdict is a decision and its first ground.
type Verdict struct {
	Allowed  bool   `json:"allowed"`
	Stage    string `json:"stage,omitempty"`
	Code     string `json:"code,omitempty"`
	Text     string `json:"text,omitempty"`
	Policy   string `json:"policy,omitempty"`
	Position string `json:"position,omitempty"`
}

// verdictOf finds the stage that refused, or the permit that let pass.
func verdictOf(e *event.Event) Verdict {
	v := Verdict{Allowed: e.Allowed, Code: e.Problem}
	var by *event.Stage
	for i := range e.Trail {
		switch s := &e.Trail[i]; {
		case e.Allowed && s.Name == event.StageAuthorise && s.Outcome == event.OutcomePass:
			by = s
		case !e.Allowed && !s.DryRun && (s.Outcome == event.OutcomeDeny || s.Outcome == event.OutcomeError):
			by = s
		}
	}
	if by == nil {
		return v
	}
	v.Stage = by.Name
	r := by.Cause()
	v.Code, v.Text, v.Policy, v.Position = r.Code, r.Text, r.Policy, r.Position
	return v
}

// Decide decides about what e records. Acts, records of others, and records that were written before forwarding and that another one closes, are
// not for it: see Decidable.
func (r *Replay) Decide(ctx context.Context, e *event.Event) (Outcome, error) {
	o := Outcome{Was: verdictOf(e), Service: e.Service, Route: e.Route, Template: e.Template}
	o.Now = o.Was
	if e.Connection != nil || e.Side == event.SideEgress {
		r.connection(e, &o)
		return o, nil
	}
	if o.Kept = kept(e, &o.Was); o.Kept != "" {
		return o, nil
	}
	if o.Unknown = unreadable(e); o.Unknown != "" {
		return o, nil
	}
	st, err := r.at(ctx, e)
	if err != nil {
		return o, err
	}
	if st == nil {
		o.Now = gone()
		return o, nil
	}
	rec := &record{Event: e}
	now := st.engine.DecideAt(context.WithValue(ctx, recordKey{}, rec), rec.call(), e.Time)
	if now.Route != "" {
		o.Service, o.Route, o.Template = now.Service, now.Route, now.Template
	}
	if o.Unknown = rec.unknown; o.Unknown == "" {
		o.Now = verdictOf(now)
	}
	return o, nil
}

// Decidable reports whether e records a decision, and is the last word about it.
func Decidable(e *event.Event) bool { return e.Act == nil && e.Log == nil && !e.Open }

func gone() Verdict {
	return Verdict{Stage: event.StageRoute, Code: "service-not-declared", Text: "the model declares no such service"}
}

// kept says why a record is not decided again, "" if it is.
func kept(e *event.Event, was *Verdict) string {
	switch {
	case e.Allowed && e.Route == "":
		return "answered by the gateway itself"
	case e.Allowed:
		return ""
	case was.Stage == "":
		return "refused for want of room or of a record"
	}
	switch was.Stage {
	case event.StageCanonicalise, event.StageForward, event.StageInspectAnswer:
		return "refused by " + was.Stage
	case event.StageRoute:
		if was.Code == "body-too-large" {
			return "refused for the size of its body"
		}
	}
	return ""
}

// unreadable says what of a request was taken out of its record that every decision needs, "" if nothing was.
func unreadable(e *event.Event) string {
	for _, f := range []struct{ name, value string }{{"path", e.Path}, {"host", e.Host}, {"method", e.Method}} {
		if redacted(f.value) {
			return f.name + ": redacted"
		}
	}
	if e.User != nil {
		if _, end, _, found := keyring.Pseudonyms(e.User.Subject); found && end == len(e.User.Subject) {
			return "user: the person is erased"
		}
	}
	return ""
}

// call is the request as the front would read it again, without what no stage that decides again looks at: the query, the body
// and most fields.
func (r *record) call() *engine.Call {
	conn := &engine.Conn{Listener: r.Listener, TLS: proxy.TLS{Version: r.TLSVersion, Cipher: r.TLSCipher, Group: r.TLSGroup, Server: r.TLSServer}}
	if a, err := netip.ParseAddr(r.Client); err == nil {
		conn.Peer = a
	}
	if r.Workload != "" {
		conn.Workload = &proxy.Workload{SPIFFEID: r.Workload}
	}
	c := &engine.Call{Conn: conn, Method: r.Method, Target: r.Path, Host: r.Host, Proto: r.Proto}
	switch {
	case r.upgrade():
		c.Header = field.List{
			{Name: "Connection", Value: "Upgrade"},
			{Name: "Upgrade", Value: "websocket"},
			{Name: "Sec-Websocket-Version", Value: "13"},
			{Name: "Sec-Websocket-Key", Value: "AAAAAAAAAAAAAAAAAAAAAA=="},
		}
	case r.Allowed && r.BytesIn > 0 && r.Method != http.MethodGet && r.Method != http.MethodHead:
		c.Length = r.BytesIn
		c.Header = field.List{{Name: "Content-Length", Value: strconv.FormatInt(r.BytesIn, 10)}}
	}
	return c
}

// upgrade reports whether the client asked for another protocol, as far as the record tells.
func (r *record) upgrade() bool {
	if r.Status == http.StatusSwitchingProtocols {
		return true
	}
	s := r.stage(event.StageRoute)
	return s.Cause().Code == "upgrade-not-declared"
}
