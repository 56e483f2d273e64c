package control_test

import (
	"testing"
	"time"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/peer"
)

// TestLiar holds that a proxy on a taken host that reports another host and another SVID than it has loses the bus when its host
// is revoked.
func TestLiar(t *testing.T) {
	s := newSite(t, compile(t, shop), nil)
	s.start()
	taken := join(t, s, "service/web", func(o *client.Options) { o.Node = "taken" })
	other := join(t, s, "service/web", func(o *client.Options) { o.Node = "other" })
	connect := func(p *proxy) *bus.Client {
		t.Helper()
		config := peer.ClientConfig(p.Certificate, p.Verifier(), peer.AnyIn(p.ID().TrustDomain()))
		c, err := bus.Connect(soon(t), bus.Options{Name: "x", URLs: []string{"tls://" + s.busAt}, TLS: config, ID: p.ID().String(), Log: testLog(t)})
		must(t, err)
		t.Cleanup(func() { c.Close(soon(t)) })
		return c
	}
	bad, good := connect(taken), connect(other)
	lie := encode(t, wire.Report{Instance: taken.Instance(), Number: 1 << 20, Started: time.Now(), Node: "elsewhere", Serial: "1"})
	_, err := bad.Request(soon(t), wire.ReportSubject+bus.SubjectToken(taken.ID().String()), lie)
	must(t, err)
	taken.stop() // it says no more of itself
	_, err = bad.Request(soon(t), wire.ReportSubject+bus.SubjectToken(taken.ID().String()), lie)
	must(t, err)
	out, err := s.admin().Revoke(soon(t), admin.RevokeRequest{Kind: "node", Value: "taken"})
	must(t, err)
	if out.Bus != 1 {
		t.Errorf("%d connections to the bus are ended", out.Bus)
	}
	eventually(t, "the liar is cut off", func() bool { return !bad.Connected() })
	if !good.Connected() {
		t.Error("another proxy of the same service is cut off")
	}
}
