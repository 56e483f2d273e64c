package bus_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/internal/porttest"
)

// cluster is three nats-server processes, built from the module that the product links. For root each has a network
// namespace of its own; otherwise they share the loopback address.
type cluster struct {
	t       *testing.T
	dir     string
	binary  string
	nodes   []*node
	spaces  bool
	bridge  string
	ca      *authority
	keys    *bus.Keys
	caFile  string
	cert    string
	key     string
	control *bus.Client
}

type node struct {
	name, space string
	ip          string
	port, route int
	cmd         *exec.Cmd
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), ca: newAuthority(t), spaces: os.Getuid() == 0}
	c.binary = filepath.Join(c.dir, "nats-server")
	c.run("go", "build", "-o", c.binary, "github.com/nats-io/nats-server/v2")
	var err error
	c.keys, err = bus.NewKeys()
	must(t, err)
	for i := range 3 {
		n := &node{name: fmt.Sprintf("n%d", i+1), ip: "127.0.0.1", port: porttest.FreePort(t), route: porttest.FreePort(t)}
		if c.spaces {
			n.ip, n.port, n.route = fmt.Sprintf("10.97.%d.%d", os.Getpid()%250+1, i+2), 4222, 6222
		}
		c.nodes = append(c.nodes, n)
	}
	if c.spaces {
		c.network()
	}
	c.caFile, c.cert, c.key = c.ca.files(t, c.dir, func(x *x509.Certificate) {
		for _, n := range c.nodes {
			x.IPAddresses = append(x.IPAddresses, net.ParseIP(n.ip))
		}
	})
	for _, n := range c.nodes {
		c.start(n)
		t.Cleanup(func() { c.kill(n) })
	}
	return c
}

func (c *cluster) run(name string, args ...string) {
	c.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		c.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// network makes a bridge and a namespace for each node.
func (c *cluster) network() {
	id := rand.N(1_000_000) // links of a namespace that was just deleted may still be there
	c.bridge = fmt.Sprintf("pb%d", id)
	c.t.Cleanup(func() { _ = exec.Command("ip", "link", "del", c.bridge).Run() })
	c.run("ip", "link", "add", c.bridge, "type", "bridge")
	prefix := c.nodes[0].ip[:strings.LastIndex(c.nodes[0].ip, ".")]
	c.run("ip", "addr", "add", prefix+".1/24", "dev", c.bridge)
	c.run("ip", "link", "set", c.bridge, "up")
	for i, n := range c.nodes {
		n.space = fmt.Sprintf("pb%d-%d", id, i)
		outer, inner := fmt.Sprintf("pb%do%d", id, i), fmt.Sprintf("pb%di%d", id, i)
		c.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", n.space).Run() })
		c.run("ip", "netns", "add", n.space)
		c.t.Cleanup(func() { _ = exec.Command("ip", "link", "del", outer).Run() })
		c.run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
		c.run("ip", "link", "set", outer, "master", c.bridge, "up")
		c.run("ip", "link", "set", inner, "netns", n.space)
		c.run("ip", "-n", n.space, "addr", "add", n.ip+"/24", "dev", inner)
		c.run("ip", "-n", n.space, "link", "set", inner, "up")
		c.run("ip", "-n", n.space, "link", "set", "lo", "up")
	}
}

func (c *cluster) start(n *node) {
	c.t.Helper()
	var routes []string
	for _, m := range c.nodes {
		routes = append(routes, fmt.Sprintf("nats-route://%s:%d", m.ip, m.route))
	}
	access, err := c.keys.ServerConfig()
	must(c.t, err)
	tls := fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true, timeout: 5 }", c.cert, c.key, c.caFile)
	config := fmt.Sprintf(`server_name: %s
listen: "%s:%d"
%s
ping_interval: "5s"
jetstream { store_dir: %q, sync_interval: always }
cluster { name: test, listen: "%s:%d", routes: [%s], %s, ping_interval: "2s" }
%s`, n.name, n.ip, n.port, tls, filepath.Join(c.dir, n.name), n.ip, n.route, strings.Join(routes, ", "), tls, access)
	path := filepath.Join(c.dir, n.name+".conf")
	must(c.t, os.WriteFile(path, []byte(config), 0o600))
	args := []string{c.binary, "-c", path}
	if c.spaces {
		args = append([]string{"ip", "netns", "exec", n.space}, args...)
	}
	c.serve(n, args...)
}

