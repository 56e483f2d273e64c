package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Lab is a switch with hosts on it. The test itself is on it too and reaches all of them. One at a time.
type Lab struct {
	t     testing.TB
	hosts []*Host
	cuts  []cut
}

// New makes a laboratory that is gone when the test ends. Where the system allows no namespaces the test is skipped.
func New(t testing.TB) *Lab {
	t.Helper()
	if why, unable := strings.CutPrefix(os.Getenv(role), roleUnable); unable {
		t.Skipf("NOT RUN: no namespaces here: %s", why)
	}
	l := &Lab{t: t}
	l.ip("link", "add", "lab", "type", "bridge")
	t.Cleanup(func() {
		if err := command("ip", "link", "del", "lab"); err != nil {
			t.Error(err)
		}
	})
	l.ip("addr", "add", laboratory+"/24", "dev", "lab")
	l.ip("link", "set", "lab", "up")
	t.Cleanup(func() { _ = command("nft", "delete", "table", "bridge", "trouble") }) // there is none without trouble
	return l
}

// ip is ip(8).
func (l *Lab) ip(args ...string) {
	l.t.Helper()
	if err := command("ip", args...); err != nil {
		l.t.Fatal(err)
	}
}

// Host is a host: an address, a network and mounts of its own.
type Host struct {
	Name, IP string

	lab   *Lab
	keep  *exec.Cmd
	port  string // of the switch, that leads to it
	loses int    // per cent of packets, either way
}

// Host connects a new host.
func (l *Lab) Host(name string) *Host {
	l.t.Helper()
	h := &Host{Name: name, lab: l, IP: fmt.Sprint(network, len(l.hosts)+2), port: fmt.Sprint("port", len(l.hosts)+2)}
	h.keep = exec.Command("/proc/self/exe") //nolint:noctx // ourselves; it ends when its input does
	h.keep.Env = append(os.Environ(), role+"="+roleHost)
	h.keep.Stderr = os.Stderr
	h.keep.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	in, err := h.keep.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := h.keep.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := h.keep.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = in.Close()
		_ = h.keep.Wait() // it has nothing to report
	})
	if _, err := out.Read(make([]byte, 16)); err != nil {
		l.t.Fatalf("host %s does not come up: %v", name, err)
	}
	pid := fmt.Sprint(h.keep.Process.Pid)
	l.ip("link", "add", h.port, "type", "veth", "peer", "name", insideDevice, "netns", pid)
	l.t.Cleanup(func() { _ = command("ip", "link", "del", h.port) }) // at once; with the host it would go some time later
	l.ip("link", "set", h.port, "master", "lab", "up")
	h.must("ip", "addr", "add", h.IP+"/24", "dev", insideDevice)
	h.must("ip", "link", "set", insideDevice, "up")
	l.hosts = append(l.hosts, h)
	return h
}

// Enter prepends to a command what runs it on the host. The working folder is / then: paths must be absolute.
func (h *Host) Enter(args ...string) []string {
	pid := h.keep.Process.Pid
	return append([]string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", pid), fmt.Sprintf("--mount=/proc/%d/ns/mnt", pid), "--"}, args...)
}

// Run runs a command on the host to its end and returns what it wrote to standard output.
func (h *Host) Run(args ...string) (string, error) {
	args = h.Enter(args...)
	cmd := exec.CommandContext(h.lab.t.Context(), args[0], args[1:]...) //nolint:gosec // the test's own command
	cmd.Env = environ(nil)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %s: %w: %s", h.Name, strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

func (h *Host) must(args ...string) {
	h.lab.t.Helper()
	if _, err := h.Run(args...); err != nil {
		h.lab.t.Fatal(err)
	}
}

// Disk mounts an empty disk of so many bytes over a folder, which only this host sees then.
func (h *Host) Disk(folder string, bytes int) {
	h.lab.t.Helper()
	h.must("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d,mode=0700", bytes), "tmpfs", folder)
}

// Inside is a path on the host as this process finds it, also where the host has mounted something.
func (h *Host) Inside(path string) string {
	return fmt.Sprintf("/proc/%d/root%s", h.keep.Process.Pid, path)
}
