package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kernel stands between a process and the kernel (seccomp user notification) and tells it a wrong time, or lets it wait
// for its disk. The process is the unchanged program; nothing else on the machine sees either. For programs in Go: others
// may read the clock in ways that pass by here.
type Kernel struct {
	ahead atomic.Int64 // of the real clock, in nanoseconds
	sync  atomic.Int64 // how much longer each fsync takes, in nanoseconds
}

// Jump sets the process' clock, not its timers, so much ahead of the real one; below zero it is behind.
func (k *Kernel) Jump(ahead time.Duration) { k.ahead.Store(int64(ahead)) }

// Slow lets each fsync and fdatasync of the process take longer.
func (k *Kernel) Slow(by time.Duration) { k.sync.Store(int64(by)) }

// notice is struct seccomp_notif of linux/seccomp.h, decision struct seccomp_notif_resp.
type notice struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type decision struct {
	id    uint64
	val   int64
	errno int32
	flags uint32
}

// start starts a command that begins as launch and takes its listener over.
func (k *Kernel) start(t testing.TB, cmd *exec.Cmd) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	theirs, ours := os.NewFile(uintptr(pair[0]), "launch"), os.NewFile(uintptr(pair[1]), "launch")
	defer ours.Close()
	cmd.ExtraFiles = []*os.File{theirs}
	err = cmd.Start()
	_ = theirs.Close()
	if err != nil {
		return err
	}
	conn, err := net.FileConn(ours)
	if err != nil {
		return err
	}
	defer conn.Close()
	listener, err := receive(conn)
	if err != nil {
		return errors.Join(fmt.Errorf("watching system calls: %w", err), cmd.Process.Kill(), cmd.Wait())
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer unix.Close(listener)
		k.serve(listener)
	}()
	t.Cleanup(func() { <-done }) // after the process was killed, which ends it
	return nil
}

// receive takes the listener that launch sends.
func receive(conn net.Conn) (int, error) {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return -1, errors.New("not a Unix socket")
	}
	b, oob := make([]byte, 1), make([]byte, 64)
	_, n, _, _, err := uc.ReadMsgUnix(b, oob)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return -1, fmt.Errorf("no listener came: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("no listener came: %w", err)
	}
	return fds[0], nil
}

// serve answers system calls until the process is gone.
func (k *Kernel) serve(listener int) {
	var waits sync.WaitGroup
	defer waits.Wait()
	for {
		fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil || fds[0].Revents&unix.POLLIN == 0 {
			return // POLLHUP: nobody is watched any more
		}
		var n notice
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n))); errno != 0 { //nolint:gosec // as the kernel wants it
			continue // it went away, or a signal came in between and it asks again
		}
		d := decision{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		switch n.nr {
		case unix.SYS_CLOCK_GETTIME:
			if k.tell(&n) == nil {
				d.flags = 0
			}
		case unix.SYS_ARCH_PRCTL:
			_ = blind(int(n.pid)) // it fails for programs that have looked already; Jump does nothing to them
		case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
			if by := time.Duration(k.sync.Load()); by > 0 {
				waits.Go(func() {
					timer := time.NewTimer(by)
					defer timer.Stop()
					<-timer.C
					send(listener, &d)
				})
				continue
			}
		}
		send(listener, &d)
	}
}

func send(listener int, d *decision) {
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(d))) //nolint:gosec // as the kernel wants it; who asked may be gone
}

// tell writes the time to where the process wants it.
func (k *Kernel) tell(n *notice) error {
	now := time.Now().Add(time.Duration(k.ahead.Load()))
	b := binary.LittleEndian.AppendUint64(nil, uint64(now.Unix()))
	return poke(int(n.pid), n.args[1], binary.LittleEndian.AppendUint64(b, uint64(now.Nanosecond())))
}

func poke(pid int, at uint64, b []byte) error {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(b, int64(at))
	return err
}

// blind hides the vDSO from a program in Go that has just begun, in which it would read the clock without asking the kernel:
// its address is struck from the auxiliary vector (getauxval(3)) on the stack. The first system call of such a
// program, arch_prctl, comes before it reads that.
func blind(pid int) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return err
	}
	var vdso, low, high uint64
	for line := range strings.Lines(string(text)) {
		span, _, _ := strings.Cut(line, " ")
		from, to, _ := strings.Cut(span, "-")
		switch name := strings.TrimSpace(line); {
		case strings.HasSuffix(name, "[vdso]"):
			vdso, err = strconv.ParseUint(from, 16, 64)
		case strings.HasSuffix(name, "[stack]"):
			low, err = strconv.ParseUint(from, 16, 64)
			if err == nil {
				high, err = strconv.ParseUint(to, 16, 64)
			}
		}
		if err != nil {
			return err
		}
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return err
	}
	defer mem.Close()
	stack := make([]byte, high-low)
	if _, err := mem.ReadAt(stack, int64(low)); err != nil {
		return err
	}
	const sysinfo, ignore = 33, 1 // AT_SYSINFO_EHDR, AT_IGNORE
	for i := 0; i+16 <= len(stack); i += 8 {
		if binary.LittleEndian.Uint64(stack[i:]) == sysinfo && binary.LittleEndian.Uint64(stack[i+8:]) == vdso {
			return poke(pid, low+uint64(i), binary.LittleEndian.AppendUint64(nil, ignore))
		}
	}
	return errors.New("no vDSO on the stack")
}
