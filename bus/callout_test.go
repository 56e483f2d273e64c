package bus_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/palisade-security/palisade/bus"
)

const web = "spiffe://example/service/web"

// raw connects with the library alone, as a foreign client would.
func raw(t *testing.T, r *rig, config *tls.Config, options ...nats.Option) (*nats.Conn, error) {
	t.Helper()
	nc, err := nats.Connect(r.server.URL(), append(options, nats.Secure(config), nats.Timeout(10*time.Second), nats.NoReconnect())...)
	if err == nil {
		t.Cleanup(nc.Close)
	}
	return nc, err
}

func TestCalloutRefuses(t *testing.T) {
	r := newRig(t)
	r.rules.set(web, &bus.Permissions{Publish: []string{"a"}})
	r.rules.set("spiffe://example/bad", &bus.Permissions{Subscribe: []string{"_INBOX.>"}})
	r.rules.set("spiffe://example/wide", &bus.Permissions{Subscribe: []string{">"}})
	uri := func(ids ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.URIs = nil
			for _, id := range ids {
				u, err := url.Parse(id)
				must(t, err)
				c.URIs = append(c.URIs, u)
			}
		}
	}
	other := newAuthority(t)
	for name, c := range map[string]struct {
		cert    tls.Certificate
		options []nats.Option
		reason  string // "" if the handshake itself fails
	}{
		"unknown identity":    {r.ca.issue(t, "spiffe://example/service/none", time.Hour), nil, "may not connect"},
		"no SPIFFE ID":        {r.ca.issue(t, web, time.Hour, uri()), nil, "no single SPIFFE ID"},
		"two SPIFFE IDs":      {r.ca.issue(t, web, time.Hour, uri(web, web+"2")), nil, "no single SPIFFE ID"},
		"another scheme":      {r.ca.issue(t, web, time.Hour, uri("https://example/service/web")), nil, "no single SPIFFE ID"},
		"authority as leaf":   {r.ca.issue(t, web, time.Hour, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), nil, "an authority's"},
		"another authority":   {other.issue(t, web, time.Hour), nil, ""},
		"expired":             {r.ca.issue(t, web, -time.Second), nil, ""},
		"token not looked at": {r.ca.issue(t, web, time.Hour), []nats.Option{nats.Token("x")}, "tokens prove nothing"},
		"inbox of all":        {r.ca.issue(t, "spiffe://example/bad", time.Hour), nil, "answers to others"},
		"everything":          {r.ca.issue(t, "spiffe://example/wide", time.Hour), nil, "answers to others"},
		"name of a role":      {r.ca.issue(t, "spiffe://example/service/none", time.Hour), []nats.Option{nats.UserInfo("control", "x")}, "may not connect"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := raw(t, r, r.ca.client(c.cert), c.options...); err == nil {
				t.Fatal("it was let in")
			}
			if c.reason != "" {
				if err := r.lastDenied(); err == nil || !strings.Contains(err.Error(), c.reason) {
					t.Errorf("denied with %v, want %q", err, c.reason)
				}
			}
		})
	}
	t.Run("no certificate", func(t *testing.T) {
		if _, err := raw(t, r, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: r.ca.pool()}); err == nil {
			t.Fatal("it was let in")
		}
	})
	t.Run("no TLS", func(t *testing.T) {
		if nc, err := nats.Connect(strings.Replace(r.server.URL(), "tls://", "nats://", 1), nats.RootCAs()); err == nil {
			nc.Close()
			t.Fatal("it was let in")
		}
	})
	t.Run("control", func(t *testing.T) { // the same server still takes good ones
		if _, err := raw(t, r, r.ca.client(r.ca.issue(t, web, time.Hour))); err != nil {
			t.Fatal(err)
		}
	})
}

