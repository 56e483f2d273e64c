package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/internal/porttest"
)

// sharedModel is a fleet whose services share the network of a host.
const sharedModel = `version: 1
fleet: shop
trust_domain: shop.example
edge: {admin: "127.0.0.1:0", listeners: {main: {address: "127.0.0.1:0", tls: {local: true}}}}
services:
  web: {address: "http://127.0.0.1:1"}
  desk: {address: "http://127.0.0.1:2"}
  orders: {address: %q, callers: [web, desk]}
  stock: {address: %q, callers: [desk]}
mesh: {isolation: "off", control: {address: %q, bus: {listen: %q}}}
`

// TestSharedHost holds that proxies on one host, whose services have no networks of their own, do not get in each other's way:
// those of "palisade run" at all, and sidecars unless they want the same socket, which is said.
func TestSharedHost(t *testing.T) {
	if !inNetwork(t) {
		return
	}
	d := &daemon{Fleet: fleettest.New(t)}
	ports := porttest.Free(t, 4)
	d.at = ports[0]
	services := map[string]*httptest.Server{}
	for _, name := range []string{"orders", "stock"} {
		services[name] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, name, r.URL.Path) }))
		defer services[name].Close()
	}
	d.Write("palisade.yaml", fmt.Sprintf(sharedModel, services["orders"].URL, services["stock"].URL, ports[0], ports[1]))
	d.startControl()
	host := func(service string) *daemon {
		one := &daemon{Fleet: fleettest.New(t), at: d.at}
		one.Write("token", d.must("join", "service/"+service))
		return one
	}
	proxy := func(one *daemon, verb, service string, more ...string) []string {
		return append([]string{verb, one.state(), "--service=" + service, "--control=" + d.at, "--trust-domain=shop.example", "--join-token-file=" + one.Path("token"), "--listen=127.0.0.1:0"}, more...)
	}
	orders, stock, web, desk := host("orders"), host("stock"), host("web"), host("desk")
	orders.start(proxy(orders, "sidecar", "orders", "--hosts="+orders.Path("hosts"))...)
	orders.Eventually("the sidecar of orders serves", func() bool { _, err := os.Stat(orders.Path("hosts")); return err == nil })
	stock.start(proxy(stock, "sidecar", "stock")...)
	stock.Says("undeclared calls come to another process of this network")

	// Two that are started, at the same time. Where sidecars are they learn in a moment.
	const ask = "ask() { until curl -sfm20 $1; do sleep 0.05; done; }; "
	web.start(proxy(web, "run", "web", "-q", "--", "bash", "-c", ask+"ask $ORDERS_ADDRESS/one; until [ -e "+d.Path("asked")+" ]; do sleep 0.05; done; ask $ORDERS_ADDRESS/three; echo stock=$STOCK_ADDRESS.")...)
	web.Says("orders /one")
	r := verb(t, nil, proxy(desk, "run", "desk", "-q", "--", "bash", "-c", ask+"ask $ORDERS_ADDRESS/two; ask $STOCK_ADDRESS/two")...)
	if r.code != exitOK || r.out != "orders /two\nstock /two\n" {
		t.Errorf("%+v", r)
	}
	d.Write("asked", "")
	web.Says("stock=.")
	<-web.done
	if said := web.Messages.String(); !strings.Contains(said, "orders /one\norders /three\n") || strings.Contains(said+r.err, "undeclared calls") {
		t.Errorf("web said %s\ndesk said %s", said, r.err)
	}
	for path, caller := range map[string]string{"/one": "service/web", "/two": "service/desk", "/three": "service/web"} {
		d.Eventually("orders records who asked "+path, func() bool {
			lines := verb(t, nil, "events", "-n0", "--format=json", orders.state(), "path:"+path).out
			return strings.Count(lines, "\n") == 1 && strings.Contains(lines, caller)
		})
	}

	// Two beside services that others start.
	web.start(proxy(web, "sidecar", "web", "--hosts="+web.Path("hosts"))...)
	web.Eventually("the sidecar of web serves", func() bool { _, err := os.Stat(web.Path("hosts")); return err == nil })
	if r := verb(t, nil, proxy(desk, "sidecar", "desk")...); r.code != exitError || !strings.Contains(r.err, "--outbound CALLEE=HOST:PORT") {
		t.Errorf("a socket that another sidecar has: %+v", r)
	}
	desk.start(proxy(desk, "sidecar", "desk", "--outbound=orders="+ports[2], "--outbound=stock="+ports[3])...)
	desk.Eventually("desk finds both", func() bool {
		return as("62049", "curl", "-sm20", ports[2]+"/four", ports[3]+"/four") == "orders /four\nstock /four\n"
	})
	if strings.Contains(desk.Messages.String(), "undeclared calls") {
		t.Errorf("desk said %s", &desk.Messages)
	}
}
