package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/internal/porttest"
	"github.com/palisade-security/palisade/token"
)

// hostsModel is a fleet whose proxies run in processes of their own.
const hostsModel = `version: 1
fleet: shop
trust_domain: shop.example
edge: {admin: "127.0.0.1:0", listeners: {main: {address: %[2]q, tls: {local: true}}}}
roles: {customer: {}, trainee: {}}
providers: {staff: {issuer: "https://staff.example", audience: [shop], jwks_file: staff.json}}
policies: [policies]
services:
  web:
    address: "http://%[4]s"
    expose:
      - {host: web.localhost, path: /**, allow: [{anyone: true, methods: [GET]}]}
      - {host: web.localhost, path: /mine, allow: [{roles: [customer, trainee], methods: [GET]}]}
  cache: {address: "tcp://%[10]s", callers: [web]}
  orders:
    address: "http://%[5]s"
    callers: [web, job]
    workloads: [{unix: {path: %[7]q}}]
  job: {address: "http://%[6]s"}
mesh: {stale: serve, control: {address: %[1]q, admin: %[8]q, bus: {listen: %[3]q}}}
telemetry: {otlp: %[9]q, sample: 1}
`

// noTrainees is a policy about the end user of a call between services.
const noTrainees = `@id("no-trainees")
forbid (principal == Service::"web", action, resource in Service::"orders")
when { context has user && context.user in Role::"trainee" };
`

// hosts are the processes of a fleet on several hosts, here on one.
type hosts struct {
	control, edge, web, orders *daemon
	cache                      *daemon
	service                    *exec.Cmd // of orders, which nobody of us starts
	flags                      []string
	webAt, ordersAt            string // of their sidecars
	adminAt                    string // of control
	traces                     collector
	issuer                     string // Workload API that issues identities; empty: control does
}

func newHosts(t *testing.T, issuer string, edits ...string) *hosts {
	t.Helper()
	h := &hosts{control: &daemon{Fleet: fleettest.New(t)}, issuer: issuer}
	at := porttest.Free(t, 11)
	collector := httptest.NewServer(&h.traces)
	t.Cleanup(collector.Close)
	exe, err := os.Executable()
	must(t, err)
	exe, err = filepath.EvalSymlinks(exe)
	must(t, err)
	h.control.at, h.webAt, h.ordersAt, h.adminAt = at[0], at[6], at[7], at[8]
	h.control.Write("palisade.yaml", fmt.Sprintf(hostsModel, at[0], at[1], at[2], at[3], at[4], at[5], exe, at[8], collector.URL, at[9]))
	h.control.Edit("palisade.yaml", edits...)
	h.control.Write("policies/users.cedar", noTrainees)
	h.control.staff, err = token.CreateDevelopment(h.control.Path("staff"))
	must(t, err)
	h.control.Write("staff.json", string(h.control.staff.PublicJWKS()))
	if issuer != "" {
		h.control.Edit("palisade.yaml", "mesh: {", fmt.Sprintf("mesh: {issuer: {workload_api: %q}, ", issuer))
	}
	h.control.startControl("--console=127.0.0.1:0")
	h.flags = []string{"--control=" + at[0], "--trust-domain=shop.example"}

	h.service = exec.Command("test-service")
	h.service.Env = append(os.Environ(), "LISTEN_ADDRESS="+at[4], "PID_FILE="+h.control.Path("orders.pid"))
	must(t, h.service.Start())
	t.Cleanup(func() { _ = h.service.Process.Kill(); _ = h.service.Wait() })

	h.edge, h.web, h.orders = h.host("edge/edge"), h.host("service/web"), h.host("service/orders")
	h.edge.Edge, h.edge.Host = at[1], "web.localhost"
	h.edge.start(h.verb(h.edge, "edge", "-q", h.proof(h.edge))...)
	h.orders.start(h.verb(h.orders, "sidecar", "--service=orders", "--listen="+h.ordersAt, "--audit-dir="+h.orders.Path("records"), h.proof(h.orders))...)
	echo(t, at[9])
	h.cache = h.host("service/cache")
	h.cache.start(h.verb(h.cache, "sidecar", "--service=cache", "--listen="+at[10], h.proof(h.cache))...)
	h.startWeb(h.proof(h.web))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("control:\n%s\nweb:\n%s\norders:\n%s", &h.control.Messages, &h.web.Messages, &h.orders.Messages)
		}
	})
	h.edge.Says("serves https://web.localhost")
	return h
}

// host is a folder with a join token.
func (h *hosts) host(name string) *daemon {
	d := &daemon{Fleet: fleettest.New(h.control.T)}
	if h.issuer == "" {
		d.Write("token", h.control.must("join", name))
	}
	return d
}

