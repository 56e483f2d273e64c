package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/internal/porttest"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/token"
)

// controlModel is a fleet whose control stands on what follows.
const controlModel = `version: 1
fleet: shop
trust_domain: shop.example
edge: {admin: "127.0.0.1:0", listeners: {main: {address: "127.0.0.1:0", tls: {local: true}}}}
providers:
  staff: {issuer: "https://staff.example", audience: [shop], jwks_file: staff.json}
roles: {support: {}, oncall: {}, platform: {}}
services:
  web: {address: "http://127.0.0.1:1", expose: [{host: web.localhost, path: /, allow: [{anyone: true}]}]}
  orders: {address: "http://127.0.0.1:2", callers: [web]}
  payments: {address: "http://127.0.0.1:3", callers: [orders]}
mesh:
  control:
    address: %q
    administrators: {provider: staff, audience: [palisade-control], viewer: [support], operator: [oncall], admin: [platform]}
    %s
`

// daemon is a verb that runs until it is told to end.
type daemon struct {
	*fleettest.Fleet
	at    string             // host:port of control
	staff *token.Development // issues tokens of administrators
	cmd   *exec.Cmd
	done  chan struct{}
}

// newControl writes a model; keys are those of mesh.control beside address and administrators.
func newControl(t *testing.T, keys string) *daemon {
	t.Helper()
	d := &daemon{Fleet: fleettest.New(t)}
	ports := porttest.Free(t, 2)
	d.at = ports[0]
	if keys == "" {
		keys = fmt.Sprintf("bus: {listen: %q}", ports[1])
	}
	var err error
	if d.staff, err = token.CreateDevelopment(d.Path("staff")); err != nil {
		t.Fatal(err)
	}
	d.Write("staff.json", string(d.staff.PublicJWKS()))
	d.Write("palisade.yaml", fmt.Sprintf(controlModel, d.at, keys))
	return d
}

// start runs a verb; it is killed at the end of the test if it runs still.
func (d *daemon) start(args ...string) {
	d.T.Helper()
	d.startWith(nil, args...)
}

// startWith is start with more variables.
func (d *daemon) startWith(env []string, args ...string) {
	d.T.Helper()
	cmd := exec.Command("palisade", args...)
	d.Messages.Reset()
	done := make(chan struct{})
	cmd.Stdout, cmd.Stderr, cmd.Env = &d.Messages, &d.Messages, append(append(os.Environ(), "NO_COLOR=1"), env...)
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		d.T.Fatal(err)
	}
	go func() {
		defer close(done)
		_ = cmd.Wait() // its exit code is looked at later
	}()
	d.cmd, d.done = cmd, done
	d.T.Cleanup(func() { d.kill() })
}

// startControl runs control until it leads.
func (d *daemon) startControl(flags ...string) {
	d.T.Helper()
	d.start(append(append([]string{"control"}, flags...), d.Dir)...)
	d.Says("this control leads")
}

func (d *daemon) kill() {
	_ = d.cmd.Process.Kill()
	<-d.done
}

// end asks it to end and returns its exit code.
func (d *daemon) end() int {
	d.T.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.T.Fatal(err)
	}
	d.Eventually("the end", func() bool {
		select {
		case <-d.done:
			return true
		default:
			return false
		}
	})
	return d.cmd.ProcessState.ExitCode()
}

// state is the flag that leads to this control.
func (d *daemon) state() string { return "--state=" + d.Path(".palisade") }

// result is what a verb said.
type result struct {
	out, err string
	code     int
}

// verb runs a verb to its end.
func verb(t *testing.T, env []string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "palisade", args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &errs, append(append(os.Environ(), "NO_COLOR=1"), env...)
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// verb runs a verb against this control.
func (d *daemon) verb(args ...string) result {
	d.T.Helper()
	return verb(d.T, nil, append(args, d.state())...)
}

// must is verb for those that succeed.
func (d *daemon) must(args ...string) string {
	d.T.Helper()
	r := d.verb(args...)
	if r.code != exitOK {
		d.T.Fatalf("%q ends with %d\n%s%s\n%s", args, r.code, r.out, r.err, &d.Messages)
	}
	return r.out
}

// proxy is one that does nothing but obey control.
type proxy struct {
	*client.Client
	mu      sync.Mutex
	serving string
	stop    func()
}

func (p *proxy) version() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.serving
}

