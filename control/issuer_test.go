package control_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/identity/attest"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/model"
)

// issuer is an authority that is not control's, whose identities come from a Workload API on each host.
type issuer struct {
	t         testing.TB
	authority *authority.Authority
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	dir := t.TempDir()
	id, err := workload.ParseID(model.ControlID(domain))
	must(t, err)
	a, err := authority.Open(t.Context(), authority.Config{
		TrustDomain: id.TrustDomain(), Keys: openRing(t, dir), Store: authority.NewFileStore(filepath.Join(dir, "authority")), Log: testLog(t), X509TTL: time.Hour,
	})
	must(t, err)
	return &issuer{t, a}
}

// agent is the Workload API of one host.
type agent struct {
	t     testing.TB
	local *workload.Local
	at    string
	stop  func()
}

// host serves the Workload API of a host, which gives whoever asks one identity.
func (i *issuer) host(name string) *agent {
	i.t.Helper()
	dir, err := os.MkdirTemp("", "agent")
	must(i.t, err)
	i.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	id, err := workload.ParseID("spiffe://" + domain + "/" + name)
	must(i.t, err)
	a := &agent{t: i.t, local: workload.NewLocal(i.authority, ""), at: filepath.Join(dir, "agent.sock")}
	server, err := workload.New(workload.Config{Source: a.local, Log: slog.New(slog.DiscardHandler), Entitle: func(context.Context, *attest.Peer) ([]workload.Identity, <-chan struct{}, error) {
		return []workload.Identity{{ID: id}}, nil, nil
	}})
	must(i.t, err)
	ln, err := workload.Listen(i.t.Context(), a.at)
	must(i.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(i.t.Context()))
	done := make(chan error, 2)
	go func() { done <- a.local.Run(ctx) }()
	go func() { done <- server.Run(ctx, ln) }()
	a.stop = func() { // once alone counts
		cancel()
		for range cap(done) {
			<-done
		}
		a.stop = func() {}
	}
	i.t.Cleanup(func() { a.stop() })
	return a
}

// external is what a process on the host has of the Workload API.
func (a *agent) external() *workload.External {
	a.t.Helper()
	e, err := workload.NewExternal(a.t.Context(), "unix://"+a.at)
	must(a.t, err)
	return e
}

// with is a proxy on the host.
func (a *agent) with(o *client.Options) { o.Issuer = a.external() }

// newIssued is a control whose identities another issues.
func newIssued(t *testing.T) (*issuer, *site) {
	t.Helper()
	i := newIssuer(t)
	host := i.host("control")
	return i, newSite(t, compile(t, shop), func(o *control.Options) { o.Issuer = host.external() })
}

// TestIssuer holds that a fleet runs whose identities a Workload API on each host gives, that control issues nothing then, and that
// what it revokes is refused all the same.
func TestIssuer(t *testing.T) {
	i, s := newIssued(t)
	c := s.start()
	hosts := map[string]*agent{"one": i.host("service/web"), "two": i.host("service/web"), "orders": i.host("service/orders")}
	one := newProxy(t, s, "service/web", t.TempDir(), hosts["one"].with).run()
	two := newProxy(t, s, "service/web", t.TempDir(), hosts["two"].with).run()
	orders := newProxy(t, s, "service/orders", t.TempDir(), hosts["orders"].with).run()
	for _, p := range []*proxy{one, two, orders} {
		p.ready()
	}
	eventually(t, "all are seen", func() bool { return row(c, one) != nil && row(c, two) != nil && row(c, orders) != nil })
	if got := s.saw("enrolled"); len(got) != 3 || !strings.Contains(got[0].Text, "another issuer") {
		t.Errorf("enrolled: %+v", got)
	}
	if a := c.Status().Authority; a.Issuer != admin.IssuerElsewhere || !a.Ends.IsZero() {
		t.Errorf("status: %+v", a)
	}
	if _, err := s.admin().Token(soon(t), admin.TokenRequest{Name: "service/web"}); err == nil || !strings.Contains(err.Error(), "--issuer") {
		t.Errorf("a join token: %v", err)
	}
	if _, err := s.admin().Revoke(soon(t), admin.RevokeRequest{Kind: "node", Value: "host"}); err == nil || !strings.Contains(err.Error(), "do not name the node") {
		t.Errorf("a node is revoked: %v", err)
	}
	bad, err := connected(t, one, orders)
	must(t, err)
	defer bad.close()
	good, err := connected(t, two, orders)
	must(t, err)
	defer good.close()

	svid, _, err := one.Source().X509SVID(soon(t), one.ID())
	must(t, err)
	out, err := s.admin().Revoke(soon(t), admin.RevokeRequest{Kind: "serial", Value: svid.Chain[0].SerialNumber.Text(16)})
	must(t, err)
	if out.Cut != 1 || len(out.Missing) > 0 || bad.alive() || !good.alive() {
		t.Errorf("revoked by serial number: %+v; it goes on: %t, another is cut: %t", out, bad.alive(), !good.alive())
	}
	if _, err := c2c(t, one, orders); err == nil {
		t.Error("what is revoked by serial number connects")
	}
	eventually(t, "it has no identity left", func() bool { return one.Ready() != nil })
	if _, _, err := one.Source().X509SVID(soon(t), one.ID()); !errors.Is(err, workload.ErrDenied) {
		t.Errorf("the refused SVID is handed on: %v", err)
	}
	hosts["one"].local.Renew() // another number
	one.ready()
	if _, err := c2c(t, one, orders); err != nil {
		t.Errorf("another SVID is refused: %v", err)
	}

	_, err = s.admin().Revoke(soon(t), admin.RevokeRequest{Kind: "service", Value: "service/web"})
	must(t, err)
	hosts["two"].local.Renew() // the issuer knows nothing of it
	eventually(t, "neither has an identity", func() bool { return one.Ready() != nil && two.Ready() != nil })
	_, err = s.admin().Restore(soon(t), admin.RevokeRequest{Kind: "service", Value: "service/web"})
	must(t, err)
	eventually(t, "both are back", func() bool {
		hosts["one"].local.Renew()
		hosts["two"].local.Renew()
		_, errOne := c2c(t, one, orders)
		_, errTwo := c2c(t, two, orders)
		return errOne == nil && errTwo == nil
	})
}

