package capture

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/internal/hosttest"
)

// TestHost captures a service on a host it shares: real processes of several users call each other and the other host.
func TestHost(t *testing.T) {
	h := newHost(t)
	empty := h.ruleset()
	before(t, h)
	h.Start(h.Name, ordersUser, "serve", ":7003", ":7999", "udp::7998") // nobody declared the last two
	h.Start(h.Name, otherUser, "serve", ":7002", "udp:127.0.0.1:53")
	h.Start(h.Other, otherUser, "serve", ":80", "udp::53")
	log := h.Start(h.Name, "0", "log")
	sidecar := h.Start(h.Name, sidecarUser, "sidecar", "127.0.0.1:15001", "[::1]:15001")
	for _, c := range []trial{
		{"a service asks another host", ordersUser, "10.77.0.2:80", "for 10.77.0.2:80", "captured"},
		{"and over IPv6", ordersUser, "[fd77::2]:80", "for [fd77::2]:80", "captured"},
		{"and over MPTCP", ordersUser, "10.77.0.2:80,mptcp", "for 10.77.0.2:80", "captured"},
		{"and something far away", ordersUser, "203.0.113.7:443", "for 203.0.113.7:443", "captured"},
		{"and far away over IPv6", ordersUser, "[2001:db8::7]:443", "for [2001:db8::7]:443", "captured"},
		{"and a service on this host", ordersUser, "127.0.0.1:7002", "for 127.0.0.1:7002", "captured"},
		{"and over IPv6", ordersUser, "[::1]:7002", "for [::1]:7002", "captured"},
		{"and an address that stands for one", ordersUser, "127.64.0.9:80", "for 127.64.0.9:80", "captured"},
		{"and itself", ordersUser, "127.0.0.1:7003", "for 127.0.0.1:7003", "captured"},
		{"and DNS over TCP", ordersUser, "10.77.0.2:53", "for 10.77.0.2:53", "captured"},
		{"and the capture port", ordersUser, "127.0.0.1:15001", "direct", "captured"},
		{"from another address", ordersUser, "10.77.0.2:80,from=10.77.0.1:0", "for 10.77.0.2:80", "captured"},
		{"from the sidecar's port", ordersUser, "10.77.0.2:80,from=10.77.0.1:15001", "for 10.77.0.2:80", "captured"},
		{"from its own port", ordersUser, "10.77.0.2:80,from=10.77.0.1:7999", "", ""}, // which is taken
		{"bound to an interface", ordersUser, "10.77.0.2:80,dev=there", "", "captured out"},
		{"and over IPv6", ordersUser, "[fd77::2]:80,dev=there", "", "captured out"},
		{"with the number of the sidecar as mark", ordersUser, "10.77.0.2:80,mark=1", "", ""}, // which it may not
		{"with a datagram", ordersUser, "10.77.0.2:53,udp", "", "out"},
		{"with a datagram over IPv6", ordersUser, "[fd77::2]:53,udp", "", "out"},
		{"with a datagram to a resolver that nobody declared", ordersUser, "127.0.0.1:53,udp", "", "out"},
		{"the sidecar asks its service", sidecarUser, "127.0.0.1:7003", "hello", ""},
		{"and over IPv6", sidecarUser, "[::1]:7003", "hello", ""},
		{"and another host", sidecarUser, "10.77.0.2:80", "hello", ""},
		{"and on a port that nobody declared, over UDP", sidecarUser, "127.0.0.1:7998,udp", "", "out"},
		{"whoever is no service is left alone", otherUser, "10.77.0.2:80", "hello", ""},
		{"and over IPv6", otherUser, "[fd77::2]:80", "hello", ""},
		{"and with datagrams", otherUser, "10.77.0.2:53,udp", "hello", ""},
		{"somebody asks the service past its sidecar", otherUser, "127.0.0.1:7003", "", "in"},
		{"and by the host's address", otherUser, "10.77.0.1:7003", "", "in"},
		{"and over IPv6", otherUser, "[fd77::1]:7003", "", "in"},
		{"root does", "0", "127.0.0.1:7003", "", "in"},
		{"somebody asks in the name of the service", otherUser, "127.0.0.1:15001", "", "in"},
	} {
		h.try(c)
	}
	for _, at := range []string{"10.77.0.1:7003", "[fd77::1]:7003", "10.77.0.1:15001"} {
		h.unreachable(at)
	}
	if s := h.status(); s.Port != 15001 || s.Serves != 7003 || len(s.Users) != 1 || s.Users[0].ID != 62011 || s.Sidecar == nil || s.Sidecar.ID != 62010 {
		t.Errorf("the table says %+v of itself", s)
	}
	told(t, log, "orders out tcp 127.0.0.1:15001 62011 1", "orders out udp 10.77.0.2:53 62011 1", "orders out udp [fd77::2]:53 62011 1",
		"orders in tcp 127.0.0.1:7003 62013 1", "orders in tcp 127.0.0.1:7003 0 1", "orders in tcp 127.0.0.1:15001 62013 1", "orders in tcp 10.77.0.1:7003 -1 1")
	again(t, h)
	gone(t, h, sidecar)
	h.try(trial{"a port that nobody declared", sidecarUser, "127.0.0.1:7999", "", "out"}) // its answers are sent again for a while
	h.unreachable("10.77.0.1:7999")
	if err := Off(t.Context(), h.Name, "orders"); err != nil {
		t.Fatal(err)
	}
	if left := h.ruleset(); left != empty {
		t.Errorf("the rules left behind:\n%s", left)
	}
	if err := Off(t.Context(), h.Name, "orders"); !errors.Is(err, ErrOff) {
		t.Errorf("removed twice: %v", err)
	}
	if out, err := h.As(h.Name, ordersUser, "dial", "10.77.0.2:80", "20s").Output(); string(out) != "hello\n" {
		t.Errorf("nothing is captured any more: got %q %v", out, err)
	}
}

