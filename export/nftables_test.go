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
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/export"
	"github.com/palisade-security/palisade/internal/hosttest"
)

// nft returns a command that runs nft where it may look at rules: as root, or in a namespace of its own.
func nft(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	hosttest.Need(t, "nft", "unshare")
	if os.Geteuid() != 0 {
		return exec.CommandContext(t.Context(), "unshare", append([]string{"--map-root-user", "--net", "nft"}, args...)...)
	}
	return exec.CommandContext(t.Context(), "nft", args...)
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

// counters are the packets counted so far.
func counters(t *testing.T, h *hosttest.Pair) map[string]int {
	t.Helper()
	out, err := h.In(h.Name, "nft", "-j", "list", "counters", "table", "inet", "palisade").Output()
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
		t.Fatalf("%v %s", err, out)
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
	h := hosttest.NewPair(t)
	r, err := export.Nftables(compile(t, hostModel), export.NftablesOptions{
		Hosts: []string{"10.77.0.1"}, SidecarUser: sidecarUser, Outbound: map[string][]string{"orders": {"15001"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second replaces the first
		cmd := h.In(h.Name, "nft", "-f", "-")
		cmd.Stdin = bytes.NewReader(r.Text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v %s\n%s", err, out, r.Text)
		}
	}
	for _, s := range []struct{ namespace, user, address string }{
		{h.Name, ordersUser, ":7003"},
		{h.Name, ordersUser, ":7999"}, // nobody declared it
		{h.Name, catalogUser, ":7002"},
		{h.Name, sidecarUser, "10.77.0.1:9443"},
		{h.Name, sidecarUser, "127.0.0.1:15001"},
		{h.Name, sidecarUser, "127.0.0.1:15002"},
		{h.Other, otherUser, ":9443"},
		{h.Other, otherUser, ":7003"},
	} {
		h.Start(s.namespace, s.user, "serve", s.address)
	}
	logged := h.Start(h.Name, "0", "nflog", "5")
	for _, c := range []struct{ what, namespace, user, address, counter string }{
		{"a sidecar asks its service", h.Name, sidecarUser, "127.0.0.1:7003", ""},
		{"and over IPv6", h.Name, sidecarUser, "[::1]:7003", ""},
		{"and the other", h.Name, sidecarUser, "127.0.0.1:7002", ""},
		{"a service asks its sidecar", h.Name, ordersUser, "127.0.0.1:15001", ""},
		{"one without declared sockets, too", h.Name, catalogUser, "127.0.0.1:15002", ""},
		{"another host asks a sidecar", h.Other, otherUser, "10.77.0.1:9443", ""},
		{"a sidecar asks another host", h.Name, sidecarUser, "10.77.0.2:9443", ""},
		{"whoever is no service is left alone", h.Name, otherUser, "10.77.0.2:9443", ""},
		{"also on the port of a service elsewhere", h.Name, otherUser, "10.77.0.2:7003", ""},
		{"somebody asks a service past its sidecar", h.Name, otherUser, "127.0.0.1:7003", "to-orders"},
		{"and by the host's address", h.Name, otherUser, "10.77.0.1:7003", "to-orders"},
		{"and over IPv6", h.Name, otherUser, "[::1]:7003", "to-orders"},
		{"root does", h.Name, "0", "127.0.0.1:7002", "to-catalog"},
		{"a service asks another directly", h.Name, ordersUser, "127.0.0.1:7002", "to-catalog"},
		{"and back", h.Name, catalogUser, "127.0.0.1:7003", "to-orders"},
		{"another host asks a service", h.Other, "0", "10.77.0.1:7003", "to-orders"},
		{"a service asks another host", h.Name, ordersUser, "10.77.0.2:9443", "by-62001"},
		{"the other does", h.Name, catalogUser, "10.77.0.2:7003", "by-62002"},
		{"a service asks through the sidecar of another", h.Name, ordersUser, "127.0.0.1:15002", "by-62001"},
		{"a service asks a sidecar as if it were one", h.Name, ordersUser, "10.77.0.1:9443", "by-62001"},
		{"a service answers on a port that nobody declared", h.Name, sidecarUser, "127.0.0.1:7999", "by-62001"},
		{"and to another host", h.Other, "0", "10.77.0.1:7999", "by-62001"},
		{"a service sends a datagram away", h.Name, ordersUser, "udp:10.77.0.2:53", "by-62001"},
	} {
		before := counters(t, h)
		cmd := h.As(c.namespace, c.user, "dial", c.address, map[bool]string{true: "20s", false: "700ms"}[c.counter == ""])
		out, err := cmd.CombinedOutput()
		after := counters(t, h)
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
func firstLines(r *hosttest.Process, n int) map[string]bool {
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

func TestMain(m *testing.M) {
	if words := hosttest.Words(); len(words) > 0 {
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