// TestPermissions holds what an identity without and with permissions may do, with the library alone.
func TestPermissions(t *testing.T) {
	r := newRig(t)
	ctx := soon(t)
	b, err := r.control.MakeBucket(ctx, bus.BucketOptions{Name: "snapshots"})
	must(t, err)
	_, err = b.Put(ctx, "edge.a", []byte("1"))
	must(t, err)
	_, err = b.Put(ctx, "edge.b", []byte("2"))
	must(t, err)
	const none, other = "spiffe://example/service/none", "spiffe://example/service/other"
	r.rules.set(none, &bus.Permissions{})
	r.rules.set(web, &bus.Permissions{Publish: []string{"orders.>"}, Subscribe: []string{"payments.*"}})
	refused := func(t *testing.T, id string, do func(*nats.Conn) error) bool {
		t.Helper()
		said := make(chan error, 16)
		nc, err := raw(t, r, r.ca.client(r.ca.issue(t, id, time.Hour)), nats.CustomInboxPrefix(bus.Inbox(id)),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { said <- err }))
		must(t, err)
		must(t, do(nc))
		must(t, nc.Flush())
		must(t, nc.FlushTimeout(10*time.Second)) // the second answer comes after what the first provoked
		nc.Close()
		select {
		case err := <-said:
			return errors.Is(err, nats.ErrPermissionViolation)
		case <-time.After(100 * time.Millisecond):
			return false
		}
	}
	publish := func(subject string) func(*nats.Conn) error {
		return func(nc *nats.Conn) error { return nc.Publish(subject, nil) }
	}
	subscribe := func(subject string) func(*nats.Conn) error {
		return func(nc *nats.Conn) error { _, err := nc.SubscribeSync(subject); return err }
	}
	for _, c := range []struct {
		name, id string
		do       func(*nats.Conn) error
		refused  bool
	}{
		{"none publishes", none, publish("a"), true},
		{"none publishes to JetStream", none, publish("$JS.API.INFO"), true},
		{"none subscribes", none, subscribe("a"), true},
		{"none subscribes to all", none, subscribe(">"), true},
		{"none takes its answers", none, subscribe(bus.Inbox(none) + ".x.*"), false},
		{"none takes answers of others", none, subscribe(bus.Inbox(web) + ".>"), true},
		{"none takes all answers", none, subscribe("_INBOX.>"), true},
		{"none listens to the callout", none, subscribe("$SYS.REQ.USER.AUTH"), true},
		{"none listens to the system", none, subscribe("$SYS.>"), true},
		{"web publishes", web, publish("orders.new"), false},
		{"web publishes elsewhere", web, publish("payments.new"), true},
		{"web subscribes", web, subscribe("payments.new"), false},
		{"web subscribes to its pattern", web, subscribe("payments.*"), false},
		{"web subscribes elsewhere", web, subscribe("orders.new"), true},
		{"web writes a bucket", web, publish("$KV.snapshots.edge.a"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := refused(t, c.id, c.do); got != c.refused {
				t.Errorf("refused %v, want %v", got, c.refused)
			}
		})
	}
	t.Run("a star is one token", func(t *testing.T) { // the server takes "payments.>" where "payments.*" is permitted
		nc, err := raw(t, r, r.ca.client(r.ca.issue(t, web, time.Hour)))
		must(t, err)
		sub, err := nc.SubscribeSync("payments.>")
		must(t, err)
		must(t, nc.Flush())
		speaker := r.as(t, other, bus.MayRequest("payments.>"))
		for _, subject := range []string{"payments.a.b", "payments.a.b.c", "payments.a"} {
			ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			_, _ = speaker.Request(ctx, subject, []byte(subject)) // nobody answers
			cancel()
		}
		m, err := sub.NextMsg(10 * time.Second)
		must(t, err)
		if m.Subject != "payments.a" {
			t.Errorf("it was shown %q", m.Subject)
		}
	})
	t.Run("watch", func(t *testing.T) {
		client := r.as(t, other, bus.MayWatch("snapshots", "edge.a"))
		mine, others := watching(t, client.Bucket("snapshots"), "edge.a"), watching(t, client.Bucket("snapshots"), "edge.b")
		all := watching(t, client.Bucket("snapshots"), ">")
		eventually(t, "its own key", func() bool { return mine.is(map[string]string{"edge.a": "1"}) })
		_, err := b.Put(ctx, "edge.a", []byte("3"))
		must(t, err)
		eventually(t, "its own key's change", func() bool { return mine.is(map[string]string{"edge.a": "3"}) })
		if others.calls > 0 || all.calls > 0 {
			t.Error("it was shown keys of others")
		}
		if _, err := client.Bucket("snapshots").Get(ctx, "edge.b"); !errors.Is(err, bus.ErrNotPermitted) {
			t.Errorf("reading another's key: %v", err)
		}
	})
}

func TestCalloutTokens(t *testing.T) {
	good := "spiffe://example/service/orders"
	r := newRig(t, func(o *bus.CalloutOptions) {
		o.Token = func(_ context.Context, token string) (bus.Identity, error) {
			switch token {
			case "good":
				return bus.Identity{ID: good, Expires: time.Now().Add(time.Hour)}, nil
			case "old":
				return bus.Identity{ID: good, Expires: time.Now().Add(-time.Second)}, nil
			}
			return bus.Identity{}, errors.New("unknown")
		}
	})
	r.rules.set(good, &bus.Permissions{Publish: []string{"a"}})
	r.rules.set(web, &bus.Permissions{})
	same, another := r.ca.issue(t, good, time.Hour), r.ca.issue(t, web, time.Hour)
	for name, c := range map[string]struct {
		cert  tls.Certificate
		token string
		in    bool
	}{
		"both": {same, "good", true}, "token of another": {another, "good", false}, "unknown": {same, "bad", false}, "lapsed": {same, "old", true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := raw(t, r, r.ca.client(c.cert), nats.Token(c.token))
			if (err == nil) != c.in {
				t.Errorf("%v, want in: %v", err, c.in)
			}
		})
	}
}

