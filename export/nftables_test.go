package export_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/export"
)

// nft returns a command that runs nft where it may look at rules: as root, or in a namespace of its own.
func nft(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("nft")
	if err != nil {
		t.Skip("NOT TESTED: nft is not installed; scripts/deps.sh installs it")
	}
	if os.Geteuid() != 0 {
		return exec.CommandContext(t.Context(), "unshare", append([]string{"--map-root-user", "--net", path}, args...)...)
	}
	return exec.CommandContext(t.Context(), path, args...)
}

// TestNftablesIsRead has nft check every ruleset. The users of the models do not exist here, so one that does stands
// in for them.
func TestNftablesIsRead(t *testing.T) {
	named := regexp.MustCompile(`skuid (!= )?"[a-z]+"`)
	for _, g := range goldens(t) {
		r, err := export.Nftables(compile(t, g.file("palisade.yaml")), g.options(t).Nftables)
		if err != nil {
			continue // TestGolden holds what is wrong
		}
		cmd := nft(t, "-c", "-f", "-")
		cmd.Stdin = bytes.NewReader(named.ReplaceAll(r.Text, []byte(`skuid $1"nobody"`)))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s\n%s", g.name, err, out, r.Text)
		}
	}
}

// The users of the test: nobody has them.
const (
	sidecarUser = "62000"
	ordersUser  = "62001"
	catalogUser = "62002"
	otherUser   = "62003"
)

const hostModel = `version: 1
fleet: shop
trust_domain: shop.example
edge: {listeners: {main: {address: ":8443", tls: {local: true}}}}
mesh: {}
services:
  orders:
    address: http://127.0.0.1:7003
    expose: [{host: shop.example, path: /, allow: [{anyone: true}]}]
    workloads: [{unix: {user: "62001"}}]
    sidecar: {addresses: ["10.77.0.1:9443"]}
  catalog:
    address: http://127.0.0.1:7002
    callers: [orders]
    workloads: [{unix: {user: "62002"}}]
    sidecar: {addresses: ["10.77.0.1:9444"]}
  elsewhere:
    address: http://127.0.0.1:7001
    callers: [orders]
    workloads: [{unix: {user: "62004"}}]
    sidecar: {addresses: ["10.77.0.2:9443"]}
`

// host is a machine in a network namespace, and another one beside it.
type host struct {
	t           *testing.T
	name, other string
}

func newHost(t *testing.T) *host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root loads rules for several users")
	}
	h := &host{t: t, name: fmt.Sprintf("palisade-%d-a", os.Getpid()), other: fmt.Sprintf("palisade-%d-b", os.Getpid())}
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
		"-n " + h.name + " link set there up",
		"-n " + h.other + " link set there up",
	} {
		if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v %s", line, err, out)
		}
	}
	return h
}

// in runs a command on one of the two hosts.
func (h *host) in(namespace string, args ...string) *exec.Cmd {
	return exec.CommandContext(h.t.Context(), "ip", append([]string{"netns", "exec", namespace}, args...)...)
}

// as runs this test's program as a user; see TestMain.
func (h *host) as(namespace, user string, words ...string) *exec.Cmd {
	cmd := h.in(namespace, "setpriv", "--reuid="+user, "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", program(h.t))
	if user == "0" {
		cmd = h.in(namespace, program(h.t))
	}
	cmd.Env = append(os.Environ(), inside+"="+strings.Join(words, " "))
	return cmd
}

// program is a copy of this program that every user can read.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("palisade-export-test-%d", os.Getpid()))
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

// start runs something on a host until the test ends, and waits until it is ready.
func (h *host) start(namespace, user string, words ...string) *bufio.Reader {
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
	h.t.Cleanup(func() {
		_ = in.Close() // its end
		_ = cmd.Wait()
	})
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); err != nil || line != "ready\n" {
		h.t.Fatalf("%v on %s: %q %v", words, namespace, line, err)
	}
	return r
}

// counters are the packets counted so far.
func (h *host) counters() map[string]int {
	h.t.Helper()
	out, err := h.in(h.name, "nft", "-j", "list", "counters", "table", "inet", "palisade").Output()
	var list struct {
		Nftables []struct {
			Counter struct {
				Name    string `json:"name"`
				Packets int    `json:"packets"`
			} `json:"counter"`
		} `json:"nftables"`
	}
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	if err != nil {
		h.t.Fatalf("%v %s", err, out)
	}
	all := map[string]int{}
	for _, o := range list.Nftables {
		if o.Counter.Name != "" {
			all[o.Counter.Name] = o.Counter.Packets
		}
	}
	return all
}