// proof is the flag by which a proxy proves at first what it is.
func (h *hosts) proof(d *daemon) string {
	if h.issuer != "" {
		return "--issuer=" + h.issuer
	}
	return "--join-token-file=" + d.Path("token")
}

func (h *hosts) verb(d *daemon, verb string, args ...string) []string {
	return append(append([]string{verb, d.state()}, h.flags...), args...)
}

func (h *hosts) startWeb(args ...string) {
	h.web.T.Setenv("PID_FILE", h.web.Path("web.pid"))
	h.web.start(append(h.verb(h.web, "run", append(args, "--service=web", "--listen="+h.webAt)...), "--", "test-service")...)
}

// gets waits until web answers so through the edge.
func (h *hosts) gets(path string, want int, text string) {
	h.edge.T.Helper()
	var status int
	var got string
	h.edge.Eventually(fmt.Sprintf("%s answers %d %s", path, want, text), func() bool {
		resp, err := h.edge.Client(false).Do(h.edge.Request(http.MethodGet, path, ""))
		if err != nil {
			got = err.Error()
			return false
		}
		defer resp.Body.Close()
		b := make([]byte, 4096)
		n, _ := resp.Body.Read(b)
		status, got = resp.StatusCode, string(b[:n])
		return status == want && strings.Contains(got, text)
	})
}

// TestHosts is a fleet of processes of their own: control, edge, a sidecar beside a service and one that starts its own.
func TestHosts(t *testing.T) {
	h := newHosts(t, "")
	h.gets("/call", http.StatusOK, "hello /x")

	t.Run("users", h.users)
	t.Run("bytes", h.bytes)
	t.Run("telemetry", h.telemetry)
	t.Run("identity", h.identity)
	t.Run("control is away", h.away)
	t.Run("jobs", h.jobs)
	t.Run("changes", h.changes)
	t.Run("end", h.end)
}

// collector takes what is sent over OTLP/HTTP.
type collector struct {
	mu   sync.Mutex
	sent []byte
}

// ServeHTTP implements http.Handler.
func (c *collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Path != "/v1/traces" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, body...)
}

// has tells whether a span has come from a side.
func (c *collector) has(side string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Contains(c.sent, []byte(side))
}

// echo is a service that speaks no HTTP: it says what it hears.
func echo(t *testing.T, at string) {
	t.Helper()
	ln, err := net.Listen("tcp", at)
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
}

// ask asks for what a user may, or may not.
func (h *hosts) ask(t *testing.T, subject, role string) *fleettest.Answer {
	t.Helper()
	bearer, err := h.control.staff.Issue(token.Claims{Subject: subject, Issuer: "https://staff.example", Audience: []string{"shop"}, Roles: []string{role}})
	must(t, err)
	return h.edge.Do(h.edge.Client(false), http.MethodGet, "/mine?for="+subject, "", "Authorization: Bearer "+bearer)
}

// users: who signed in at the edge is known at the last of two sidecars, and a policy about them holds there.
func (h *hosts) users(t *testing.T) {
	if a := h.ask(t, "ann", "customer"); a.StatusCode != http.StatusOK || !strings.Contains(a.Text, "hello /mine") {
		t.Errorf("a customer: %d %s", a.StatusCode, a.Text)
	}
	if a := h.ask(t, "tom", "trainee"); a.StatusCode != http.StatusForbidden {
		t.Errorf("a trainee: %d %s", a.StatusCode, a.Text)
	}
	for user, want := range map[string]string{"ann": `"/mine"`, "tom": "no-trainees"} {
		h.control.Eventually("orders records "+user, func() bool {
			r := verb(t, nil, "events", "--audit-dir="+h.orders.Path("records"), "--user="+user, "--format=json", h.orders.Dir)
			return r.code == exitOK && strings.Contains(r.out, want)
		})
	}
	if r := verb(t, nil, "events", h.web.state(), "--user=tom", "--format=json", h.web.Dir); strings.Contains(r.out, "Bearer") {
		t.Error("the access token is recorded")
	}
}

// bytes: what is no HTTP passes by the identity of who calls.
func (h *hosts) bytes(t *testing.T) {
	h.gets("/bytes", http.StatusOK, "ping")
	h.control.Eventually("the connection is recorded", func() bool {
		r := verb(t, nil, "events", h.cache.state(), "--kind=connection", "--format=json", h.cache.Dir)
		return strings.Contains(r.out, "service/web")
	})
}

