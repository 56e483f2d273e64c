package control_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/model"
)

// applied applies a model against what is in force, watching for a moment.
func applied(t testing.TB, s *site, snap *model.Snapshot) admin.ApplyResult {
	t.Helper()
	a := s.admin()
	st, err := a.Status(soon(t))
	must(t, err)
	out, err := a.Apply(soon(t), admin.ApplyRequest{Model: encode(t, snap), Before: st.InForce.Version, Watch: model.Duration(time.Second)})
	must(t, err)
	return out
}

func apply(t testing.TB, s *site, snap *model.Snapshot) {
	t.Helper()
	if out := applied(t, s, snap); out.Outcome != admin.Applied {
		t.Fatalf("not applied: %+v", out)
	}
}

// TestApply holds a rollout that goes well, one whose trial fares worse, and the history of both.
func TestApply(t *testing.T) {
	first := compile(t, shop)
	s := newSite(t, first, nil)
	c := s.start()
	orders := join(t, s, "service/orders", nil)
	edge := join(t, s, "edge/edge", nil)
	// Traffic flows at each report: one in a hundred fails, and with a certain model each third.
	var bad atomic.Value
	bad.Store("")
	for _, p := range []*proxy{orders, edge} {
		traffic(t, p, func() bool { return p == orders && bad.Load() != "" && p.version() == bad.Load() })
	}
	eventually(t, "both are seen", func() bool { return row(c, orders) != nil && row(c, edge) != nil && row(c, orders).Requests > 300 })

	second := compile(t, edited("callers: [web]", "callers: [web, payments]"))
	out := applied(t, s, second)
	if out.Outcome != admin.Applied || len(out.Trials) != 1 || out.Trials[0].Instance != orders.Instance() || !out.Plan.Widens() {
		t.Fatalf("outcome %+v", out)
	}
	if out.Trials[0].After.Requests < 20 {
		t.Errorf("the trial saw %+v", out.Trials[0])
	}
	if st := c.Status(); st.InForce.Version != second.Version || st.InForce.Number != 2 || st.Rollout != nil {
		t.Errorf("in force %+v", st.InForce)
	}
	if r := row(c, orders); r.Lag <= 0 {
		t.Errorf("what was pushed took no time: %+v", r)
	}

	third := compile(t, edited("callers: [web]", "callers: []"))
	bad.Store(third.ForService("orders").Version)
	out = applied(t, s, third)
	if out.Outcome != admin.RolledBack || !out.Trials[0].Failed || !strings.Contains(out.Reason, "errors 3") {
		t.Fatalf("outcome %+v", out)
	}
	good := second.ForService("orders").Version
	eventually(t, "orders is back", func() bool { return orders.version() == good && row(c, orders).Current })
	if len(s.saw("rolled-back")) != 1 {
		t.Error("no event says so")
	}
	if acts := s.saw("apply"); len(acts) != 2 || acts[0].Outcome != "done" || acts[1].Outcome != "failed" || acts[1].Object != third.Version {
		t.Errorf("what was taken back is no deed: %+v", acts)
	}
	// Against another model than is in force, a plan is worth nothing.
	_, err := s.admin().Apply(soon(t), admin.ApplyRequest{Model: encode(t, third), Before: first.Version})
	var p *admin.Problem
	if !errors.As(err, &p) || p.Status != 409 {
		t.Errorf("against an old plan: %v", err)
	}
	// One of the history comes back by its version.
	out, err = s.admin().Apply(soon(t), admin.ApplyRequest{Version: first.Version, Before: second.Version, Watch: model.Duration(time.Millisecond)})
	must(t, err)
	if out.Outcome != admin.Applied || out.Model.Number != 3 {
		t.Errorf("back to the first: %+v", out)
	}
	history, err := s.admin().History(soon(t))
	must(t, err)
	if len(history) != 3 || history[0].Version != first.Version || history[0].Author == "" {
		t.Errorf("history %+v", history)
	}
	if out := applied(t, s, first); out.Outcome != admin.Unchanged {
		t.Errorf("the same again: %+v", out)
	}
}

// TestApplyNewCall: a call that a model declares anew passes only where both ends have the model, so both try it, and the caller knows where the called is.
func TestApplyNewCall(t *testing.T) {
	s := newSite(t, compile(t, shop), nil)
	c := s.start()
	web, orders, payments := join(t, s, "service/web", nil), join(t, s, "service/orders", nil), join(t, s, "service/payments", nil)
	payments.get(func(p *proxy) { p.stats.Addresses = []string{"10.0.0.6:9443"} })
	next := compile(t, edited("callers: [orders]", "callers: [orders, web]"))
	calls, takes := next.ForService("web").Version, next.ForService("payments").Version
	traffic(t, web, func() bool {
		known := false
		web.get(func(p *proxy) { known = len(p.places["payments"]) == 1 })
		return web.version() == calls && (!known || payments.version() != takes)
	})
	eventually(t, "all are seen", func() bool {
		return row(c, orders) != nil && row(c, payments) != nil && len(row(c, payments).Addresses) == 1 && row(c, web) != nil && row(c, web).Requests > 300
	})
	out := applied(t, s, next)
	if out.Outcome != admin.Applied || len(out.Trials) != 2 || out.Trials[0].Instance != payments.Instance() || out.Trials[1].Instance != web.Instance() || out.Trials[1].After.Requests < 20 {
		t.Fatalf("outcome %+v", out)
	}

	// What is taken back takes the place back with it.
	eventually(t, "all have it", func() bool { return web.version() == calls && payments.version() == takes })
	worse := compile(t, edited("callers: [web]", "callers: [web, payments]"))
	apply(t, s, worse)
	gone := func(p *proxy, name string) func() bool {
		return func() bool {
			ok := false
			p.get(func(p *proxy) { ok = len(p.places[name]) == 0 })
			return ok
		}
	}
	eventually(t, "web does not know payments", gone(web, "payments"))
	bad := next.ForService("web").Version
	traffic(t, web, func() bool { return web.version() == bad })
	if out := applied(t, s, next); out.Outcome != admin.RolledBack {
		t.Fatalf("outcome %+v", out)
	}
	eventually(t, "web does not know payments any more", gone(web, "payments"))
}

// traffic lets a proxy count requests until the test ends; failing tells whether they fail.
func traffic(t *testing.T, p *proxy, failing func() bool) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			fail := failing()
			p.get(func(p *proxy) {
				p.stats.Traffic.Requests += 30
				if fail {
					p.stats.Traffic.Errors += 10
				}
			})
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}
