package control_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/model"
)

// TestJoin holds the whole way: a token, an SVID, a slice, the places of callees, keys of tokens, and the status.
func TestJoin(t *testing.T) {
	first := compile(t, shop)
	s := newSite(t, first, nil)
	c := s.start()
	orders := join(t, s, "service/orders", nil)
	orders.get(func(p *proxy) { p.stats.Addresses = []string{"10.0.0.5:9443"} })
	orders.Report()
	web := join(t, s, "service/web", nil)
	edge := join(t, s, "edge/edge", nil)
	keys := transactionKeys(t)
	edge.get(func(p *proxy) { p.stats.Keys = keys })
	edge.Report()

	if want := first.ForService("orders"); orders.version() != want.Version {
		t.Errorf("orders serves %s, want %s", orders.version(), want.Version)
	}
	orders.get(func(p *proxy) {
		if p.slice.ServiceByName("web") != nil || p.slice.Self != model.ServiceID(domain, "orders") {
			t.Error("a slice holds what its proxy does not need")
		}
	})
	eventually(t, "web knows where orders is", func() (ok bool) {
		web.get(func(p *proxy) { ok = len(p.places["orders"]) == 1 && p.places["orders"][0] == "10.0.0.5:9443" })
		return ok
	})
	eventually(t, "orders knows the keys of the edge", func() (ok bool) {
		orders.get(func(p *proxy) { ok = string(p.jwks) == string(keys) })
		return ok
	})
	if orders.places != nil && len(orders.places["web"]) > 0 {
		t.Error("orders is told of a service that it may not call")
	}
	eventually(t, "status shows three current proxies", func() bool {
		n := 0
		for _, r := range c.Status().Proxies {
			if r.Current && r.Rejected == "" && !r.Expires.IsZero() && !r.Away {
				n++
			}
		}
		return n == 3
	})
	r := row(c, orders)
	if r.Lag != 0 || r.Node != "host" { // what was there before it has not travelled
		t.Errorf("status of orders is %+v", r)
	}
	if e := s.saw("enrolled"); len(e) != 3 || e[0].Text != "by join-token" {
		t.Errorf("enrolments %+v", e)
	}
	// Both meet over mTLS by what control gave them.
	p, err := c2c(t, web, orders)
	if err != nil || p.ID != web.ID() || p.Node != "host" {
		t.Errorf("orders sees %+v: %v", p, err)
	}
	orders.stop()
	eventually(t, "orders has said goodbye", func() bool { return row(c, orders) == nil })
	eventually(t, "web knows that it is gone", func() (ok bool) {
		web.get(func(p *proxy) { ok = len(p.places["orders"]) == 0 })
		return ok
	})
}

// TestTokenOnce holds that a join token works once, for its name alone, and only with the control that made it.
func TestTokenOnce(t *testing.T) {
	s := newSite(t, compile(t, shop), nil)
	s.start()
	token := s.token("service/orders")
	denied := func(name, token string, want string) {
		t.Helper()
		p := newProxy(t, s, name, t.TempDir(), func(o *client.Options) { o.JoinToken = token }).run()
		eventually(t, name+" is refused: "+want, func() bool {
			return slices.ContainsFunc(p.noted("not-enrolled"), func(text string) bool { return strings.Contains(text, want) })
		})
		p.stop()
	}
	denied("service/payments", token, "Forbidden") // and it is used up
	denied("service/orders", token, "Forbidden")
	again := s.token("service/orders")
	secret, fingerprint, _ := strings.Cut(again, ".")
	other := "A"
	if fingerprint[:1] == other {
		other = "B"
	}
	denied("service/orders", secret+"."+other+fingerprint[1:], "not the one that the join token names")
	denied("service/orders", strings.Split(again, ".")[0], "how to recognise control")
	if e := s.saw("enrolment-denied"); len(e) < 2 {
		t.Errorf("events %+v", e)
	}
	newProxy(t, s, "service/orders", t.TempDir(), func(o *client.Options) { o.JoinToken = again }).run().ready()
}

func (p *proxy) ready() { eventually(p.t, p.o.Name+" serves", func() bool { return p.Ready() == nil }) }

// TestRestart holds that proxies serve on and start with control away, and are heard of again when it is back.
func TestRestart(t *testing.T) {
	s := newSite(t, compile(t, shop), nil)
	c := s.start()
	dir := t.TempDir()
	orders := newProxy(t, s, "service/orders", dir, func(o *client.Options) { o.JoinToken = s.token("service/orders") }).run()
	orders.ready()
	web := join(t, s, "service/web", nil)
	eventually(t, "both are current", func() bool { return row(c, orders) != nil && row(c, web) != nil && row(c, orders).Current })
	version := orders.version()
	s.stop()
	if _, err := c2c(t, web, orders); err != nil {
		t.Errorf("with control away: %v", err)
	}
	orders.stop()
	orders = newProxy(t, s, "service/orders", dir, nil)
	c1, err := client.Open(t.Context(), orders.o) // in force before Run
	must(t, err)
	if orders.version() != version || c1.Ready() != nil {
		t.Errorf("started with %q: %v", orders.version(), c1.Ready())
	}
	orders.run()
	if _, err := c2c(t, web, orders); err != nil {
		t.Errorf("started with control away: %v", err)
	}
	c = s.start()
	eventually(t, "both are heard of again", func() bool {
		a, b := row(c, orders), row(c, web)
		return a != nil && b != nil && a.Current && b.Current && time.Since(a.Seen) < time.Second && time.Since(b.Seen) < time.Second
	})
	// What changes now reaches them.
	apply(t, s, compile(t, edited("callers: [web]", "callers: [web, payments]")))
	eventually(t, "the change", func() bool { return orders.version() != version })
}