// telemetry: what the model says of it holds at proxies that control feeds, and control shows how all stand.
func (h *hosts) telemetry(t *testing.T) {
	for _, side := range []string{"palisade.side\x12\x06\n\x04edge", "inbound", "outbound"} {
		h.control.Eventually("spans of "+side, func() bool { return h.traces.has(side) })
	}
	if r := verb(t, nil, "events", "--audit-dir="+h.orders.Path("records"), "--format=json", h.orders.Dir); r.code != exitOK || !strings.Contains(r.out, `"/x"`) {
		t.Errorf("records of orders: %+v", r)
	}
	if _, err := os.Stat(h.orders.Path(".palisade/events")); err == nil {
		t.Error("there are records in the state directory too")
	}
	want := []string{
		`palisade_control_proxies{state="current"} 4`, `palisade_control_proxies{state="away"} 0`, "palisade_control_enrolments_total 4", "palisade_control_leads 1",
		"palisade_control_bus_connected 1", `palisade_acts_total{kind="enrolled",outcome="done"} 8`, "palisade_snapshot_info{version=",
	}
	var text string
	h.control.Eventually("control's metrics", func() bool {
		text = h.control.Get("http://" + h.adminAt + "/metrics").Text
		return !slices.ContainsFunc(want, func(line string) bool { return !strings.Contains(text, line) })
	})
	if a := h.control.Get("http://" + h.adminAt + "/readyz"); a.StatusCode != http.StatusOK {
		t.Errorf("ready: %d %s", a.StatusCode, a.Text)
	}
}

// identity: the service that was started and the one that is declared get theirs, nobody else gets any.
func (h *hosts) identity(t *testing.T) {
	h.gets("/who", http.StatusOK, "spiffe://shop.example/service/web")
	fetch := func(d *daemon, at string) (string, error) {
		svid, err := workloadapi.FetchX509SVID(t.Context(), workloadapi.WithAddr("unix://"+d.Path(at)))
		if err != nil {
			return "", err
		}
		return svid.ID.String(), nil
	}
	if id, err := fetch(h.orders, ".palisade/workload.sock"); id != "spiffe://shop.example/service/orders" { // we have the declared path
		t.Errorf("%q, %v", id, err)
	}
	if id, err := fetch(h.web, ".palisade/run/workload.sock"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a stranger is web: %q, %v", id, err)
	}
	h.web.Says("no-match")
}

// away: what serves goes on without control, also after a start.
func (h *hosts) away(t *testing.T) {
	h.control.kill()
	h.gets("/call", http.StatusOK, "hello /x")
	if code := h.web.end(); code != 0 {
		t.Errorf("web ended with %d", code)
	}
	if _, err := os.Stat(h.web.Path("stopped")); err != nil {
		t.Errorf("the service was not asked to end: %v", err)
	}
	h.startWeb()
	h.gets("/call", http.StatusOK, "hello /x")
	h.orders.kill()
	h.orders.start(h.verb(h.orders, "sidecar", "--service=orders", "--listen="+h.ordersAt)...)
	h.gets("/call", http.StatusOK, "hello /x")
	h.control.startControl("--console=127.0.0.1:0")
	h.gets("/call", http.StatusOK, "hello /x")
}

// jobs end by themselves, with an exit code that is ours.
func (h *hosts) jobs(t *testing.T) {
	d := h.host("service/job")
	token := "--join-token-file=" + d.Path("token")
	env := []string{"PID_FILE=" + d.Path("job.pid"), "BEHAVIOUR=job"}
	run := func(args ...string) result {
		return verb(t, env, append(h.verb(d, "run", token, "-q", "--service=job", "--listen=127.0.0.1:0", "--"), args...)...)
	}
	if r := run("test-service"); r.code != 0 || !strings.Contains(r.out, "job: 200 hello /job") {
		t.Errorf("%d %s\n%s", r.code, r.out, r.err)
	}
	for script, want := range map[string]int{"exit 7": 7, "kill -KILL $$": 128 + 9, "kill -TERM $$": 128 + 15} {
		if r := run("sh", "-c", script); r.code != want {
			t.Errorf("%s: %d\n%s", script, r.code, r.err)
		}
	}
	r := run("sh", "-c", "cat /etc/hosts; ls "+d.Path(".palisade"))
	if !strings.Contains(r.out, " orders\n") || strings.Contains(r.out, "ring") {
		t.Errorf("the service sees %s", r.out)
	}
	if r := run("no-such-program"); r.code != exitError || !strings.Contains(r.err, "no-such-program") {
		t.Errorf("no such program: %d\n%s", r.code, r.err)
	}
}

