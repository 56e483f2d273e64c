package app

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/model"
)

// TestShowStatus holds what people see of proxies: what should have been renewed is marked, and what is wrong stands in words.
func TestShowStatus(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	hour := func(left time.Duration) admin.Proxy {
		return admin.Proxy{ID: "spiffe://shop.example/service/web", Instance: "host-1", Version: "0123456789abcdef", Current: true, Begins: now.Add(left - time.Hour), Expires: now.Add(left)}
	}
	change := func(p admin.Proxy, by func(*admin.Proxy)) admin.Proxy { by(&p); return p }
	for name, c := range map[string]struct {
		proxy admin.Proxy
		want  []string
		not   string
	}{
		"fresh":       {hour(59 * time.Minute), []string{"service/web", "host-1", "0123456789ab ", "in 59m0s"}, "SOON"},
		"at half":     {hour(30 * time.Minute), []string{"in 30m0s"}, "SOON"},
		"late":        {hour(19 * time.Minute), []string{"in 19m0s SOON"}, "EXPIRED"},
		"over":        {hour(-time.Minute), []string{"EXPIRED 1m0s ago"}, "SOON"},
		"no identity": {admin.Proxy{ID: "spiffe://shop.example/edge/edge", Current: true, Problem: "revoked\x1b[2J"}, []string{"edge/edge", "revoked"}, "\x1b"},
		"rejected":    {change(hour(time.Hour), func(p *admin.Proxy) { p.Rejected, p.Current = "no rule set", false }), []string{"rejects the newest snapshot: no rule set"}, "not on"},
		"behind":      {change(hour(time.Hour), func(p *admin.Proxy) { p.Current = false }), []string{"not on the newest snapshot"}, "rejects"},
		"begins":      {change(hour(time.Hour), func(p *admin.Proxy) { p.Current, p.Version = false, "" }), []string{"serves nothing yet"}, "newest"},
		"away":        {change(hour(time.Hour), func(p *admin.Proxy) { p.Away, p.Seen = true, now }), []string{"away since "}, "newest"},
		"stale":       {change(hour(-time.Hour), func(p *admin.Proxy) { p.Stale, p.Failures = "serve", 3 }), []string{"3 renewals failed; serves on with an SVID that has ended"}, "stopped"},
		"stopped":     {change(hour(-time.Hour), func(p *admin.Proxy) { p.Stale = "stop" }), []string{"has stopped"}, "serves on"},
		"lag":         {change(hour(time.Hour), func(p *admin.Proxy) { p.Lag = model.Duration(63 * time.Millisecond) }), []string{" 63ms "}, "newest"},
	} {
		var out bytes.Buffer
		o := &Options{Out: &out}
		if err := o.showStatus(&admin.Status{Fleet: "shop", TrustDomain: "shop.example", Time: now, Proxies: []admin.Proxy{c.proxy}}); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s does not say %q:\n%s", name, want, &out)
			}
		}
		if strings.Contains(out.String(), c.not) {
			t.Errorf("%s says %q:\n%s", name, c.not, &out)
		}
	}
}

// TestShowBusServers holds that status tells until when servers of the bus can be spoken to, and whose certificate should be made again.
func TestShowBusServers(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]string{
		24 * time.Hour:            "bus/nats-1: its certificate ends in 24h0m0s\n",
		8 * time.Hour:             "bus/nats-1: its certificate ends in 8h0m0s\n",
		8*time.Hour - time.Second: "bus/nats-1: its certificate ends in 7h59m59s SOON: make another one with palisade bus-server nats-1, or keep it new with --watch\n",
		-90 * time.Minute:         "bus/nats-1: its last certificate EXPIRED 1h30m0s ago: make another one with palisade bus-server nats-1, or keep it new with --watch\n",
	} {
		var out bytes.Buffer
		o := &Options{Out: &out}
		s := &admin.Status{Fleet: "shop", TrustDomain: "shop.example", Time: now, BusServers: []admin.BusServer{{Name: "bus/nats-1", Expires: now.Add(left)}}}
		if err := o.showStatus(s); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s left: not %q:\n%s", left, want, &out)
		}
	}
}

// TestConsent holds that nothing but a yes is one.
func TestConsent(t *testing.T) {
	for _, c := range []struct {
		yes, ask bool
		answer   string
		applied  bool
	}{
		{true, false, "", true},
		{false, false, "y\n", false}, // nobody sits there: what comes may be anything
		{false, true, "y\n", true},
		{false, true, " Yes \n", true},
		{false, true, "y", true},
		{false, true, "n\n", false},
		{false, true, "\n", false},
		{false, true, "", false},
		{false, true, "yesno\n", false},
	} {
		o := &Options{Ask: c.ask, In: strings.NewReader(c.answer), Err: t.Output()}
		if err := o.consent(question{"Apply this?", "applies it", ErrNotApplied}, c.yes); (err == nil) != c.applied || err != nil && !errors.Is(err, ErrNotApplied) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
