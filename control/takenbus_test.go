package control_test

import (
	"context"
	"testing"
	"time"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/peer"
)

// TestTakenBusServer holds that who has a server of the bus takes no identity from a proxy by a word of its own, and gets none.
func TestTakenBusServer(t *testing.T) {
	s := newSite(t, compile(t, shop), nil)
	s.start()
	orders := join(t, s, "service/orders", nil)
	keys, err := control.BusKeys(t.Context(), s.store, s.ring)
	must(t, err)
	config := peer.ClientConfig(orders.Certificate, orders.Verifier(), peer.AnyIn(orders.ID().TrustDomain()))
	taken, err := bus.Connect(soon(t), bus.Options{Name: "taken", URLs: []string{"tls://" + s.busAt}, TLS: config, Keys: keys, Role: bus.Control, Log: testLog(t)})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	asked := make(chan string, 64)
	go func() { // it hears all that is asked, and answers before control does
		done <- taken.Serve(ctx, bus.ServeOptions{Subject: wire.SignSubject + "*", From: wire.AskerToken}, func(_ context.Context, a bus.Asked) ([]byte, error) {
			asked <- a.From
			return nil, &bus.Refusal{Code: bus.Denied}
		})
	}()
	t.Cleanup(func() { cancel(); <-done; taken.Close(soon(t)) })
	must(t, taken.Await(soon(t)))
	before, err := orders.Certificate()
	must(t, err)
	for range 3 {
		orders.Source().Renew(orders.ID())
		if who := <-asked; who != orders.ID().String() {
			t.Errorf("%q asked", who)
		}
	}
	eventually(t, "it is renewed over HTTPS", func() bool {
		now, err := orders.Certificate()
		return err == nil && now.Leaf.SerialNumber.Cmp(before.Leaf.SerialNumber) != 0
	})
	if err := orders.Ready(); err != nil || len(orders.noted("denied")) > 0 {
		t.Errorf("a taken bus server takes its identity away: %v, %v", err, orders.noted("denied"))
	}
	token, err := orders.Source().JWTSVID(soon(t), orders.ID(), []string{"a"})
	if err != nil || token == "" {
		t.Errorf("a JWT-SVID for ourselves: %v", err)
	}

	// Nor does it sign for users: keys of an edge are taken from itself.
	edge := join(t, s, "edge/edge", nil)
	keysOfEdge, forged := transactionKeys(t), transactionKeys(t)
	edge.get(func(p *proxy) { p.stats.Keys = keysOfEdge })
	edge.Report()
	knows := func() (ok bool) {
		orders.get(func(p *proxy) { ok = string(p.jwks) == string(keysOfEdge) })
		return ok
	}
	eventually(t, "the keys of the edge are known", knows)
	as, err := bus.Connect(soon(t), bus.Options{
		Name: "taken", URLs: []string{"tls://" + s.busAt}, TLS: config, Keys: keys, Role: bus.Control, ID: edge.ID().String(), Log: testLog(t),
	})
	must(t, err)
	defer as.Close(soon(t))
	for number, instance := range []string{"another", edge.Instance()} {
		data := encode(t, wire.Report{Instance: instance, Number: 1000 + uint64(number), Started: time.Now(), Keys: forged})
		_, err := as.Request(soon(t), wire.ReportSubject+bus.SubjectToken(edge.ID().String()), data)
		must(t, err)
	}
	orders.get(func(p *proxy) { p.stats.Addresses = []string{"10.0.0.5:9443"} })
	orders.Report() // what is told about afterwards would be known with this
	web := join(t, s, "service/web", nil)
	eventually(t, "reports were looked at", func() (ok bool) {
		web.get(func(p *proxy) { ok = len(p.places["orders"]) == 1 })
		return ok
	})
	if !knows() {
		t.Error("a taken bus server signs for users")
	}
}
