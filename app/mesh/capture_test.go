package mesh

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app/capture"
	"github.com/palisade-security/palisade/internal/hosttest"
	"github.com/palisade-security/palisade/model"
)

// What the processes of TestCaptured find in their environment.
const (
	inNetns = "PALISADE_TEST_IN_NETNS" // set: the test runs in a network namespace of its own
	asking  = "PALISADE_TEST_ASKING"   // what a service asks: http URL, or host:port
)

func TestMain(m *testing.M) {
	if what := os.Getenv(asking); what != "" {
		fmt.Print(answerTo(what))
		return
	}
	os.Exit(m.Run())
}

// answerTo is what a service hears that knows of no sidecar.
func answerTo(what string) string {
	if strings.HasPrefix(what, "http") {
		client := http.Client{Timeout: 20 * time.Second}
		resp, err := client.Get(what)
		if err != nil {
			return "nothing"
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return fmt.Sprint(resp.StatusCode, " ", string(b))
	}
	c, err := net.Dial("tcp", what)
	if err != nil {
		return "nothing"
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintln(c, "hello")
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return "nothing"
	}
	return strings.TrimSpace(line)
}

// The users of services in TestCaptured: nobody has them.
var captureUsers = map[string]uint32{"web": 62021, "orders": 62022}

// TestCaptured holds that services that know of no sidecar call through theirs whatever address they take, and reach nothing
// else. They are real processes, in a network namespace of the test's own.
func TestCaptured(t *testing.T) {
	if os.Getenv(inNetns) == "" {
		again(t)
		return
	}
	if out, err := exec.CommandContext(t.Context(), "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := capture.Surround(); err != nil {
		t.Fatal(err)
	}
	f := newFleet(t)
	for name, id := range captureUsers {
		port := uint16(15001 + id - 62021)
		var listeners []net.Listener
		for _, at := range []string{"127.0.0.1", "::1"} {
			var lc net.ListenConfig
			lc.SetMultipathTCP(false)
			ln, err := lc.Listen(t.Context(), "tcp", netip.AddrPortFrom(netip.MustParseAddr(at), port).String())
			if err != nil {
				t.Fatal(err)
			}
			listeners = append(listeners, ln)
		}
		f.Sidecar(name).Capture(listeners...)
		r := &capture.Rules{Service: name, Users: []capture.User{{ID: id}}, Sidecar: &capture.User{}, Port: port, Serves: uint16(f.service(name).Port())}
		if err := capture.On(t.Context(), "", r); err != nil {
			t.Fatal(err)
		}
	}
	catalog, ledger := f.service("catalog"), f.service("ledger")
	sidecars, _ := f.places.of("catalog")
	door := netip.MustParseAddr(catalog.Loopback)
	for _, c := range []struct{ what, who, asks, want, seen string }{
		{"a callee at its own address", "web", catalog.Address + "/catalog", "200 catalog /catalog", "catalog/inbound GET catalog/catalog|web/outbound GET catalog/catalog"},
		{"what only others may ask there", "web", catalog.Address + "/stock", "403 *", "web/outbound GET catalog/stock call-not-declared"},
		{"at its sidecar", "web", "http://" + sidecars[0] + "/catalog", "200 catalog /catalog", "catalog/inbound GET catalog/catalog|web/outbound GET catalog/catalog"},
		{"at the address that stands for it", "web", fmt.Sprintf("http://%s/catalog", door), "200 catalog /catalog", "catalog/inbound GET catalog/catalog|web/outbound GET catalog/catalog"},
		{"one that it may not call", "web", f.service("orders").Address, "nothing", "web/egress  " + f.service("orders").HostPort() + " call-not-declared"},
		{"and over TCP", "web", ledger.HostPort(), "nothing", "web/egress  " + ledger.HostPort() + " call-not-declared"},
		{"itself", "web", f.service("web").Address, "nothing", "web/egress  " + f.service("web").HostPort() + " call-not-declared"},
		{"what stands for those that are not declared", "web", "http://" + model.Undeclared().String() + "/", "403 *", "web/outbound GET " + model.Undeclared().String() + "/ call-not-declared"},
		{"a host outside", "web", "http://203.0.113.7/", "nothing", "web/egress  203.0.113.7:80 call-not-declared"},
		{"and over IPv6", "web", "http://[2001:db8::7]/", "nothing", "web/egress  [2001:db8::7]:80 call-not-declared"},
		{"the capture port", "web", "127.0.0.1:15001", "nothing", "web/egress   undecided"},
		{"that of another service", "web", "127.0.0.1:15002", "nothing", "web/egress  127.0.0.1:15002 call-not-declared"},
		{"a callee that speaks no HTTP", "orders", ledger.HostPort(), "hello", "ledger/inbound  ledger|orders/outbound  ledger:" + fmt.Sprint(ledger.Port())},
	} {
		if got := ask(t, c.who, c.asks); got != c.want && !strings.HasPrefix(got, strings.TrimSuffix(c.want, "*")) {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
		seen := f.records.take(t, strings.Count(c.seen, "|")+1)
		slices.Sort(seen) // which end is recorded first is open
		if got := strings.Join(seen, "|"); got != c.seen {
			t.Errorf("%s: recorded %q, want %q", c.what, got, c.seen)
		}
	}
	for _, at := range []string{catalog.Address, "http://203.0.113.7/"} { // the test itself is captured by nothing
		if got := ask(t, "", at); strings.HasPrefix(at, "http://203") != (got == "nothing") {
			t.Errorf("nobody's process asked %s: got %q", at, got)
		}
	}
	narrowed(t, f)
}

// narrowed holds that a callee that is taken from a service is not found at its address any more.
func narrowed(t *testing.T, f *fleet) {
	t.Helper()
	snap := *f.snap
	snap.Services = nil
	for _, s := range f.snap.Services {
		if s.Name == "catalog" {
			s.Callers, s.Serve = nil, nil
		}
		snap.Services = append(snap.Services, s)
	}
	prepared, findings, err := f.Prepare(t.Context(), &snap)
	if err != nil {
		t.Fatal(err, findings)
	}
	prepared.Apply()
	at := f.service("catalog")
	if got := ask(t, "web", at.Address+"/catalog"); got != "nothing" {
		t.Errorf("got %q of a service that may not be called any more", got)
	}
	want := "web/egress  " + at.HostPort() + " call-not-declared"
	if seen := f.records.take(t, 1); strings.Join(seen, "|") != want {
		t.Errorf("recorded %q, want %q", seen, want)
	}
}

// service is one of the fleet.
func (f *fleet) service(name string) *model.ResolvedService { return f.snap.ServiceByName(name) }

// ask runs a process of a service, or of nobody's, that asks.
func ask(t *testing.T, service, what string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	id := uint32(62029)
	if service != "" {
		id = captureUsers[service]
	}
	cmd := exec.CommandContext(ctx, "setpriv", fmt.Sprintf("--reuid=%d", id), "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", os.Getenv(inNetns))
	cmd.Env = append(os.Environ(), asking+"="+what)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return string(out)
}

// again runs the test in a network namespace, with a copy of this program that every user can read.
func again(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root captures several users")
	}
	hosttest.Need(t, "nft", "unshare", "setpriv")
	self := hosttest.Program(t)
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", self, "-test.run=^TestCaptured$", "-test.v")
	cmd.Env = append(os.Environ(), inNetns+"="+self)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestCaptured") {
		t.Fatalf("%v\n%s", err, out)
	}
}
