package app_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/palisade-security/palisade/app"
	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/internal/porttest"
)

// natsVerb makes the test's own program a service that speaks NATS and knows nothing of Palisade.
const natsVerb = "nats-service"

// natsService serves HTTP on an address, and connects to a broker: desk asks and sends what its clients want, till
// answers what it is asked.
func natsService(ctx context.Context, name, address, broker string) error {
	nc, err := nats.Connect(broker, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		return err
	}
	defer nc.Close()
	if name == "till" {
		if _, err := nc.Subscribe("till.*", func(m *nats.Msg) { _ = m.Respond(append([]byte("paid "), m.Data...)) }); err != nil {
			return err
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		m, err := nc.RequestWithContext(ctx, strings.TrimPrefix(r.URL.Path, "/ask/"), []byte("7"))
		if err != nil {
			fmt.Fprintf(w, "%v; %v", err, nc.LastError())
			return
		}
		_, _ = w.Write(m.Data)
	})
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	return server.ListenAndServe()
}

const brokerFleet = `version: 1
fleet: shop
trust_domain: shop.example
mesh: {}
edge: {admin: "127.0.0.1:0", listeners: {public: {address: EDGE, tls: {local: true}}}}
services:
  bus:
    address: tcp://BUS
    broker: nats
    broker_keys: {from_file: bus.keys}
    run: {command: [SERVER, -c, nats.conf]}
  desk:
    address: http://DESK
    expose: [{host: shop.localhost, path: "/ask/{subject}", allow: [{anyone: true, methods: [GET]}]}]
    publish: {bus: [till.pay]}
    run: {command: [SELF, nats-service, desk, DESK, "nats://bus:PORT"]}
  till:
    address: http://TILL
    callers: [desk]
    subscribe: {bus: ["till.*"]}
    run: {command: [SELF, nats-service, till, TILL, "nats://bus:PORT"]}
`

// TestBrokerUp: a fleet with a real nats-server, each in a network of its own, by palisade export nats and palisade up.
func TestBrokerUp(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts nats-server")
	}
	f := &fleet{Fleet: fleettest.New(t), reload: make(chan struct{}, 1), done: make(chan struct{})}
	f.Host, f.options = "shop.localhost", &app.Options{Paths: []string{f.Dir}, Out: &f.lines, Err: &f.Messages}
	ports := porttest.Free(t, 4)
	f.Edge = ports[0]
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(f.Dir, "nats-server")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		t.Fatalf("building nats-server: %v\n%s", err, out)
	}
	port := ports[1][strings.LastIndexByte(ports[1], ':')+1:]
	f.Write("palisade.yaml", strings.NewReplacer("EDGE", `"`+ports[0]+`"`, "BUS", ports[1], "DESK", ports[2], "TILL", ports[3], "PORT", port, "SELF", self, "SERVER", binary).Replace(brokerFleet))
	var access fleettest.Output
	if err := app.ExportNATS(&app.Options{Paths: []string{f.Dir}, Out: &access, Err: io.Discard}, "bus"); err != nil {
		t.Fatal(err)
	}
	f.Write("auth.conf", access.String())
	f.Write("nats.conf", fmt.Sprintf("listen: %q\ninclude auth.conf\n", ports[1]))
	f.start()
	ask := func(subject string) string { return f.Do(f.Client(false), "GET", "/ask/"+subject, "").Text }
	f.Eventually("a declared subject is answered", func() bool { return ask("till.pay") == "paid 7" })
	f.Eventually("an undeclared one is refused", func() bool { return strings.Contains(strings.ToLower(ask("till.refund")), "permissions violation") })
	f.Eventually("and recorded", func() bool {
		var out fleettest.Output
		if err := app.Events(t.Context(), &app.Options{Paths: []string{f.Dir}, Out: &out, Err: io.Discard}, &app.EventQuery{Refused: true}); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(out.String(), "till.refund")
	})
	f.Edit("palisade.yaml", "publish: {bus: [till.pay]}", "publish: {bus: [till.pay, till.refund]}")
	f.Eventually("until the model permits it", func() bool { return ask("till.refund") == "paid 7" })
}
