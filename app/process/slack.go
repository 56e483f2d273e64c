package process

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	usualSlack = 50 * time.Microsecond // of the kernel; another was chosen by whoever started us
	proxySlack = time.Millisecond
)

// Slacken lets timers of this process, a proxy, be up to a millisecond late. While system calls are long, as a busy proxy's are, Go's monitor sleeps
// for 20 µs at a time, and a tenth of the CPU goes into waking it up. Its thread is older than main, and has the slack of the program that began
// (PR_SET_TIMERSLACK, execve(2)): so the program begins again, once, and nothing may have been begun before. Where that is not possible the slack stays
// as it was. Services that a Group starts have the usual one.
func Slacken() {
	if slack() != usualSlack {
		return
	}
	self, err := os.Executable()
	if err != nil {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if setSlack(proxySlack) == nil {
		_ = syscall.Exec(self, os.Args, os.Environ()) //nolint:gosec // ourselves, as we were begun; it returns if that fails
		_ = setSlack(usualSlack)
	}
}

// start starts a service. It gets the slack of the thread that does so.
func start(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if slack() == proxySlack && setSlack(usualSlack) == nil {
		defer func() { _ = setSlack(proxySlack) }() // it was so before
	}
	return cmd.Start()
}

// slack is that of this thread; 0: nobody knows.
func slack() time.Duration {
	n, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return 0
	}
	return time.Duration(n)
}

func setSlack(d time.Duration) error { return unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(d), 0, 0, 0) }