// before captures, and holds that connections from before do not go on.
func before(t *testing.T, h *host) {
	t.Helper()
	greets := h.Start(h.Other, otherUser, "serve", ":81")
	defer greets.End()
	held := h.Start(h.Name, ordersUser, "hold", "10.77.0.2:81", dead.String())
	h.on(ordersRules())
	told(t, held, "no answer")
	if s := h.status(); s.RefusedOut+s.Captured == 0 { // what nobody has kept track of yet is led to the sidecar, which knows nothing of it
		t.Errorf("counted %+v", s)
	}
}

// unreachable holds that another host cannot connect to an address.
func (h *host) unreachable(at string) {
	h.t.Helper()
	if out, err := h.As(h.Other, otherUser, "dial", at, dead.String()).Output(); err == nil {
		h.t.Errorf("another host reached %s: %s", at, out)
	}
}

// told ends a process, and holds that it printed lines.
func told(t *testing.T, p *hosttest.Process, want ...string) {
	t.Helper()
	_, _ = io.WriteString(p.In, "still here\n") // for who holds a connection
	_ = p.In.Close()
	seen := map[string]bool{}
	for {
		line, err := p.ReadString('\n')
		seen[strings.TrimSpace(line)] = true
		if err != nil {
			break
		}
	}
	for _, line := range want {
		if !seen[line] {
			t.Errorf("nobody told %q; got %v", line, seen)
		}
	}
}

// again holds that rules are replaced by the same ones, and that connections go on meanwhile.
func again(t *testing.T, h *host) {
	t.Helper()
	held := h.As(h.Name, ordersUser, "hold", "10.77.0.2:80", "20s")
	in, err := held.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	held.Stdout, held.Stderr = &out, os.Stderr
	if err := held.Start(); err != nil {
		t.Fatal(err)
	}
	before := h.ruleset()
	h.on(ordersRules())
	if after := h.ruleset(); after != before {
		t.Errorf("the same rules differ:\n%s\n%s", before, after)
	}
	_, _ = in.Write([]byte("still here\n"))
	_ = in.Close()
	if err := held.Wait(); err != nil || out.String() != "ready\nstill here\n" {
		t.Errorf("a connection ended while rules were replaced: %v %q", err, out.String())
	}
}

