package isolate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/palisade-security/palisade/app/capture"
)

// setUp brings loopback up, captures what goes elsewhere, puts the names of the namespace in place of the host's, and hides
// what must not be seen.
func setUp(ctx context.Context, r *request) error {
	if err := loopbackUp(); err != nil {
		return err
	}
	if r.Capture != "" {
		if err := capture.Surround(); err != nil {
			return err
		}
		if err := capture.On(ctx, "", &capture.Rules{Service: r.Capture, Port: capture.DefaultPort}); err != nil {
			return err
		}
	}
	// What is mounted here must not be seen outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if r.Processes {
		if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("mounting /proc: %w", err)
		}
	}
	if err := unix.Mount(r.Hosts, "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting /etc/hosts: %w", err)
	}
	for _, folder := range r.Unseen {
		if err := hide(folder, nil); err != nil {
			return fmt.Errorf("hiding %s: %w", folder, err)
		}
	}
	if r.Hide == "" {
		return nil
	}
	if err := hide(r.Hide, r.Keep); err != nil {
		return fmt.Errorf("hiding %s: %w", r.Hide, err)
	}
	return nil
}

// hide puts an empty folder in place of one, in which folders of the old one may stay.
func hide(folder string, keep []string) error {
	kept := map[string]int{}
	defer func() {
		for _, fd := range kept {
			_ = unix.Close(fd)
		}
	}()
	for _, name := range keep {
		fd, err := unix.Open(filepath.Join(folder, name), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		kept[name] = fd
	}
	if err := unix.Mount("tmpfs", folder, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=64k"); err != nil {
		return err
	}
	for name, fd := range kept {
		at := filepath.Join(folder, name)
		if err := os.MkdirAll(at, 0o755); err != nil { //nolint:gosec // the service's user goes through it
			return err
		}
		if err := unix.Mount("/proc/self/fd/"+strconv.Itoa(fd), at, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bringing loopback up: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	ifr, err := unix.NewIfreq("lo")
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr)
	}
	if err == nil {
		ifr.SetUint16(ifr.Uint16() | unix.IFF_UP)
		err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
	}
	if err != nil {
		return fmt.Errorf("bringing loopback up: %w", err)
	}
	return nil
}

// overNamespaces are the rights with which a process could leave its namespace or change it.
func overNamespaces() []uintptr {
	return []uintptr{
		unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_SYS_MODULE, unix.CAP_SYS_RAWIO,
		unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_MKNOD, unix.CAP_SYS_BOOT,
	}
}

// powerless calls f, which starts a process, so that the process has none of the rights over its namespace and cannot
// get them by running another program. It gives up the thread it runs on.
func powerless(f func() error) error {
	runtime.LockOSThread() // and never unlocked: the thread ends with its goroutine
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up rights: %w", err)
	}
	if os.Geteuid() == 0 {
		for _, c := range overNamespaces() {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
				return fmt.Errorf("giving up rights: %w", err)
			}
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up rights: %w", err)
	}
	return f()
}
