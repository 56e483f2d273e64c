package capture

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The users of the tests: nobody has them.
const (
	sidecarUser = "62010"
	ordersUser  = "62011"
	otherUser   = "62013"
)

// ordersRules capture a service of a host.
func ordersRules() *Rules {
	return &Rules{
		Service: "orders", Users: []User{{ID: 62011}}, Sidecar: &User{ID: 62010}, Port: 15001, Serves: 7003,
	}
}

// host is a machine in a network namespace, and another one beside it to which all its ways lead.
type host struct {
	t           *testing.T
	name, other string
}

func newHost(t *testing.T) *host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root loads rules for several users")
	}
	needNft(t)
	h := &host{t: t, name: fmt.Sprintf("palisade-%d-c", os.Getpid()), other: fmt.Sprintf("palisade-%d-d", os.Getpid())}
	if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", h.name).CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: no network namespaces here: %v %s", err, out)
	}
	t.Cleanup(func() {
		for _, name := range []string{h.name, h.other} {
			_ = exec.Command("ip", "netns", "delete", name).Run() // the kernel does so at last
		}
	})
	for _, line := range []string{
		"netns add " + h.other,
		"-n " + h.name + " link set lo up",
		"-n " + h.other + " link set lo up",
		"-n " + h.name + " link add there type veth peer name there netns " + h.other,
		"-n " + h.name + " address add 10.77.0.1/24 dev there",
		"-n " + h.other + " address add 10.77.0.2/24 dev there",
		"-n " + h.name + " address add fd77::1/64 dev there nodad",
		"-n " + h.other + " address add fd77::2/64 dev there nodad",
		"-n " + h.name + " link set there up",
		"-n " + h.other + " link set there up",
		"-n " + h.name + " route add default via 10.77.0.2",
		"-n " + h.name + " -6 route add default via fd77::2",
	} {
		if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v %s", line, err, out)
		}
	}
	for _, name := range []string{h.name, h.other} { // the users of the tests serve well-known ports
		cmd := exec.CommandContext(t.Context(), "ip", "netns", "exec", name, "sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	return h
}

func needNft(t testing.TB) {
	t.Helper()
	if _, err := findNft(); err != nil {
		t.Skip("NOT TESTED: nft is not installed; scripts/deps.sh installs it")
	}
}

// as runs this test's program on one of the two hosts as a user without rights; see TestMain.
func (h *host) as(namespace, user string, words ...string) *exec.Cmd {
	args := []string{"netns", "exec", namespace}
	if user != "0" {
		args = append(args, "setpriv", "--reuid="+user, "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")
	}
	cmd := exec.CommandContext(h.t.Context(), "ip", append(args, program(h.t))...)
	cmd.Env = append(os.Environ(), inside+"="+strings.Join(words, " "))
	return cmd
}

// program is a copy of this program that every user can read.
func program(t testing.TB) string {
	t.Helper()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("palisade-capture-test-%d", os.Getpid()))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	text, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(path, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(path) })
	return path
}

// process is something that runs on a host.
type process struct {
	*bufio.Reader // its output
	cmd           *exec.Cmd
	in            io.WriteCloser
}

// start runs something on a host until the test ends, and waits until it is ready.
func (h *host) start(namespace, user string, words ...string) *process {
	h.t.Helper()
	cmd := h.as(namespace, user, words...)
	in, err := cmd.StdinPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	p := &process{Reader: bufio.NewReader(out), cmd: cmd, in: in}
	h.t.Cleanup(p.end)
	if line, err := p.ReadString('\n'); err != nil || line != "ready\n" {
		h.t.Fatalf("%v on %s: %q %v", words, namespace, line, err)
	}
	return p
}

// end ends it, and waits until it has.
func (p *process) end() {
	_ = p.in.Close()
	_ = p.cmd.Wait() // it may have ended before
}

// on captures, or fails.
func (h *host) on(r *Rules) {
	h.t.Helper()
	if err := On(h.t.Context(), h.name, r); err != nil {
		text, _ := r.Text()
		h.t.Fatalf("%v\n%s", err, text)
	}
}

// status is that of the one service that is captured.
func (h *host) status() Status {
	h.t.Helper()
	all, err := List(h.t.Context(), h.name)
	if err != nil || len(all) != 1 {
		h.t.Fatalf("%v %v", all, err)
	}
	return all[0]
}

// ruleset is what nft says about the host.
func (h *host) ruleset() string {
	h.t.Helper()
	out, err := nft(h.t.Context(), h.name, "", "--stateless", "list", "ruleset")
	if err != nil {
		h.t.Fatal(err)
	}
	return string(out)
}

// inside holds the words of a process on a host.
const inside = "PALISADE_TEST_INSIDE"

func TestMain(m *testing.M) {
	if words := strings.Fields(os.Getenv(inside)); len(words) > 0 {
		if err := act(words); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// dead is how long something is waited for that must not come.
const dead = 400 * time.Millisecond

// trial is a process that tries to reach something, and what it finds.
type trial struct {
	what, user, where string // where: as for dial
	answer            string // empty: none
	counts            string // the counters that grow: captured, out, in
}

// try runs a trial and says what it found and counted.
func (h *host) try(c trial) {
	h.t.Helper()
	before := h.status()
	wait := dead
	if c.answer != "" {
		wait = 20 * time.Second
	}
	out, err := h.as(h.name, c.user, "dial", c.where, wait.String()).Output()
	got := strings.TrimSpace(string(out))
	if (err == nil) != (c.answer != "") || got != c.answer {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			got += string(exit.Stderr)
		}
		h.t.Errorf("%s: got %q, want %q", c.what, got, c.answer)
	}
	after := h.status()
	var grew []string
	if after.Captured > before.Captured {
		grew = append(grew, "captured")
	}
	if after.RefusedOut > before.RefusedOut {
		grew = append(grew, "out")
	}
	if after.RefusedIn > before.RefusedIn {
		grew = append(grew, "in")
	}
	if strings.Join(grew, " ") != c.counts {
		h.t.Errorf("%s: counted %q, want %q", c.what, grew, c.counts)
	}
}

// greeting is what a listener says; see serve.
func greeting(c net.Conn, captures bool) string {
	if !captures {
		return "hello"
	}
	to, err := Original(c)
	switch {
	case errors.Is(err, ErrDirect):
		return "direct"
	case err != nil:
		return err.Error()
	}
	return "for " + to.String()
}
