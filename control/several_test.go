package control_test

import (
	"context"
	"crypto/tls"
	"path/filepath"
	"testing"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
)

// TestSeveral holds that one of two controls leads, that the other answers and forwards, and takes over when the first is
// gone: no proxy stops, and what is told then is newer than before.
func TestSeveral(t *testing.T) {
	first := compile(t, shop)
	one := newSite(t, first, nil)
	server := externalBus(t, one)
	one.change = func(o *control.Options) { o.Bus = control.BusOptions{URLs: []string{server.URL()}} }
	two := newSite(t, first, func(o *control.Options) {
		o.Store, o.Ring, o.Name = one.store, one.ring, "other"
		o.Bus = control.BusOptions{URLs: []string{server.URL()}}
	})
	a := one.start()
	b := two.begin()
	if b.Status().Leads {
		t.Fatal("both lead")
	}
	orders := join(t, two, "service/orders", func(o *client.Options) { o.Control = []string{two.listen, one.listen} })
	web := join(t, one, "service/web", func(o *client.Options) { o.Control = []string{one.listen, two.listen} })
	for name, c := range map[string]*control.Control{"the leader": a, "the other": b} {
		eventually(t, name+" sees both", func() bool { return row(c, orders) != nil && row(c, web) != nil })
	}
	// The other one is asked, the leader does it, the other one refuses at once.
	out, err := two.admin().Revoke(soon(t), admin.RevokeRequest{Kind: "service", Value: "service/payments"})
	must(t, err)
	if out.Confirmed != 2 || len(out.Missing) > 0 {
		t.Errorf("through the other: %+v", out)
	}
	eventually(t, "the other has the list", func() bool { return b.Status().Authority.List == out.List })
	one.stop()
	eventually(t, "the other leads", func() bool { return b.Status().Leads })
	if _, err := c2c(t, web, orders); err != nil {
		t.Error(err)
	}
	before := orders.version()
	apply(t, two, compile(t, edited("callers: [web]", "callers: [web, payments]")))
	eventually(t, "orders has the change", func() bool { return orders.version() != before })
	orders.Source().Renew(orders.ID())
	if len(orders.noted("refused")) > 0 {
		t.Errorf("refused: %q", orders.noted("refused"))
	}
	a = one.begin()
	eventually(t, "the first is back and follows", func() bool { return a.Status().InForce.Number == 2 && !a.Status().Leads })
}

// externalBus runs a bus server that is not control's own, with an SVID of its own.
func externalBus(t *testing.T, s *site) *bus.Server {
	t.Helper()
	id, err := workload.ParseID("spiffe://" + domain + "/bus/a")
	must(t, err)
	keys, err := control.BusKeys(t.Context(), s.store, s.ring)
	must(t, err)
	a, err := control.Authority(t.Context(), s.store, s.ring, domain)
	must(t, err)
	cert := busCertificate(t, a, id)
	trust, err := peer.NewTrust(a.Bundle())
	must(t, err)
	v := peer.NewVerifier(new(peer.Live))
	v.SetTrust(trust)
	server, err := bus.StartServer(t.Context(), bus.ServerOptions{
		Dir: filepath.Join(s.dir, "external"), Listen: "127.0.0.1:0", Keys: keys, Log: testLog(t),
		TLS: peer.ServerConfig(func() (*tls.Certificate, error) { return cert, nil }, v, peer.AnyIn(id.TrustDomain())),
	})
	must(t, err)
	t.Cleanup(server.Close)
	return server
}

func busCertificate(t *testing.T, a *authority.Authority, id workload.ID) *tls.Certificate {
	t.Helper()
	source := workload.NewLocal(a, "")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx) }()
	svid, _, err := source.X509SVID(ctx, id)
	must(t, err)
	cancel()
	<-done
	cert := &tls.Certificate{PrivateKey: svid.Key, Leaf: svid.Chain[0]}
	for _, one := range svid.Chain {
		cert.Certificate = append(cert.Certificate, one.Raw)
	}
	return cert
}
