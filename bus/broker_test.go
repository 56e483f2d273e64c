package bus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/internal/porttest"
)

// TestBroker is a broker of the fleet: a nats-server on its own, behind a sidecar that ends TLS, so that services prove
// who they are by token. They are foreign clients that know nothing of us but their inbox.
func TestBroker(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts nats-server")
	}
	c := &cluster{t: t, dir: t.TempDir()}
	c.binary = filepath.Join(c.dir, "nats-server")
	c.run("go", "build", "-o", c.binary, "github.com/nats-io/nats-server/v2")
	keys, err := bus.NewKeys()
	must(t, err)
	access, err := keys.ServerConfig()
	must(t, err)
	port := porttest.FreePort(t)
	path := filepath.Join(c.dir, "broker.conf")
	must(t, os.WriteFile(path, fmt.Appendf(nil, "listen: \"127.0.0.1:%d\"\njetstream { store_dir: %q }\n%s", port, filepath.Join(c.dir, "store"), access), 0o600))
	n := &node{name: "broker"}
	c.serve(n, c.binary, "-c", path)
	t.Cleanup(func() { c.kill(n) })
	url := fmt.Sprintf("nats://127.0.0.1:%d", port)

	operator := bus.NewOperator(connect(t, bus.Options{Name: "system", URLs: []string{url}, Keys: keys, Role: bus.System, Log: testLog(t)}))
	if err := operator.CheckSync(soon(t)); !errors.Is(err, bus.ErrUnsafe) {
		t.Errorf("a server that syncs every two minutes: %v", err)
	}
	const orders, payments = "spiffe://example/service/orders", "spiffe://example/service/payments"
	rules := &rules{of: map[string]bus.Permissions{
		orders:   {Publish: []string{"orders.>", "payments.charge"}, Subscribe: []string{"payments.*"}},
		payments: {Publish: []string{"payments.done"}, Subscribe: []string{"payments.charge", "orders.>"}},
	}}
	ids := map[string]string{"t-orders": orders, "t-payments": payments, "t-none": "spiffe://example/service/none"}
	callout(t, &rig{keys: keys, rules: rules}, connect(t, bus.Options{Name: "callout", URLs: []string{url}, Keys: keys, Role: bus.Callout, Log: testLog(t)}),
		func(o *bus.CalloutOptions) {
			o.Certificate, o.Decided = nil, nil
			o.Token = func(_ context.Context, token string) (bus.Identity, error) {
				if ids[token] == "" {
					return bus.Identity{}, errors.New("unknown")
				}
				return bus.Identity{ID: ids[token], Expires: time.Now().Add(time.Hour)}, nil
			}
		})
	said := make(chan error, 16)
	dial := func(token string) (*nats.Conn, error) {
		nc, err := nats.Connect(url, nats.Token(token), nats.CustomInboxPrefix(bus.Inbox(ids[token])), nats.Timeout(10*time.Second),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { said <- err }))
		if err == nil {
			t.Cleanup(nc.Close)
		}
		return nc, err
	}
	for _, token := range []string{"", "t-other", "t-none"} {
		if _, err := dial(token); err == nil {
			t.Errorf("token %q was let in", token)
		}
	}
	one, err := dial("t-orders")
	must(t, err)
	two, err := dial("t-payments")
	must(t, err)
	_, err = two.Subscribe("payments.charge", func(m *nats.Msg) { _ = m.Respond([]byte("charged")) })
	must(t, err)
	must(t, two.Flush())
	answer, err := one.Request("payments.charge", nil, 10*time.Second)
	must(t, err)
	if string(answer.Data) != "charged" {
		t.Errorf("answered %q", answer.Data)
	}
	for subject, nc := range map[string]*nats.Conn{"payments.done": one, "orders.new": two, "$SYS.REQ.USER.AUTH": two} {
		must(t, nc.Publish(subject, nil))
		must(t, nc.Flush())
		select {
		case err := <-said:
			if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), subject) {
				t.Errorf("%s: %v", subject, err)
			}
		case <-soon(t).Done():
			t.Errorf("%s may be published", subject)
		}
	}
}