// gone holds that nothing passes without the sidecar, and that nobody takes its place.
func gone(t *testing.T, h *host, sidecar *hosttest.Process) {
	t.Helper()
	sidecar.Kill()
	for h.try(trial{"without a sidecar", ordersUser, "10.77.0.2:80", "", "captured"}); ; {
		out, _ := h.As(h.Name, otherUser, "dial", "127.0.0.1:15001", "10ms").Output()
		if len(out) == 0 || t.Context().Err() != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	thief := h.Start(h.Name, otherUser, "sidecar", "127.0.0.1:15001", "[::1]:15001")
	defer thief.End()
	h.try(trial{"somebody takes the sidecar's place", ordersUser, "10.77.0.2:80", "", "captured in"})
	h.try(trial{"and over IPv6", ordersUser, "[fd77::2]:80", "", "captured in"})
	h.try(trial{"without a sidecar, a datagram", ordersUser, "10.77.0.2:53,udp", "", "out"})
}

// TestResolvers holds that declared resolvers are asked directly, and nothing else there.
func TestResolvers(t *testing.T) {
	h := newHost(t)
	r := ordersRules()
	r.Resolvers = addresses("10.77.0.2", "fd77::2", "127.0.0.53")
	h.on(r)
	h.Start(h.Name, otherUser, "serve", "udp:127.0.0.53:53")
	h.Start(h.Other, otherUser, "serve", ":80", ":53", "udp::53", "udp::54")
	h.Start(h.Name, sidecarUser, "sidecar", "127.0.0.1:15001", "[::1]:15001")
	for _, c := range []trial{
		{"a resolver", ordersUser, "10.77.0.2:53,udp", "hello", ""},
		{"over TCP", ordersUser, "10.77.0.2:53", "hello", ""},
		{"over IPv6", ordersUser, "[fd77::2]:53,udp", "hello", ""},
		{"on loopback", ordersUser, "127.0.0.53:53,udp", "hello", ""},
		{"another port of it", ordersUser, "10.77.0.2:54,udp", "", "out"},
		{"a connection to another port of it", ordersUser, "10.77.0.2:80", "for 10.77.0.2:80", "captured"},
		{"another resolver", ordersUser, "127.0.0.54:53,udp", "", "out"},
	} {
		h.try(c)
	}
}

// TestNamespace captures a service that shares a network namespace with its sidecar alone.
func TestNamespace(t *testing.T) {
	h := newHost(t)
	h.on(&Rules{Service: "orders", Sidecar: &User{ID: 62010}, Port: 15001, Serves: 7003})
	h.Start(h.Name, ordersUser, "serve", ":7003", ":7999", "udp::7998")
	h.Start(h.Other, otherUser, "serve", ":80", "udp::53")
	h.Start(h.Name, sidecarUser, "sidecar", "127.0.0.1:15001", "[::1]:15001", ":9443")
	for _, c := range []trial{
		{"the service asks another host", ordersUser, "10.77.0.2:80", "for 10.77.0.2:80", "captured"},
		{"and over IPv6", ordersUser, "[fd77::2]:80", "for [fd77::2]:80", "captured"},
		{"as root", "0", "203.0.113.7:443", "for 203.0.113.7:443", "captured"},
		{"bound to an interface", ordersUser, "10.77.0.2:80,dev=there", "", "captured out"},
		{"with a datagram", ordersUser, "10.77.0.2:53,udp", "", "out"},
		{"with a datagram over IPv6", ordersUser, "[fd77::2]:53,udp", "", "out"},
		{"on its own loopback", ordersUser, "127.0.0.1:7999", "hello", ""},
		{"and with datagrams", ordersUser, "127.0.0.1:7998,udp", "hello", ""},
		{"the sidecar asks its service", sidecarUser, "127.0.0.1:7003", "hello", ""},
		{"the sidecar asks another host", sidecarUser, "10.77.0.2:80", "hello", ""},
		{"and over IPv6", sidecarUser, "[fd77::2]:80", "hello", ""},
	} {
		h.try(c)
	}
	for at, want := range map[string]string{"10.77.0.1:9443": "direct\n", "[fd77::1]:9443": "direct\n", "10.77.0.1:7003": "", "10.77.0.1:7999": "", "10.77.0.1:15001": "", "10.77.0.1:7998,udp": ""} {
		wait := dead
		if want != "" {
			wait = 20 * time.Second
		}
		if out, _ := h.As(h.Other, otherUser, "dial", at, wait.String()).Output(); string(out) != want {
			t.Errorf("another host asked %s: got %q, want %q", at, out, want)
		}
	}
}

// TestCollision holds that two services do not get into each other's way in silence.
func TestCollision(t *testing.T) {
	h := newHost(t)
	h.on(ordersRules())
	shop := func(port uint16, users ...User) *Rules {
		return &Rules{Service: "shop", Users: users, Sidecar: &User{ID: 62010}, Port: port}
	}
	for want, r := range map[string]*Rules{
		"captured to port 15001 already":           shop(15001, User{ID: 62012}),
		"user 62011 is captured as service orders": shop(15002, User{ID: 62011}),
		"would have all of it":                     shop(15002),
		"as its sidecar does":                      shop(15002, User{ID: 62010}),
		"runs as root":                             shop(15002, User{ID: 0}),
	} {
		if err := On(t.Context(), h.Name, r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	h.on(shop(15002, User{ID: 62012}))
	if all, err := List(t.Context(), h.Name); err != nil || len(all) != 2 {
		t.Errorf("got %v %v, want two", all, err)
	}
	if _, err := List(t.Context(), "palisade-nowhere"); err == nil {
		t.Error("a namespace that is not there was looked into")
	}
}