// TestIssuerAway holds that a proxy serves on without control and starts without it, that the Workload API may be away, and that no key of
// the issuer is on our disk.
func TestIssuerAway(t *testing.T) {
	i, s := newIssued(t)
	s.start()
	host, dir := i.host("service/web"), t.TempDir()
	ring := openRing(t, dir)
	with := func(o *client.Options) { host.with(o); o.Keeper = ring }
	web := newProxy(t, s, "service/web", dir, with).run()
	web.ready()
	version := web.version()
	web.stop()
	s.stop()
	kept, err := ring.Load("control.service.web.identity")
	must(t, err)
	if text := string(kept); strings.Contains(text, `"key":`) || strings.Contains(text, `"chain":`) {
		t.Errorf("kept: %s", text)
	}
	web = newProxy(t, s, "service/web", dir, with).run()
	web.ready()
	if web.version() != version {
		t.Errorf("serves %q, not %q", web.version(), version)
	}
	host.stop()
	orders := i.host("service/orders")
	other := newProxy(t, s, "service/orders", t.TempDir(), orders.with)
	s.start()
	other.run().ready()
	if _, err := c2c(t, web, other); err != nil {
		t.Errorf("without its Workload API: %v", err)
	}
}

// TestIssuerStrangers holds that an SVID of the trust domain is not enough, and that who comes in another way is told how.
func TestIssuerStrangers(t *testing.T) {
	i, s := newIssued(t)
	s.start()
	backup := newProxy(t, s, "service/backup", t.TempDir(), i.host("service/backup").with).run()
	if _, _, err := backup.Source().X509SVID(soon(t), backup.ID()); !errors.Is(err, workload.ErrDenied) {
		t.Errorf("who is not in the model gets %v", err)
	}
	eventually(t, "it is recorded", func() bool { return len(s.saw("enrolment-denied")) > 0 })
	another := newProxy(t, s, "service/web", t.TempDir(), i.host("service/orders").with).run()
	if _, _, err := another.Source().X509SVID(soon(t), another.ID()); err == nil || !strings.Contains(err.Error(), "no SVID of spiffe://shop.example/service/web; register it there") {
		t.Errorf("who is registered as another gets %v", err)
	}
	bundle, err := s.admin().Bundle(soon(t))
	must(t, err)
	token := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(token, []byte("x"), 0o600))
	own := newProxy(t, s, "service/web", t.TempDir(), func(o *client.Options) { o.Bundle, o.Kubernetes = bundle, token }).run()
	if _, _, err := own.Source().X509SVID(soon(t), own.ID()); err == nil || !strings.Contains(err.Error(), "start it with --issuer") {
		t.Errorf("who wants one of control gets %v", err)
	}

	s = newSite(t, compile(t, shop), nil)
	s.start()
	other := newProxy(t, s, "service/web", t.TempDir(), i.host("service/web").with).run()
	if _, _, err := other.Source().X509SVID(soon(t), other.ID()); err == nil || !strings.Contains(err.Error(), "peer") {
		t.Errorf("a control of another issuer: %v", err)
	}
}