// join runs a proxy of a name until the test ends.
func (d *daemon) join(name, secret string, controls ...string) *proxy {
	d.T.Helper()
	keeper, err := keyring.LocalKeeper(filepath.Join(d.T.TempDir(), "keys"))
	if err != nil {
		d.T.Fatal(err)
	}
	ring, err := keyring.OpenRing(d.T.Context(), filepath.Join(d.T.TempDir(), "ring"), keeper)
	if err != nil {
		d.T.Fatal(err)
	}
	p := new(proxy)
	p.Client, err = client.Open(d.T.Context(), client.Options{
		Domain: "shop.example", Name: name, Node: "host", Keeper: ring, Log: slog.New(slog.DiscardHandler), JoinToken: strings.TrimSpace(secret),
		Control: append(controls, d.at), Every: 200 * time.Millisecond,
		Compile: func(_ context.Context, s *model.Snapshot) (func(), error) {
			return func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.serving = s.Version
			}, nil
		},
		Stats: func() client.Stats { return client.Stats{Addresses: []string{"10.0.0.7:9443"}, Connections: 4} },
	})
	if err != nil {
		d.T.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(d.T.Context()))
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	p.stop = sync.OnceFunc(func() { cancel(); <-done })
	d.T.Cleanup(p.stop)
	d.Eventually(name+" serves", func() bool { return p.Ready() == nil })
	return p
}

// status reads what control says of its fleet.
func (d *daemon) status() (s admin.Status) {
	d.T.Helper()
	if err := json.Unmarshal([]byte(d.must("status", "--format=json")), &s); err != nil {
		d.T.Fatal(err)
	}
	return s
}

// known tells whether control has heard of a proxy that is as it should be.
func (d *daemon) known(p *proxy) bool {
	for _, row := range d.status().Proxies {
		if row.Instance == p.Instance() {
			return row.Current && row.Connections == 4 && !row.Expires.IsZero()
		}
	}
	return false
}

