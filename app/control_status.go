package app

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/model"
)

// Status shows how every proxy of a fleet stands.
func Status(ctx context.Context, o *Options) error {
	c, err := o.administer()
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.Status(ctx)
	if err != nil {
		return o.asked(err)
	}
	if o.JSON {
		return writeJSON(o.Out, s)
	}
	return o.showStatus(&s)
}

func (o *Options) showStatus(s *admin.Status) error {
	st := o.style()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s  snapshot %s", st.Paint(observe.Bold, "fleet"), s.Fleet, short(s.InForce.Version))
	if m := s.InForce; m.Number > 0 {
		fmt.Fprintf(&b, " in force since %s by %s", m.Since.Local().Format(time.DateTime), observe.Printable(m.Author))
	}
	b.WriteString("\n")
	if r := s.Rollout; r != nil {
		fmt.Fprintf(&b, "%s is being tried by %s since %s\n", short(r.Version), strings.Join(r.Trials, ", "), r.Since.Local().Format(time.TimeOnly))
	}
	if s.Authority.Issuer == admin.IssuerElsewhere {
		b.WriteString("identities come from a Workload API on each host\n")
	}
	if a := s.Authority; !a.Ends.IsZero() {
		fmt.Fprintf(&b, "identities can be issued until %s\n", a.Ends.Local().Format(time.DateTime))
	}
	if all := s.Authority.Revoked; len(all) > 0 {
		fmt.Fprintf(&b, "%s: %s\n", st.Paint(observe.Bad, "revoked"), strings.Join(all, ", "))
	}
	for i := range s.BusServers {
		b.WriteString(busServer(&s.BusServers[i], s.Time))
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROXY\tINSTANCE\tSNAPSHOT\tLAG\tSVID ENDS\tCONNECTIONS\tADDRESS\tPROBLEM")
	for i := range s.Proxies {
		p := &s.Proxies[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", nameOf(s, p), orDash(p.Instance), orDash(short(p.Version)), lag(p), ends(p, s.Time),
			p.Connections, orDash(observe.Printable(strings.Join(p.Addresses, " "))), observe.Printable(strings.Join(problems(p), "; ")))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(s.Proxies) == 0 {
		b.WriteString("no proxy has been heard of yet; palisade join service/NAME makes a token for one\n")
	}
	_, err := io.WriteString(o.Out, b.String())
	return err
}

// busServer says until when the certificate of a server of the bus is good, which control does not renew.
func busServer(b *admin.BusServer, now time.Time) string {
	left := b.Expires.Sub(now).Round(time.Second)
	mend := fmt.Sprintf(": make another one with palisade bus-server %s, or keep it new with --watch", strings.TrimPrefix(b.Name, "bus/"))
	switch {
	case left <= 0:
		return fmt.Sprintf("%s: its last certificate EXPIRED %s ago%s\n", b.Name, -left, mend)
	case b.Ending(now):
		return fmt.Sprintf("%s: its certificate ends in %s SOON%s\n", b.Name, left, mend)
	}
	return fmt.Sprintf("%s: its certificate ends in %s\n", b.Name, left)
}

func nameOf(s *admin.Status, p *admin.Proxy) string {
	return strings.TrimPrefix(p.ID, "spiffe://"+s.TrustDomain+"/")
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func lag(p *admin.Proxy) string {
	if p.Lag == 0 {
		return "-"
	}
	return p.Lag.Std().Round(time.Millisecond).String()
}

// ends says when an SVID ends, by control's clock, and marks what should have been renewed.
func ends(p *admin.Proxy, now time.Time) string {
	left := p.Expires.Sub(now).Round(time.Second)
	switch {
	case p.Expires.IsZero():
		return "-"
	case left <= 0:
		return "EXPIRED " + (-left).String() + " ago"
	case p.Ending(now):
		return "in " + left.String() + " SOON"
	}
	return "in " + left.String()
}

// problems are what keeps a proxy from being as it should.
func problems(p *admin.Proxy) []string {
	var out []string
	if p.Problem != "" {
		out = append(out, p.Problem)
	}
	if p.Away {
		out = append(out, "away since "+p.Seen.Local().Format(time.DateTime))
	}
	switch {
	case p.Rejected != "":
		out = append(out, "rejects the newest snapshot: "+p.Rejected)
	case !p.Current && p.Version == "":
		out = append(out, "serves nothing yet")
	case !p.Current:
		out = append(out, "not on the newest snapshot")
	}
	if p.Failures > 0 {
		out = append(out, strconv.Itoa(p.Failures)+" renewals failed")
	}
	switch p.Stale {
	case "serve":
		out = append(out, "serves on with an SVID that has ended")
	case "stop":
		out = append(out, "has stopped: its SVID has ended")
	}
	return out
}

// Revoke refuses a service, a serial number or a node from now on, and cuts its connections.
func Revoke(ctx context.Context, o *Options, target, reason string) error {
	return o.relist(target, func(c *admin.Client, q admin.RevokeRequest) (string, error) {
		q.Reason = reason
		out, err := c.Revoke(ctx, q)
		if err != nil {
			return "", err
		}
		if o.JSON {
			return "", writeJSON(o.Out, out)
		}
		text := q.String() + " is revoked; no other proxy is there to confirm it\n"
		if out.Confirmed > 0 {
			text = fmt.Sprintf("%s is revoked; %s cut at %s in %s\n", q.String(), count(int(out.Cut), "connection"), proxies(out.Confirmed), out.Took.Std().Round(time.Microsecond))
		}
		if len(out.Missing) > 0 {
			text += "not confirmed by " + strings.Join(out.Missing, ", ") + ": each is told when it is back; until then it may go on\n"
		}
		if out.Volatile {
			text += "it is in force, but not yet stored: revoke again, or it may be forgotten when control restarts\n"
		}
		return text, nil
	})
}

// Restore undoes Revoke.
func Restore(ctx context.Context, o *Options, target string) error {
	return o.relist(target, func(c *admin.Client, q admin.RevokeRequest) (string, error) {
		out, err := c.Restore(ctx, q)
		if err != nil {
			return "", err
		}
		if o.JSON {
			return "", writeJSON(o.Out, out)
		}
		text := q.String() + " is restored; what it was issued before stays refused"
		if !out.Own {
			text += ": a proxy that joined with a token needs a new one (palisade join)"
		}
		return text + "\n", nil
	})
}

func (o *Options) relist(target string, do func(*admin.Client, admin.RevokeRequest) (string, error)) error {
	q, err := admin.Target(target)
	if err != nil {
		return err
	}
	c, err := o.administer()
	if err != nil {
		return err
	}
	defer c.Close()
	text, err := do(c, q)
	if err != nil {
		return o.asked(err)
	}
	_, err = io.WriteString(o.Out, text)
	return err
}

func proxies(n int) string {
	if n == 1 {
		return "1 proxy"
	}
	return strconv.Itoa(n) + " proxies"
}

// Join prints a token with which one proxy may enrol, once.
func Join(ctx context.Context, o *Options, name string, ttl time.Duration) error {
	c, err := o.administer()
	if err != nil {
		return err
	}
	defer c.Close()
	out, err := c.Token(ctx, admin.TokenRequest{Name: name, TTL: model.Duration(ttl)})
	if err != nil {
		return o.asked(err)
	}
	if o.JSON {
		return writeJSON(o.Out, out)
	}
	fmt.Fprintf(o.Err, "for %s, once, until %s\n", name, out.Expires.Local().Format(time.DateTime))
	_, err = fmt.Fprintln(o.Out, out.Token)
	return err
}

// Bundle prints the trust bundle by which proxies and administrators know control.
func Bundle(ctx context.Context, o *Options) error {
	c, err := o.administer()
	if err != nil {
		return err
	}
	defer c.Close()
	data, err := c.Bundle(ctx)
	if err != nil {
		return o.asked(err)
	}
	_, err = fmt.Fprintf(o.Out, "%s\n", data)
	return err
}
