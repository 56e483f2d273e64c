package control_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/client"
)

// TestRevoke holds that what is revoked is cut off everywhere before the command returns, gets nothing new, and comes back
// when it is restored and proves anew what it is.
func TestRevoke(t *testing.T) {
	s := newSite(t, compile(t, shop), nil)
	c := s.start()
	orders := join(t, s, "service/orders", nil)
	dir := t.TempDir()
	web := newProxy(t, s, "service/web", dir, func(o *client.Options) { o.JoinToken = s.token("service/web") }).run()
	web.ready()
	payments := join(t, s, "service/payments", nil)
	eventually(t, "all are seen", func() bool { return row(c, orders) != nil && row(c, web) != nil && row(c, payments) != nil })
	bad, err := connected(t, web, orders)
	must(t, err)
	defer bad.close()
	good, err := connected(t, payments, orders)
	must(t, err)
	defer good.close()

	out, err := s.admin().Revoke(soon(t), admin.RevokeRequest{Kind: "service", Value: "service/web", Reason: "stolen"})
	must(t, err)
	t.Logf("from command to last cut connection: %v, %d confirmed", out.Took.Std(), out.Confirmed)
	if out.Cut != 1 || out.Confirmed != 2 || len(out.Missing) > 0 || out.Took <= 0 || out.Bus != 1 || out.Volatile {
		t.Errorf("revocation %+v", out)
	}
	if bad.alive() {
		t.Error("the connection of what is revoked goes on")
	}
	if !good.alive() {
		t.Error("another connection was cut")
	}
	if _, err := c2c(t, web, orders); err == nil {
		t.Error("a new connection of what is revoked")
	}
	web.Source().Renew(web.ID())
	eventually(t, "web has lost its identity", func() bool { return web.Ready() != nil })
	if _, err := web.Certificate(); err == nil || !strings.Contains(err.Error(), "our own identity is revoked") {
		t.Errorf("calls of what is revoked fail with %v", err)
	}
	if _, _, err := web.Source().X509SVID(soon(t), web.ID()); err == nil { // denied, or nothing left to enrol with
		t.Error("a new SVID of what is revoked")
	}
	if _, err := s.admin().Token(soon(t), admin.TokenRequest{Name: "service/web"}); err != nil {
		t.Errorf("a token can be made for later: %v", err)
	}
	web.stop()
	if r := row(c, web); r == nil || !strings.Contains(r.Problem, "revoked") {
		t.Errorf("status of what is revoked: %+v", r)
	}

	if _, err := s.admin().Restore(soon(t), admin.RevokeRequest{Kind: "service", Value: "service/web"}); err != nil {
		t.Error(err)
	}
	web = newProxy(t, s, "service/web", dir, func(o *client.Options) { o.JoinToken = s.token("service/web") }).run()
	web.ready()
	if err := web.Ready(); err != nil { // its own list, from before, does not take the new identity from it
		t.Error(err)
	}
	eventually(t, "web is taken again", func() bool {
		_, err := c2c(t, web, orders)
		return err == nil
	})
	_, err = s.admin().Restore(soon(t), admin.RevokeRequest{Kind: "service", Value: "service/web"})
	var p *admin.Problem
	if !errors.As(err, &p) || p.Status != 409 {
		t.Errorf("restored twice: %v", err)
	}
}

// TestRevokeNodeAndSerial holds that one of several proxies of an identity can be cut off, and does not get away by
// renewing.
func TestRevokeNodeAndSerial(t *testing.T) {
	s := newSite(t, compile(t, shop), nil)
	c := s.start()
	orders := join(t, s, "service/orders", nil)
	one := join(t, s, "service/web", func(o *client.Options) { o.Node = "host-1" })
	two := join(t, s, "service/web", func(o *client.Options) { o.Node = "host-2" })
	three := join(t, s, "service/web", func(o *client.Options) { o.Node = "host-3" })
	eventually(t, "all are seen", func() bool {
		return row(c, orders) != nil && row(c, one) != nil && row(c, two) != nil && row(c, three) != nil
	})
	svid, _, err := two.Source().X509SVID(soon(t), two.ID())
	must(t, err)
	for _, q := range []admin.RevokeRequest{{Kind: "node", Value: "host-1"}, {Kind: "serial", Value: svid.Chain[0].SerialNumber.Text(16)}} {
		out, err := s.admin().Revoke(soon(t), q)
		must(t, err)
		if len(out.Missing) > 0 {
			t.Errorf("%+v: %+v", q, out)
		}
	}
	for name, p := range map[string]*proxy{"node": one, "serial": two} {
		if _, err := c2c(t, p, orders); err == nil {
			t.Errorf("what is revoked by %s still connects", name)
		}
		p.Source().Renew(p.ID())
		eventually(t, "it is denied", func() bool { return p.Ready() != nil })
	}
	if _, err := c2c(t, three, orders); err != nil {
		t.Errorf("another proxy of the same identity: %v", err)
	}
	three.Source().Renew(three.ID())
	eventually(t, "the third renews", func() bool {
		svid, _, err := three.Source().X509SVID(soon(t), three.ID())
		return err == nil && time.Until(svid.Chain[0].NotAfter) > 0
	})
}