// serve starts a node's process.
func (c *cluster) serve(n *node, args ...string) {
	c.t.Helper()
	n.cmd = exec.Command(args[0], args[1:]...)
	log, err := os.OpenFile(filepath.Join(c.dir, n.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(c.t, err)
	defer log.Close()
	n.cmd.Stderr, n.cmd.Stdout = log, log
	must(c.t, n.cmd.Start())
}

func (c *cluster) kill(n *node) {
	if n.cmd != nil {
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait()
		n.cmd = nil
	}
}

// stop ends a node in order.
func (c *cluster) stop(n *node) {
	must(c.t, n.cmd.Process.Signal(syscall.SIGTERM))
	_ = n.cmd.Wait()
	n.cmd = nil
}

// part keeps a node from the others, though not from clients; without namespaces it freezes the node.
func (c *cluster) part(n *node) {
	if !c.spaces {
		must(c.t, n.cmd.Process.Signal(syscall.SIGSTOP))
		return
	}
	var rules strings.Builder
	rules.WriteString("table inet part { chain in { type filter hook input priority 0; ")
	for _, m := range c.nodes {
		if m != n {
			fmt.Fprintf(&rules, "ip saddr %s drop; ", m.ip)
		}
	}
	rules.WriteString("}\n}\n")
	cmd := exec.Command("ip", "netns", "exec", n.space, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("nft: %v\n%s", err, out)
	}
}

func (c *cluster) heal(n *node) {
	if !c.spaces {
		must(c.t, n.cmd.Process.Signal(syscall.SIGCONT))
		return
	}
	c.run("ip", "netns", "exec", n.space, "nft", "delete", "table", "inet", "part")
}

func (c *cluster) urls() []string {
	var out []string
	for _, n := range c.nodes {
		out = append(out, c.url(n))
	}
	return out
}

func (c *cluster) url(n *node) string { return fmt.Sprintf("tls://%s:%d", n.ip, n.port) }

// role connects with keys, and as everybody with a certificate.
func (c *cluster) role(role bus.Role) *bus.Client {
	return connect(c.t, bus.Options{
		Name: string(role), URLs: c.urls(), TLS: c.ca.client(c.ca.issue(c.t, "spiffe://example/control", time.Hour)),
		Keys: c.keys, Role: role, Log: testLog(c.t),
	})
}

func (c *cluster) as(id string) *bus.Client {
	return connect(c.t, bus.Options{
		Name: id, ID: id, URLs: c.urls(), TLS: c.ca.client(c.ca.issue(c.t, id, time.Hour)), Log: testLog(c.t),
	})
}

// leader is the node that leads a stream.
func (c *cluster) leader(stream string) *node {
	c.t.Helper()
	var found *node
	eventually(c.t, "a leader", func() bool {
		name, _, err := c.control.Cluster(c.t.Context(), stream)
		for _, n := range c.nodes {
			if err == nil && n.name == name && n.cmd != nil {
				found = n
			}
		}
		return found != nil
	})
	return found
}

// settled waits until every replica has everything.
func (c *cluster) settled(streams ...string) {
	c.t.Helper()
	for _, s := range streams {
		eventually(c.t, s+" is whole again", func() bool {
			_, current, err := c.control.Cluster(c.t.Context(), s)
			return err == nil && current
		})
	}
}

// TestExternalServer holds that a server of its own, with our part of its configuration, obeys as the embedded one does.
func TestExternalServer(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts nats-server")
	}
	c := startCluster(t)
	r := &rig{ca: c.ca, keys: c.keys, rules: &rules{of: map[string]bus.Permissions{}}}
	c.control = c.role(bus.Control)
	operator := bus.NewOperator(c.role(bus.System))
	eventually(t, "three servers", func() bool {
		all, err := operator.Servers(soon(t))
		return err == nil && len(all) == 3
	})
	must(t, operator.CheckSync(soon(t)))
	for range 2 { // two controls
		callout(t, r, c.role(bus.Callout))
	}
	var clients []*bus.Client
	for i := range 6 { // on all nodes, by chance
		id := fmt.Sprintf("spiffe://example/service/%d", i%2)
		r.rules.set(id, &bus.Permissions{})
		clients = append(clients, c.as(id))
	}
	barred := func(c bus.Connection) bool { return c.ID == "spiffe://example/service/1" }
	r.rules.set("spiffe://example/service/1", nil)
	start := time.Now()
	n, err := operator.Cut(soon(t), barred)
	if err != nil || n != 3 {
		t.Fatalf("cut %d, %v", n, err)
	}
	for i, client := range clients {
		eventually(t, "who is revoked is cut", func() bool { return client.Connected() == (i%2 == 0) })
	}
	t.Logf("three connections cut on three servers after %v", time.Since(start))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = bus.Connect(ctx, bus.Options{
		ID: "x", URLs: c.urls(), Log: testLog(t), TLS: c.ca.client(c.ca.issue(t, "spiffe://example/service/1", time.Hour)),
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the revoked came back: %v", err)
	}
	streamFull(t, c.control, 3)
}