// changes: an applied model and a revocation reach the sidecars.
func (h *hosts) changes(t *testing.T) {
	h.control.Eventually("control has the record of a call", func() bool {
		return strings.Contains(h.control.verb("events", "side:inbound", "service:orders", "caller:web", "outcome:allowed").out, "orders")
	})
	h.control.Edit("palisade.yaml", "callers: [web, job]", "callers: [job]")
	if r := h.control.verb("apply", "--yes", "--watch=1s", h.control.Dir); r.code != exitFindings || !strings.Contains(r.err, "--accept") {
		t.Errorf("what was used is denied unasked: %d\n%s%s", r.code, r.out, r.err)
	}
	h.applyInConsole(t)
	h.gets("/call", 599, "orders") // the name is gone, or leads nowhere
	h.control.Edit("palisade.yaml", "callers: [job]", "callers: [web, job]")
	h.control.must("apply", "--yes", "--watch=1s", h.control.Dir)
	h.gets("/call", http.StatusOK, "hello /x")
	h.control.must("revoke", "service/orders")
	h.gets("/call", http.StatusBadGateway, "")
}

// applyInConsole applies the files of control's host in a browser: shown what it denies, once that is accepted.
func (h *hosts) applyInConsole(t *testing.T) {
	b := newWebBrowser(t, h.control.Fleet, "admin")
	_, body := b.ask("POST", "/sign-in", "code="+b.link.Fragment)
	form := "token=" + between(t, body, `name="token" value="`, `"`)
	status, body := b.ask("POST", "/model/plan", form+"&from=files")
	for _, want := range []string{"permits less", "services.orders.serve", "would newly be denied", `<span class="badge denied">`, "by web", `name="accept"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the plan lacks %q: %d\n%s", want, status, body)
		}
	}
	draft := "/model/draft/" + between(t, body, `action="/model/draft/`, `/apply"`)
	if status, body := b.ask("POST", draft+"/apply", form+"&watch=1s&confirm=yes"); status != http.StatusConflict || !strings.Contains(body, "Nothing is applied") {
		t.Errorf("what was used is denied unasked: %d\n%s", status, body)
	}
	b.ask("POST", draft+"/apply", form+"&watch=1s&confirm=yes&accept=yes&note=in+a+browser")
	h.control.Eventually("it is applied", func() bool {
		_, body = b.ask("GET", draft, "")
		return strings.Contains(body, `class="badge done">applied`)
	})
	if !strings.Contains(body, "<strong>web</strong>") || !strings.Contains(body, "Plan going back to") {
		t.Errorf("no proxy tried it:\n%s", body)
	}
	if r := h.control.verb("history", "--acts"); !strings.Contains(r.out, "apply") || !strings.Contains(h.control.verb("history").out, "in a browser") {
		t.Errorf("%+v", r)
	}
	h.control.Eventually("what was refused is an event", func() bool {
		return strings.Contains(h.control.verb("events", "reason:console-apply", "outcome:denied").out, "console-apply")
	})
}

// between is what stands between two texts.
func between(t *testing.T, text, before, after string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, before)
	out, _, end := strings.Cut(rest, after)
	if !ok || !end {
		t.Fatalf("nothing stands between %s and %s:\n%s", before, after, text)
	}
	return out
}

// end: everything ends in order.
func (h *hosts) end(t *testing.T) {
	for name, d := range map[string]*daemon{"edge": h.edge, "web": h.web, "orders": h.orders} { // proxies have begun again
		slack, err := os.ReadFile(fmt.Sprintf("/proc/%d/timerslack_ns", d.cmd.Process.Pid))
		if err == nil && strings.TrimSpace(string(slack)) != "1000000" { // not everybody may ask
			t.Errorf("timers of %s have a slack of %s ns", name, slack)
		}
	}
	for name, d := range map[string]*daemon{"edge": h.edge, "web": h.web, "cache": h.cache, "orders": h.orders, "control": h.control} {
		if code := d.end(); code != 0 {
			t.Errorf("%s ended with %d\n%s", name, code, &d.Messages)
		}
	}
	must(t, h.service.Process.Signal(syscall.Signal(0))) // what we have not started is left alone
}

// TestUpIdentity: a service that up starts finds its own identity at the socket that it is told, and nobody else does.
func TestUpIdentity(t *testing.T) {
	u := newUp(t, "", "")
	u.Edit("palisade.yaml", "providers:\n", "mesh: {}\nproviders:\n", "path: /front,", "path: /who,")
	u.Edge, u.Host = u.addrs[0], "app.localhost"
	u.startReady()
	if a := u.Do(u.Client(false), http.MethodGet, "/who", ""); a.Text != "spiffe://processes.example/service/front" {
		t.Errorf("the service is %d %s", a.StatusCode, a.Text)
	}
	_, err := workloadapi.FetchX509SVID(t.Context(), workloadapi.WithAddr("unix://"+u.Path(".palisade/run/front/workload.sock")))
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("a stranger gets %v", err)
	}
	u.Says("no-match")
	if out := u.Get("http://" + u.addrs[1] + "/metrics").Text; !strings.Contains(out, `palisade_svid_expiry_seconds{identity="spiffe://processes.example/service/front"} 3`) {
		t.Errorf("metrics:\n%s", out)
	}
}
