package capture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/palisade-security/palisade/internal/hosttest"
)

func addresses(all ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range all {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// TestEnclosed captures in a network namespace that has nothing but loopback, with the rights of a user namespace alone.
func TestEnclosed(t *testing.T) {
	hosttest.Need(t, "nft", "unshare", "setpriv")
	args := []string{"unshare", "--map-root-user", "--net", hosttest.Program(t)}
	if os.Geteuid() == 0 { // also as somebody without rights
		args = append([]string{"setpriv", "--reuid=" + ordersUser, "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"}, args...)
	}
	out, err := hosttest.Tell(exec.CommandContext(t.Context(), args[0], args[1:]...), "enclosed").CombinedOutput()
	if strings.Contains(string(out), "unshare failed") {
		t.Skipf("NOT TESTED: no user namespaces here: %s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// enclosed is both the sidecar and the service of a namespace, as who is root there.
func enclosed() error {
	if err := loopbackUp(); err != nil {
		return err
	}
	if err := errors.Join(Surround(), Surround()); err != nil {
		return err
	}
	ctx := context.Background()
	r := &Rules{Service: "orders", Port: 15001}
	if err := errors.Join(On(ctx, "", r), On(ctx, "", r)); err != nil {
		return err
	}
	for _, at := range []string{"127.0.0.1:15001", "[::1]:15001", "127.64.0.9:80"} {
		ln, err := listenOn(at)
		if err != nil {
			return err
		}
		defer ln.Close()
		go answer(ln, true)
	}
	log, err := OpenLog("", "orders", 15001)
	if err != nil {
		return err
	}
	if _, err := OpenLog("", "orders", 15001); err == nil || !strings.Contains(err.Error(), "no other process") {
		return fmt.Errorf("a second reader: got %w", err)
	}
	logging, stop := context.WithCancel(ctx)
	defer stop()
	attempts, done := make(chan Attempt, 100), make(chan error, 1)
	go func() { done <- log.Run(logging, func(a Attempt) { attempts <- a }) }()
	for at, want := range map[string]string{
		"203.0.113.7:443": "for 203.0.113.7:443", "[2001:db8::7]:443": "for [2001:db8::7]:443", "127.0.0.1:15001": "direct", "127.64.0.9:80": "direct",
	} {
		c, err := net.Dial("tcp", at)
		if err != nil {
			return err
		}
		b := make([]byte, 100)
		n, err := c.Read(b)
		_ = c.Close()
		if got := strings.TrimSpace(string(b[:n])); err != nil || got != want {
			return fmt.Errorf("%s: got %q %w, want %q", at, got, err, want)
		}
	}
	const sent = 9
	for range sent {
		c, err := net.Dial("udp", "203.0.113.7:53")
		if err != nil {
			return err
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("a datagram left: %w", err)
		}
		_ = c.Close()
	}
	first := <-attempts
	all, err := List(ctx, "")
	if err != nil || len(all) != 1 || all[0].RefusedOut != sent || all[0].Captured != 2 {
		return fmt.Errorf("counted %+v: %w", all, err)
	}
	stop()
	if err := <-done; err != nil {
		return err
	}
	if err := flooded(ctx); err != nil {
		return err
	}
	if first.Service != "orders" || first.Inbound || first.Protocol != "udp" || first.To != netip.MustParseAddrPort("203.0.113.7:53") || first.Count != 1 {
		return fmt.Errorf("told %+v", first)
	}
	return Off(ctx, "", "orders")
}

// flooded holds that a flood of datagrams of one kind is told twice, the second time with most of them.
func flooded(ctx context.Context) error {
	log, err := OpenLog("", "orders", 15001)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	first, done := make(chan struct{}), make(chan error, 1)
	var told []Attempt
	go func() {
		done <- log.Run(ctx, func(a Attempt) {
			if told = append(told, a); len(told) == 1 {
				close(first)
			}
		})
	}()
	c, err := net.Dial("udp", "203.0.113.8:53")
	if err != nil {
		return err
	}
	defer c.Close()
	const sent = 20000
	for range sent {
		_, _ = c.Write([]byte("x")) // which is refused
	}
	<-first
	stop()
	if err := <-done; err != nil {
		return err
	}
	var n uint64
	for _, a := range told {
		n += a.Count
	}
	if len(told) < 2 || len(told) > 3 || told[0].Count != 1 || n > sent || n < mostPackets { // the third is of those that were lost
		return fmt.Errorf("%d packets were told of %d, as %+v", n, sent, told)
	}
	return nil
}

func loopbackUp() error {
	out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w", out, err)
	}
	return nil
}
