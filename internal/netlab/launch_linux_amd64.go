package netlab

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const launchFD = 3 // the socket that takes the listener

// launch becomes a program whose clock_gettime(CLOCK_REALTIME), arch_prctl, fsync and fdatasync are answered by
// whoever holds the other end of the socket.
func launch(args []string) error {
	if len(args) == 0 {
		return errors.New("no program to launch")
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the filter is of this thread, which becomes the program
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up new rights: %w", err)
	}
	program := filter()
	listener, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER,
		uintptr(unsafe.Pointer(&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}))) //nolint:gosec // as the kernel wants it
	if errno != 0 {
		return fmt.Errorf("filtering system calls: %w", errno)
	}
	if err := unix.Sendmsg(launchFD, []byte{0}, unix.UnixRights(int(listener)), nil, 0); err != nil {
		return fmt.Errorf("handing the listener over: %w", err)
	}
	unix.CloseOnExec(launchFD)
	return syscall.Exec(path, args, environ(nil)) //nolint:gosec // the test's own program
}

// filter is a program for seccomp(2): offsets are those of struct seccomp_data.
func filter() []unix.SockFilter {
	const (
		number, arch, first = 0, 4, 16
		load                = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal               = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret                 = unix.BPF_RET | unix.BPF_K
	)
	return []unix.SockFilter{
		{Code: load, K: arch},
		{Code: equal, K: unix.AUDIT_ARCH_X86_64, Jf: 7},
		{Code: load, K: number},
		{Code: equal, K: unix.SYS_FSYNC, Jt: 6},
		{Code: equal, K: unix.SYS_FDATASYNC, Jt: 5},
		{Code: equal, K: unix.SYS_ARCH_PRCTL, Jt: 4},
		{Code: equal, K: unix.SYS_CLOCK_GETTIME, Jf: 2},
		{Code: load, K: first},
		{Code: equal, K: unix.CLOCK_REALTIME, Jt: 1},
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
		{Code: ret, K: unix.SECCOMP_RET_USER_NOTIF},
	}
}
