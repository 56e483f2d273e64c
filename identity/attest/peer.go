package attest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Peer is the process at the other end of a Unix socket, as it was when it connected. It holds a pidfd, which
// names that process and no other: a pid that is given out again never passes. A Peer is safe for concurrent
// use; Close it with the connection.
//
// Two things are beyond the kernel's word. A process may hand its connection to another, so whoever gets
// connections from a service is as good as the service. And a process that the same user debugs runs that
// user's code: a path or hash says something only together with a user or a container.
type Peer struct {
	pid int32
	uid uint32
	gid uint32
	fd  *os.File // pidfd
}

// errGone says that the caller has ended.
var errGone = errors.New("the process has ended")

// NewPeer asks the kernel who connected (unix(7): SO_PEERCRED, SO_PEERPIDFD). It needs Linux 6.5: without
// a pidfd from the socket itself, the pid may be another process's by the time it is looked at.
func NewPeer(conn *net.UnixConn) (*Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("asking who connected: %w", err)
	}
	var cred *unix.Ucred
	var pidfd int
	var inner error
	err = raw.Control(func(fd uintptr) {
		if cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); inner != nil {
			return
		}
		pidfd, inner = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	})
	if err = errors.Join(err, inner); err != nil {
		return nil, fmt.Errorf("asking who connected: %w", err)
	}
	p := &Peer{pid: cred.Pid, uid: cred.Uid, gid: cred.Gid, fd: os.NewFile(uintptr(pidfd), "pidfd")}
	if p.pid <= 0 {
		return nil, errors.Join(errors.New("asking who connected: a process of a pid namespace that is not visible from here"), p.Close())
	}
	return p, nil
}

// Close lets go of the process.
func (p *Peer) Close() error { return p.fd.Close() }

// PID is the process id in our pid namespace. It is for people: to address the process, the pidfd counts.
func (p *Peer) PID() int32 { return p.pid }

// UID is the effective user id that the process had when it connected, in our user namespace.
func (p *Peer) UID() uint32 { return p.uid }

// GID is the effective group id that the process had when it connected, in our user namespace.
func (p *Peer) GID() uint32 { return p.gid }

// Alive returns an error if the process has ended, zombies included. What has been read from /proc before is
// of this process if it lives afterwards.
func (p *Peer) Alive() error {
	return withFD(p.fd, func(fd int) error {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			n, err := unix.Poll(fds, 0)
			switch {
			case errors.Is(err, unix.EINTR):
				continue
			case err != nil:
				return fmt.Errorf("polling a pidfd: %w", err)
			case n > 0:
				return errGone
			}
			return nil
		}
	})
}

// proc is a process's directory in /proc, which dies with it.
type proc struct{ *os.File }

// enter opens the process's directory. As long as the pidfd says that the process lives, its pid cannot be
// another's; so the directory is its own if it still lives afterwards.
func (p *Peer) enter() (proc, error) {
	dir, err := os.OpenFile("/proc/"+strconv.Itoa(int(p.pid)), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		err = errGone
	}
	if err != nil {
		return proc{}, fmt.Errorf("opening the process's directory: %w", err)
	}
	if err := p.Alive(); err != nil {
		return proc{}, errors.Join(err, dir.Close())
	}
	return proc{dir}, nil
}

// open opens a file of the process for reading.
func (d proc) open(name string) (*os.File, error) {
	var file *os.File
	err := withFD(d.File, func(dir int) error {
		fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if errors.Is(err, unix.ESRCH) {
			return errGone
		}
		if err != nil {
			return fmt.Errorf("opening /proc/PID/%s: %w", name, err)
		}
		file = os.NewFile(uintptr(fd), name)
		return nil
	})
	return file, err
}

// cgroup reads the control groups of the process.
func (d proc) cgroup() (cgroup, error) {
	file, err := d.open("cgroup")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readCgroup(file)
}

func readCgroup(r io.Reader) (cgroup, error) {
	var text bytes.Buffer
	if _, err := io.Copy(&text, io.LimitReader(r, maxCgroup+1)); err != nil {
		return nil, fmt.Errorf("reading control groups: %w", err)
	}
	return parseCgroup(text.Bytes())
}

// withFD runs do with the descriptor of f, which stays open meanwhile.
func withFD(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = do(int(fd)) }); err != nil {
		return err
	}
	return inner
}