// TestNftablesHolds loads a ruleset into a host of its own. Services listen on all addresses and on a port that
// nobody declared; real processes of several users call them and each other.
func TestNftablesHolds(t *testing.T) {
	nft(t)
	h := newHost(t)
	r, err := export.Nftables(compile(t, hostModel), export.NftablesOptions{
		Hosts: []string{"10.77.0.1"}, SidecarUser: sidecarUser, Outbound: map[string][]string{"orders": {"15001"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second replaces the first
		cmd := h.in(h.name, "nft", "-f", "-")
		cmd.Stdin = bytes.NewReader(r.Text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v %s\n%s", err, out, r.Text)
		}
	}
	for _, s := range []struct{ namespace, user, address string }{
		{h.name, ordersUser, ":7003"},
		{h.name, ordersUser, ":7999"}, // nobody declared it
		{h.name, catalogUser, ":7002"},
		{h.name, sidecarUser, "10.77.0.1:9443"},
		{h.name, sidecarUser, "127.0.0.1:15001"},
		{h.name, sidecarUser, "127.0.0.1:15002"},
		{h.other, otherUser, ":9443"},
		{h.other, otherUser, ":7003"},
	} {
		h.start(s.namespace, s.user, "serve", s.address)
	}
	logged := h.start(h.name, "0", "nflog", "5")
	for _, c := range []struct{ what, namespace, user, address, counter string }{
		{"a sidecar asks its service", h.name, sidecarUser, "127.0.0.1:7003", ""},
		{"and over IPv6", h.name, sidecarUser, "[::1]:7003", ""},
		{"and the other", h.name, sidecarUser, "127.0.0.1:7002", ""},
		{"a service asks its sidecar", h.name, ordersUser, "127.0.0.1:15001", ""},
		{"one without declared sockets, too", h.name, catalogUser, "127.0.0.1:15002", ""},
		{"another host asks a sidecar", h.other, otherUser, "10.77.0.1:9443", ""},
		{"a sidecar asks another host", h.name, sidecarUser, "10.77.0.2:9443", ""},
		{"whoever is no service is left alone", h.name, otherUser, "10.77.0.2:9443", ""},
		{"also on the port of a service elsewhere", h.name, otherUser, "10.77.0.2:7003", ""},
		{"somebody asks a service past its sidecar", h.name, otherUser, "127.0.0.1:7003", "to-orders"},
		{"and by the host's address", h.name, otherUser, "10.77.0.1:7003", "to-orders"},
		{"and over IPv6", h.name, otherUser, "[::1]:7003", "to-orders"},
		{"root does", h.name, "0", "127.0.0.1:7002", "to-catalog"},
		{"a service asks another directly", h.name, ordersUser, "127.0.0.1:7002", "to-catalog"},
		{"and back", h.name, catalogUser, "127.0.0.1:7003", "to-orders"},
		{"another host asks a service", h.other, "0", "10.77.0.1:7003", "to-orders"},
		{"a service asks another host", h.name, ordersUser, "10.77.0.2:9443", "by-62001"},
		{"the other does", h.name, catalogUser, "10.77.0.2:7003", "by-62002"},
		{"a service asks through the sidecar of another", h.name, ordersUser, "127.0.0.1:15002", "by-62001"},
		{"a service asks a sidecar as if it were one", h.name, ordersUser, "10.77.0.1:9443", "by-62001"},
		{"a service answers on a port that nobody declared", h.name, sidecarUser, "127.0.0.1:7999", "by-62001"},
		{"and to another host", h.other, "0", "10.77.0.1:7999", "by-62001"},
		{"a service sends a datagram away", h.name, ordersUser, "udp:10.77.0.2:53", "by-62001"},
	} {
		before := h.counters()
		cmd := h.as(c.namespace, c.user, "dial", c.address, map[bool]string{true: "20s", false: "700ms"}[c.counter == ""])
		out, err := cmd.CombinedOutput()
		after := h.counters()
		if passed := err == nil; passed != (c.counter == "") {
			t.Errorf("%s: %v %s", c.what, err, out)
		}
		for name, n := range after {
			if grew := n > before[name]; grew != (name == c.counter) {
				t.Errorf("%s: counter %s went from %d to %d", c.what, name, before[name], n)
			}
		}
	}
	seen := firstLines(logged, 4)
	for _, words := range []string{"to orders past its sidecar", "to catalog past its sidecar", "by 62001 past the sidecar", "by 62002 past the sidecar"} {
		if !seen["palisade: "+words+":"] {
			t.Errorf("nobody logged %q: %v", words, seen)
		}
	}
}

// firstLines reads so many lines, or those that come in time.
func firstLines(r *bufio.Reader, n int) map[string]bool {
	lines := make(chan string, n)
	go func() { // it ends with the process that writes
		defer close(lines)
		for range n {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			lines <- strings.TrimSpace(line)
		}
	}()
	seen, late := map[string]bool{}, time.After(20*time.Second)
	for {
		select {
		case line, more := <-lines:
			if !more {
				return seen
			}
			seen[line] = true
		case <-late:
			return seen
		}
	}
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

// act is a process on a host.
func act(words []string) error {
	switch words[0] {
	case "serve":
		return serve(words[1])
	case "dial":
		timeout, err := time.ParseDuration(words[2])
		if err != nil {
			return err
		}
		return dial(words[1], timeout)
	case "nflog":
		return printLog(words[1])
	}
	return errors.New("unknown word " + words[0])
}

// serve greets every connection until its standard input ends.
func serve(address string) error {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.WriteString(c, "hello\n")
				_ = c.Close()
			}()
		}
	}()
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// dial wants to be greeted.
func dial(address string, timeout time.Duration) error {
	network, address, udp := "tcp", strings.TrimPrefix(address, "udp:"), strings.HasPrefix(address, "udp:")
	if udp {
		network = "udp"
	}
	c, err := net.DialTimeout(network, address, timeout)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return err
	}
	_, err = bufio.NewReader(c).ReadString('\n')
	return err
}
