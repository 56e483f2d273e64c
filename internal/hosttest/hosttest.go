// Package hosttest gives a test two hosts in network namespaces, on which the test's own program runs as users without rights,
// and says which programs a test needs. For fleets over a bad network there is internal/netlab.
package hosttest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// inside holds the words of a process on a host.
const inside = "PALISADE_TEST_INSIDE"

// Words are those given to this process by Pair.As; a TestMain acts on them instead of running tests. There are none in a
// test's process.
func Words() []string { return strings.Fields(os.Getenv(inside)) }

// Need fails the test where one of the programs is missing: scripts/deps.sh installs them all, so that no test passes by
// not running.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%s is not installed; scripts/deps.sh installs it", name)
		}
	}
}

// Pair is a host in a network namespace, and another one beside it to which all its ways lead. They have the addresses
// 10.77.0.1, fd77::1 and 10.77.0.2, fd77::2, and let every user serve well-known ports.
type Pair struct {
	t testing.TB
	// Name and Other are the namespaces of the two, as ip(8) knows them.
	Name, Other string
}

// NewPair makes two hosts that are gone when the test ends. Only root can; without it, or where the kernel allows no
// namespaces, the test is skipped.
func NewPair(t testing.TB) *Pair {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root has processes of several users")
	}
	Need(t, "ip", "nft", "setpriv")
	name := fmt.Sprintf("palisade-%d-", os.Getpid())
	p := &Pair{t: t, Name: name + "a", Other: name + "b"}
	if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", p.Name).CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: no network namespaces here: %v %s", err, out)
	}
	t.Cleanup(func() {
		for _, name := range []string{p.Name, p.Other} {
			_ = exec.Command("ip", "netns", "delete", name).Run() //nolint:noctx // after the test; the kernel does so at last
		}
	})
	for _, line := range []string{
		"netns add " + p.Other,
		"-n " + p.Name + " link set lo up",
		"-n " + p.Other + " link set lo up",
		"-n " + p.Name + " link add there type veth peer name there netns " + p.Other,
		"-n " + p.Name + " address add 10.77.0.1/24 dev there",
		"-n " + p.Other + " address add 10.77.0.2/24 dev there",
		"-n " + p.Name + " address add fd77::1/64 dev there nodad",
		"-n " + p.Other + " address add fd77::2/64 dev there nodad",
		"-n " + p.Name + " link set there up",
		"-n " + p.Other + " link set there up",
		"-n " + p.Name + " route add default via 10.77.0.2",
		"-n " + p.Name + " -6 route add default via fd77::2",
	} {
		if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v %s", line, err, out)
		}
	}
	for _, name := range []string{p.Name, p.Other} {
		if out, err := p.In(name, "sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start").CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	return p
}

// In runs a command on one of the two hosts.
func (p *Pair) In(namespace string, args ...string) *exec.Cmd {
	return exec.CommandContext(p.t.Context(), "ip", append([]string{"netns", "exec", namespace}, args...)...)
}

// As runs this test's program on one of the two hosts as a user without rights, or as root ("0"); see Words.
func (p *Pair) As(namespace, user string, words ...string) *exec.Cmd {
	args := []string{Program(p.t)}
	if user != "0" {
		args = append([]string{"setpriv", "--reuid=" + user, "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"}, args...)
	}
	return Tell(p.In(namespace, args...), words...)
}

// Tell gives words to a command that runs this test's program.
func Tell(cmd *exec.Cmd, words ...string) *exec.Cmd {
	cmd.Env = append(os.Environ(), inside+"="+strings.Join(words, " "))
	return cmd
}

// Program is a copy of this test's program that every user can read.
func Program(t testing.TB) string {
	t.Helper()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("palisade-test-%d", os.Getpid()))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	text, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(path, text, 0o755) // other users run it
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(path) })
	return path
}

// Process is something that runs on a host. It reads its output.
type Process struct {
	*bufio.Reader
	// In is its input.
	In  io.WriteCloser
	cmd *exec.Cmd
}

// Start runs something on a host until the test ends, and waits until it says that it is ready.
func (p *Pair) Start(namespace, user string, words ...string) *Process {
	p.t.Helper()
	cmd := p.As(namespace, user, words...)
	cmd.WaitDelay = 10 * time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	r := &Process{Reader: bufio.NewReader(out), In: in, cmd: cmd}
	p.t.Cleanup(r.End)
	if line, err := r.ReadString('\n'); err != nil || line != "ready\n" {
		p.t.Fatalf("%v on %s: %q %v", words, namespace, line, err)
	}
	return r
}

// End closes its input, by which it ends, and waits until it has.
func (r *Process) End() {
	_ = r.In.Close()
	_ = r.cmd.Wait() // it may have ended before
}

// Kill ends it without asking, and waits until it has.
func (r *Process) Kill() {
	_ = r.cmd.Process.Kill() // it may have ended before
	r.End()
}