// TestRevocation: a revoked identity's connections end, it does not come back, until it is restored.
func TestRevocation(t *testing.T) {
	r := newRig(t)
	operator := bus.NewOperator(r.system)
	must(t, operator.CheckSync(t.Context()))
	client := r.as(t, web, bus.MayRequest("x"))
	bystander := r.as(t, "spiffe://example/service/other", bus.Permissions{})
	barred := func(c bus.Connection) bool {
		_, ok := r.rules.permit(c.ID)
		return !ok && strings.HasPrefix(c.ID, "spiffe:") && c.Mark != ""
	}
	background(t, func(ctx context.Context) error { return operator.Guard(ctx, barred) })
	r.rules.set(web, nil)
	start := time.Now()
	n, err := operator.Cut(soon(t), barred)
	if err != nil || n != 1 {
		t.Fatalf("cut %d, %v", n, err)
	}
	eventually(t, "the connection ends", func() bool { return !client.Connected() })
	t.Logf("cut after %v", time.Since(start))
	eventually(t, "it tries again, and is denied", func() bool { return r.lastDenied() != nil })
	if client.Connected() || !bystander.Connected() {
		t.Error("the revoked is connected, or another is not")
	}
	r.rules.set(web, &bus.Permissions{})
	eventually(t, "restored", client.Connected)
}

// TestSession: a connection ends when its session does, and comes back with the permissions of then.
func TestSession(t *testing.T) {
	r := newRig(t, func(o *bus.CalloutOptions) { o.Session = 2 * time.Second })
	client := r.as(t, web, bus.Permissions{})
	if _, err := client.Publish(soon(t), bus.Message{Subject: "a"}); !errors.Is(err, bus.ErrNotPermitted) {
		t.Fatalf("publishing without permission: %v", err)
	}
	must(t, r.control.MakeStream(soon(t), bus.StreamOptions{Name: "A", Subjects: []string{"a"}}))
	r.rules.set(web, &bus.Permissions{Publish: []string{"a"}})
	eventually(t, "the new permission", func() bool {
		_, err := client.Publish(soon(t), bus.Message{Subject: "a"})
		return err == nil
	})
}

func TestKeys(t *testing.T) {
	k, err := bus.NewKeys()
	must(t, err)
	data, err := k.Marshal()
	must(t, err)
	again, err := bus.ParseKeys(data)
	must(t, err)
	one, err := k.ServerConfig()
	must(t, err)
	two, err := again.ServerConfig()
	must(t, err)
	if one != two || strings.Contains(one, "{control}") {
		t.Error("keys change when they are written and read")
	}
	for _, bad := range []string{"", "{}", "null", strings.Replace(string(data), "SU", "SA", 1), strings.Replace(string(data), "SX", "SU", 1)} {
		if _, err := bus.ParseKeys([]byte(bad)); err == nil {
			t.Errorf("%.20q was read", bad)
		}
	}
}

func TestStartServerRefuses(t *testing.T) {
	keys, err := bus.NewKeys()
	must(t, err)
	ca := newAuthority(t)
	open := ca.server(t)
	open.ClientAuth = tls.VerifyClientCertIfGiven
	dir := t.TempDir()
	for name, o := range map[string]bus.ServerOptions{
		"no keys":              {Dir: dir, Log: testLog(t)},
		"no folder":            {Keys: keys, Log: testLog(t)},
		"listener without TLS": {Dir: dir, Keys: keys, Log: testLog(t), Listen: "127.0.0.1:0"},
		"certificate optional": {Dir: dir, Keys: keys, Log: testLog(t), Listen: "127.0.0.1:0", TLS: open},
		"no port":              {Dir: dir, Keys: keys, Log: testLog(t), Listen: "127.0.0.1", TLS: ca.server(t)},
	} {
		if s, err := bus.StartServer(t.Context(), o); err == nil {
			s.Close()
			t.Errorf("%s: it started", name)
		}
	}
	s, err := bus.StartServer(t.Context(), bus.ServerOptions{Dir: dir, Keys: keys, Log: testLog(t)})
	must(t, err)
	if s.URL() != "" {
		t.Errorf("it listens at %s", s.URL())
	}
	if _, err := bus.StartServer(t.Context(), bus.ServerOptions{Dir: dir, Keys: keys, Log: testLog(t)}); err == nil {
		t.Error("a second server runs in the same folder")
	}
	s.Close()
}