// TestRejected holds that a slice that does not compile leaves the old one in force, is reported, and that the fleet goes
// back to one model.
func TestRejected(t *testing.T) {
	first := compile(t, shop)
	s := newSite(t, first, nil)
	c := s.start()
	orders := join(t, s, "service/orders", nil)
	web := join(t, s, "service/web", nil)
	before := orders.version()
	eventually(t, "both are seen", func() bool { return row(c, orders) != nil && row(c, web) != nil })
	orders.get(func(p *proxy) {
		p.bad = func(snap *model.Snapshot) error {
			if snap.Version != before {
				return errors.New("no such rule set")
			}
			return nil
		}
	})
	out := applied(t, s, compile(t, edited("callers: [web]", "callers: [web, payments]")))
	if out.Outcome != "rolled-back" || !strings.Contains(out.Reason, "no such rule set") || !strings.Contains(out.Reason, orders.Instance()+" of "+orders.ID().String()) {
		t.Errorf("outcome %+v", out)
	}
	if orders.version() != before || c.Status().InForce.Version != first.Version {
		t.Errorf("serves %s under %+v", orders.version(), c.Status().InForce)
	}
	if len(orders.noted("rejected")) != 1 {
		t.Errorf("rejections %q", orders.noted("rejected"))
	}
	eventually(t, "all is well again", func() bool { r := row(c, orders); return r.Rejected == "" && r.Current })
	eventually(t, "the rejection is an event of control", func() bool { return len(s.saw("proxy-rejected")) == 1 })

	// Without its word, all others have it.
	a, second := s.admin(), compile(t, edited("callers: [web]", "callers: [web, payments]"))
	q := admin.ApplyRequest{Model: encode(t, second), Before: first.Version, Watch: model.Duration(time.Second), Without: []string{"service/nobody"}}
	if _, err := a.Apply(soon(t), q); err == nil || !strings.Contains(err.Error(), `"service/nobody" is no proxy of the model`) {
		t.Errorf("without nobody: %v", err)
	}
	q.Without = []string{"service/orders"}
	out, err := a.Apply(soon(t), q)
	must(t, err)
	if out.Outcome != admin.Applied || len(out.Trials) != 0 || !slices.Equal(out.Without, q.Without) || c.Status().InForce.Version != second.Version {
		t.Errorf("outcome %+v", out)
	}
	eventually(t, "who is not believed is seen all the same", func() bool { return row(c, orders).Rejected != "" })
	if orders.version() != before {
		t.Errorf("orders serves %s", orders.version())
	}
	eventually(t, "the act says whose word did not count", func() bool {
		acts := s.saw("apply")
		return len(acts) > 0 && acts[len(acts)-1].Text == "without the word of service/orders"
	})
}

// c2c connects one proxy to another over mTLS by what control gave them, and returns what the server sees.
func c2c(t testing.TB, from, to *proxy) (peer.Peer, error) {
	t.Helper()
	conn, err := connected(t, from, to)
	if err != nil {
		return peer.Peer{}, err
	}
	defer conn.close()
	return conn.seen, nil
}

// TestCount holds that what operators watch is counted.
func TestCount(t *testing.T) {
	s := newSite(t, compile(t, shop), nil)
	c := s.start()
	orders := join(t, s, "service/orders", nil)
	join(t, s, "service/web", nil)
	orders.Source().Renew(orders.ID())
	eventually(t, "one has renewed", func() bool { return c.Count().Renewed >= 1 })
	eventually(t, "both are current", func() bool { return c.Count().Proxies["current"] == 2 })
	must(t, errors.Join(c.Ready(), orders.Ready()))
	_, err := s.admin().Revoke(soon(t), admin.RevokeRequest{Kind: "service", Value: "service/web"})
	must(t, err)
	newProxy(t, s, "service/payments", t.TempDir(), func(o *client.Options) { o.JoinToken = s.token("service/orders") }).run()
	eventually(t, "the refusal is counted", func() bool { return c.Count().Refused > 0 })
	orders.stop()
	eventually(t, "who said goodbye is none of the fleet's any more", func() bool { return row(c, orders) == nil })
	n := c.Count()
	if n.Enrolled != 2 || !n.Leads || !n.Bus || n.List == 0 || n.Ends.IsZero() || n.Version == "" || n.Ending+n.Ended != 0 {
		t.Errorf("%+v", n)
	}
}
