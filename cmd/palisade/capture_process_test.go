package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app/capture"
	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/internal/hosttest"
	"github.com/palisade-security/palisade/internal/porttest"
)

// captureModel is a fleet whose services have addresses of this host, which no namespace keeps apart.
const captureModel = `version: 1
fleet: shop
trust_domain: shop.example
edge: {admin: "127.0.0.1:0", listeners: {main: {address: "127.0.0.1:0", tls: {local: true}}}}
services:
  orders: {address: "http://127.0.0.1:1", workloads: [{unix: {user: "62041"}}]}
  payments: {address: %q, callers: [orders], workloads: [{unix: {user: "62042"}}]}
mesh: {control: {address: %q, bus: {listen: %q}}}
`

// inNetns is set in the process that has a network namespace of its own.
const inNetns = "PALISADE_TEST_IN_NETNS"

// TestCaptureFleet holds that a service that knows of no sidecar is behind one as soon as it is captured, with control,
// sidecars and services as processes of a host.
func TestCaptureFleet(t *testing.T) {
	if !inNetwork(t) {
		return
	}
	must(t, capture.Surround())
	payments := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "paid ", r.URL.Path) }))
	defer payments.Close()
	d := &daemon{Fleet: fleettest.New(t)}
	ports := porttest.Free(t, 2)
	d.at = ports[0]
	d.Write("palisade.yaml", fmt.Sprintf(captureModel, payments.URL, ports[0], ports[1]))
	d.startControl()
	orders := d.sidecar("orders", "15001")
	d.sidecar("payments", "15002")
	if r := verb(t, nil, "capture", "on", "--service=orders", "--serves=0", "--sidecar-user=root", d.Dir); r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	if r := verb(t, nil, "capture", "on", "--service=payments", "--port=15002", "--sidecar-user=root", d.Dir); r.code != exitOK {
		t.Fatalf("%+v", r)
	}

	d.Eventually("orders reaches payments, at its own address", func() bool { return as("62041", "curl", "-sm20", payments.URL+"/x") == "paid /x" })
	for _, command := range [][]string{
		{"curl", "-sm20", "http://203.0.113.7/"},
		{"curl", "-sm20", "-6", "http://[2001:db8::7]/"},
		{"curl", "-sm20", "-H", "Host: payments", "http://203.0.113.8/"}, // a name is no destination
		{"bash", "-c", "echo x > /dev/udp/203.0.113.7/53"},
	} {
		if got := as("62041", command...); got != "" {
			t.Errorf("%q: got %q", command, got)
		}
	}
	if got := as("62049", "curl", "-sm1", payments.URL+"/x"); got != "" {
		t.Errorf("somebody asked payments past its sidecar and got %q", got)
	}
	d.recorded("orders", `"hostname":"203.0.113.7"`, "2001:db8::7", `"hostname":"203.0.113.8"`, "call-not-declared", "udp 203.0.113.7:53", "past-sidecar")
	d.recorded("payments", "spiffe://shop.example/service/orders", "toward-service", "user 62049", "tcp "+strings.TrimPrefix(payments.URL, "http://"))

	must(t, orders.Process.Kill())
	_ = orders.Wait()
	if got := as("62041", "curl", "-sm20", payments.URL+"/x"); got != "" {
		t.Errorf("without a sidecar: got %q", got)
	}
	for _, service := range []string{"orders", "payments"} {
		if r := verb(t, nil, "capture", "status", "--service="+service); r.code != exitOK || !strings.HasPrefix(r.out, service+"  user 620") {
			t.Errorf("%+v", r)
		}
		if r := verb(t, nil, "capture", "off", "--service="+service); r.code != exitOK {
			t.Errorf("%+v", r)
		}
		if r := verb(t, nil, "capture", "status", "--service="+service); r.code != exitFindings {
			t.Errorf("%+v", r)
		}
	}
	if got := as("62041", "curl", "-sm20", payments.URL+"/x"); got != "paid /x" {
		t.Errorf("captured no more: got %q", got)
	}

	// A service that is started behind its sidecar has a network of its own, and is captured there.
	started := verb(t, nil, "run", "--service=orders", "--control="+d.at, "--trust-domain=shop.example", "--listen=127.0.0.1:0", "--state="+d.Path("orders"), "--capture",
		"--", "bash", "-c", "curl -sm20 http://payments/y; echo x > /dev/udp/198.51.100.9/53; curl -sm20 http://198.51.100.9/")
	if started.code == exitOK || !strings.Contains(started.out, "paid /y") {
		t.Errorf("%+v", started)
	}
	d.recorded("orders", `"hostname":"198.51.100.9"`, "udp 198.51.100.9:53")
}

// recorded waits until a sidecar has recorded something.
func (d *daemon) recorded(service string, all ...string) {
	d.T.Helper()
	for _, want := range all {
		d.Eventually(service+" recorded "+want, func() bool {
			return strings.Contains(verb(d.T, nil, "events", "-n0", "--format=json", "--state="+d.Path(service)).out, want)
		})
	}
}

// sidecar starts one and waits until it serves.
func (d *daemon) sidecar(service, port string) *exec.Cmd {
	d.T.Helper()
	d.Write(service+".token", d.must("join", "service/"+service))
	cmd := exec.Command("palisade", "sidecar", "--service="+service, "--control="+d.at, "--trust-domain=shop.example", "--join-token-file="+d.Path(service+".token"),
		"--listen=127.0.0.1:0", "--capture-port="+port, "--hosts="+d.Path(service+".hosts"), "--state="+d.Path(service))
	cmd.Stdout, cmd.Stderr = &d.Messages, &d.Messages
	if err := cmd.Start(); err != nil {
		d.T.Fatal(err)
	}
	d.T.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()
	})
	d.Eventually(service+" serves", func() bool { _, err := os.Stat(d.Path(service + ".hosts")); return err == nil })
	return cmd
}

// as runs a command as a user without rights, and returns what it prints, which is nothing if it fails.
func as(user string, command ...string) string {
	cmd := exec.Command("setpriv", append([]string{"--reuid=" + user, "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"}, command...)...)
	cmd.Dir = "/"
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// inNetwork tells whether the test is in a network namespace, and runs it in one if it is not. Further flags are those of unshare.
func inNetwork(t *testing.T, flags ...string) bool {
	t.Helper()
	if os.Getenv(inNetns) != "" {
		if out, err := exec.CommandContext(t.Context(), "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root captures several users, and mounts")
	}
	hosttest.Need(t, "nft", "ip", "curl", "setpriv", "unshare")
	cmd := exec.CommandContext(t.Context(), "unshare", append(flags, "--net", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")...)
	cmd.Env = append(os.Environ(), inNetns+"=1")
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}