// TestControl holds a life of control: a proxy joins, models are planned, applied and taken back to, a service is revoked
// and restored, all is written down, and what was so is so after a restart.
func TestControl(t *testing.T) {
	t.Parallel()
	d := newControl(t, "")
	d.startControl()
	if info, err := os.Stat(d.Path(".palisade/control.sock")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v: %v", info, err)
	}
	if out := d.must("status"); !strings.Contains(out, "no proxy has been heard of yet") {
		t.Errorf("status of nobody:\n%s", out)
	}
	secret := d.must("join", "service/orders")
	if strings.Count(secret, "\n") != 1 || !strings.HasPrefix(secret, "palisade-join-") {
		t.Errorf("not a token alone: %q", secret)
	}
	orders := d.join("service/orders", secret)
	d.Eventually("orders is known", func() bool { return d.known(orders) })
	first, before := d.status().InForce.Version, orders.version()
	out := d.must("status")
	for _, want := range []string{"fleet shop", "service/orders", orders.Instance(), "10.0.0.7:9443", " in ", "identities can be issued until"} {
		if !strings.Contains(out, want) {
			t.Errorf("status says nothing of %q:\n%s", want, out)
		}
	}

	d.Edit("palisade.yaml", "callers: [web]", "callers: [web, payments]")
	if r := d.verb("plan", d.Dir); r.code != exitFindings || !strings.Contains(r.out, "permitted to service payments") {
		t.Errorf("plan: %+v", r)
	}
	if r := d.verb("apply", d.Dir); r.code != exitFindings || !strings.Contains(r.err, "--yes") {
		t.Errorf("applied without a word: %+v", r)
	}
	d.Edit("palisade.yaml", "trust_domain: ", "trust_domain: other.")
	for _, format := range []string{"text", "json"} {
		if r := d.verb("plan", d.Dir, "--format="+format); r.code != exitFindings || !strings.Contains(r.out, "cannot be applied") && !strings.Contains(r.out, `"never": "the model is of trust domain`) {
			t.Errorf("plan of another trust domain: %+v", r)
		}
	}
	if r := d.verb("apply", d.Dir, "--yes"); r.code != exitError || !strings.Contains(r.err, "the model is of trust domain") {
		t.Errorf("applied to another trust domain: %+v", r)
	}
	d.Edit("palisade.yaml", "trust_domain: other.", "trust_domain: ")
	out = d.must("apply", d.Dir, "--yes", "--watch=1s", "--note=payments asks")
	if !strings.Contains(out, "tried orders "+orders.Instance()) || !strings.Contains(out, "applied: snapshot") {
		t.Errorf("applied:\n%s", out)
	}
	d.Eventually("orders has the change", func() bool { return orders.version() != before })
	if out := d.must("apply", d.Dir, "--yes"); !strings.Contains(out, "unchanged") {
		t.Errorf("applied again:\n%s", out)
	}
	d.must("apply", "--version="+first[:10], "--yes", "--watch=1s")
	d.Eventually("orders is back", func() bool { return orders.version() == before })
	if out := d.must("history"); !strings.Contains(out, "payments asks") || strings.Count(out, first[:12]) != 2 {
		t.Errorf("history:\n%s", out)
	}

	if out := d.must("revoke", "service/payments", "--reason=lost laptop"); !strings.Contains(out, "at 1 proxy") {
		t.Errorf("revoked: %s", out)
	}
	if out := d.must("status"); !strings.Contains(out, "revoked: service/payments\n") {
		t.Errorf("status of what is revoked:\n%s", out)
	}
	d.must("restore", "service/payments")
	if out := d.must("status"); strings.Contains(out, "revoked") {
		t.Errorf("status of what is restored:\n%s", out)
	}
	if out := d.must("history", "--acts"); !strings.Contains(out, "service/payments") || !strings.Contains(out, "token") {
		t.Errorf("acts:\n%s", out)
	}
	if out := d.must("events", "--kind=revoked"); !strings.Contains(out, "service/payments") {
		t.Errorf("events:\n%s", out)
	}

	if code := d.end(); code != exitOK {
		t.Errorf("ends with %d\n%s", code, &d.Messages)
	}
	if orders.version() != before || orders.Ready() != nil {
		t.Error("without control, orders serves no longer")
	}
	d.startControl()
	d.Says("the model given is not the one in force")
	if now := d.status().InForce; now.Version != first || now.Number != 3 {
		t.Errorf("in force after the restart: %+v", now)
	}
	d.Eventually("orders is heard of again", func() bool { return d.known(orders) })
	d.end()
}

// TestRestoredCopy holds that proxies obey a control that was brought back from a copy of its truth: what it says is newer
// than what they know, with its bus and without; and what was revoked since stays refused there.
func TestRestoredCopy(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string][]string{"the bus is there": nil, "the bus is lost": {".palisade/control/bus"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newControl(t, "")
			d.startControl()
			orders := d.join("service/orders", d.must("join", "service/orders"))
			before := orders.version()
			d.end()
			copied := d.Read(".palisade/control/control.db")
			d.startControl()
			d.Edit("palisade.yaml", "callers: [web]", "callers: [web, payments]")
			d.must("apply", d.Dir, "--yes", "--watch=1s")
			d.must("revoke", "service/web")
			d.end()
			for _, name := range append(lost, ".palisade/control/control.db-wal", ".palisade/control/control.db-shm") {
				must(t, os.RemoveAll(d.Path(name)))
			}
			must(t, os.WriteFile(d.Path(".palisade/control/control.db"), []byte(copied), 0o600))
			d.startControl()
			d.Eventually("orders has what was in force then", func() bool { return orders.version() == before && d.known(orders) })
			d.Edit("palisade.yaml", "callers: [web, payments]", "callers: [payments]")
			d.must("apply", d.Dir, "--yes", "--watch=1s")
			if orders.version() == before {
				t.Error("orders does not take what is new")
			}
			list := orders.Live().Denied().Sequence()
			if out := d.must("revoke", "service/payments"); !strings.Contains(out, "at 1 proxy") {
				t.Error(out)
			}
			if now := orders.Live().Denied().Sequence(); now <= list {
				t.Errorf("list %d after %d", now, list)
			}
		})
	}
}
