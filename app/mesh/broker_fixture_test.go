package mesh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/internal/porttest"
)

const brokerModel = `version: 1
fleet: shop
trust_domain: shop.example
mesh: {isolation: "off"}
edge: {listeners: {public: {address: "127.0.0.1:0", tls: {local: true}}}}
services:
  bus: {address: "tcp://BUS", broker: nats, broker_keys: {from_file: bus.keys}}
  web: {address: "http://127.0.0.1:1", expose: [{host: shop.localhost, path: /, allow: [{anyone: true, methods: [GET]}]}]}
  orders:
    address: http://127.0.0.1:2
    publish: {bus: [orders.>, payments.charge, idle.x]}
    subscribe: {bus: [payments.done]}
  payments:
    address: http://127.0.0.1:3
    publish: {bus: [payments.done, orders.note]}
    subscribe: {bus: [payments.charge, orders.note]}
  desk:
    address: http://127.0.0.1:4
    publish:
      bus:
        - $JS.API.INFO
        - $JS.API.STREAM.*.ORDERS
        - $JS.API.STREAM.*.KV_stock
        - $JS.API.STREAM.NAMES
        - $JS.API.CONSUMER.CREATE.ORDERS.>
        - $JS.API.CONSUMER.CREATE.KV_stock.>
        - $JS.API.CONSUMER.*.ORDERS.*
        - $JS.API.CONSUMER.*.KV_stock.*
        - $JS.API.CONSUMER.MSG.NEXT.ORDERS.*
        - $JS.API.DIRECT.GET.KV_stock.>
        - $KV.stock.>
`

// natsServer is a NATS server of the fleet: a process of its own that knows no more than its configuration.
type natsServer struct {
	t       *testing.T
	address string
	binary  string
	config  string
	cmd     *exec.Cmd
}

func (s *natsServer) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.binary, "-c", s.config)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *natsServer) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// brokerFleet is a mesh with a broker, and its services as programs that know nothing of it.
type brokerFleet struct {
	*fleet
	t    *testing.T
	dir  string
	text string
	*natsServer
}

func newBrokerFleet(t *testing.T) *brokerFleet {
	t.Helper()
	f := &brokerFleet{t: t, dir: t.TempDir()}
	f.natsServer = startBroker(t, f.dir)
	f.text = strings.Replace(brokerModel, "BUS", f.address, 1)
	f.fleet = openFleet(t, f.dir, f.text, "bus", "web", "orders", "payments", "desk")
	return f
}

// startBroker runs a server that asks its sidecar. The keys stand in the folder.
func startBroker(t *testing.T, dir string) *natsServer {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and starts nats-server")
	}
	s := &natsServer{t: t, address: porttest.Free(t, 1)[0], binary: filepath.Join(dir, "nats-server"), config: filepath.Join(dir, "nats.conf")}
	keys, err := bus.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := keys.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	access, err := keys.ServerConfig()
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("listen: %q\njetstream { store_dir: %q }\ninclude auth.conf\n", s.address, filepath.Join(dir, "store"))
	for name, text := range map[string]string{"bus.keys": string(secret), "auth.conf": access, "nats.conf": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", s.binary, "github.com/nats-io/nats-server/v2")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building nats-server: %v\n%s", err, out)
	}
	s.start()
	t.Cleanup(s.kill)
	return s
}

// program is one with the library of NATS and the address of the broker, and nothing else.
type program struct {
	*nats.Conn
	said chan error // what it was told is refused
	lost chan struct{}
}

func (f *brokerFleet) connect(service string, options ...nats.Option) (*program, error) {
	return connectTo(f.t, f.toward[service+" bus"], options...)
}

func connectTo(t *testing.T, address string, options ...nats.Option) (*program, error) {
	t.Helper()
	c := &program{said: make(chan error, 64), lost: make(chan struct{}, 64)}
	var err error
	c.Conn, err = nats.Connect("nats://"+address, append([]nats.Option{
		nats.Timeout(30 * time.Second), nats.ReconnectWait(10 * time.Millisecond), nats.MaxReconnects(-1), // on a busy machine, sixty tries are soon over
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.said <- err }),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { c.lost <- struct{}{} }),
	}, options...)...)
	if err == nil {
		t.Cleanup(c.Close)
	}
	return c, err
}

func (f *brokerFleet) client(service string) *program {
	f.t.Helper()
	c, err := f.connect(service)
	if err != nil {
		f.t.Fatalf("%s: %v", service, err)
	}
	return c
}

// refused waits until a client was told that something is refused.
func (c *program) refused(t *testing.T, what string) {
	t.Helper()
	select {
	case err := <-c.said:
		if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), what) {
			t.Errorf("it was told %v, want a refusal of %s", err, what)
		}
	case <-patience(t).Done():
		t.Errorf("it was not told that %s is refused", what)
	}
}

// recorded waits for a record.
func (f *brokerFleet) recorded(want string) {
	f.t.Helper()
	for ctx := patience(f.t); ctx.Err() == nil; time.Sleep(time.Millisecond) {
		f.records.mu.Lock()
		found := slices.Contains(f.records.all, want)
		f.records.mu.Unlock()
		if found {
			return
		}
	}
	f.t.Errorf("no record %q in %q", want, f.records.all)
}

func patience(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func noError(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
