// Package netlab gives tests several hosts on one machine: network and mount namespaces on one switch, real processes in
// them, and every trouble that hosts have: no way between two of them, lost packets, full and slow disks, clocks that
// jump, kill -9. All of it lives in namespaces that the test binary makes for itself, so the kernel removes it together with
// the test, also with one that was killed, and the machine notices nothing. It needs Linux, and root or user namespaces.
// It is for tests only.
package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// role says what this process is; children of the test get another one or none.
const role = "PALISADE_NETLAB"

const (
	roleInside   = "inside"      // the tests, in namespaces of their own
	roleHost     = "host"        // keeps the namespaces of a host
	roleLaunch   = "launch"      // becomes a program whose system calls are watched
	roleUnable   = "unable: "    // no namespaces here; what follows says why
	exitBroken   = 125           // the laboratory failed, not the program
	insideDevice = "eth0"        // of a host
	network      = "10.77.0."    // hosts are found in it
	laboratory   = network + "1" // the test itself
)

// Main is what TestMain of a package calls whose tests use hosts; it returns the exit code. The tests run in a process of
// their own, the first one of its namespaces. The test binary is also the programs that are given; see Self.
func Main(m *testing.M, programs map[string]func(args []string) int) int {
	is := os.Getenv(role)
	var err error
	switch {
	case is == "" && len(os.Args) > 1 && programs[strings.TrimPrefix(os.Args[1], selfPrefix)] != nil:
		return programs[strings.TrimPrefix(os.Args[1], selfPrefix)](os.Args[2:])
	case is == "":
		return outside(m)
	case is == roleHost:
		err = keep()
	case is == roleLaunch:
		err = launch(os.Args[1:])
	case strings.HasPrefix(is, roleUnable):
		return m.Run()
	default:
		if err = settle(); err == nil {
			return m.Run()
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "netlab: %v\n", err)
		return exitBroken
	}
	return 0
}

// outside runs this program again in namespaces of its own and returns its exit code.
func outside(m *testing.M) int {
	runtime.LockOSThread()                                // the inside dies with the thread that started it
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:gosec,noctx // ourselves, and nobody outlives the other
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), role+"="+roleInside)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if uid := os.Geteuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_NET_BIND_SERVICE}
	}
	err := cmd.Start()
	if err != nil {
		if err := os.Setenv(role, roleUnable+err.Error()); err != nil {
			return exitBroken
		}
		return m.Run()
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintf(os.Stderr, "netlab: the tests ended: %v\n", err)
		return exitBroken
	}
	return 0
}

// settle makes the new namespaces usable: mounts that nobody outside sees, our own processes under /proc, loopback.
func settle() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	return command("ip", "link", "set", "lo", "up")
}

// keep is the life of a host's namespaces: until the test closes our input.
func keep() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := command("ip", "link", "set", "lo", "up"); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "ready")
	_, _ = os.Stdin.Read(make([]byte, 1)) // its end is all there is to read
	return nil
}

const selfPrefix = "netlab:"

// Self are the words that run one of the programs that Main was given.
func (l *Lab) Self(program string, args ...string) []string {
	l.t.Helper()
	path, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	return append([]string{path, selfPrefix + program}, args...)
}

func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput() //nolint:gosec,noctx // short commands of the laboratory's own
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
