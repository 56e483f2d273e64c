package workload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Listener is a Unix socket that nobody else can hold at the same path.
type Listener struct {
	*net.UnixListener
	lock *os.File
}

// Listen opens the socket at path, which every local process may connect to: attestation decides what one gets,
// not the file's mode. The directory is made if it is absent; it must be ours or root's, and nobody else may
// put files into it, except where the sticky bit keeps them from replacing ours. A socket that is left from
// an earlier run is replaced, but only while we hold the lock beside it and nobody answers at it.
func Listen(ctx context.Context, path string) (*Listener, error) {
	if err := checkDirectory(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("listening at %s: %w", path, err)
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("listening at %s: %w", path, err)
	}
	l, err := listenLocked(ctx, path, lock)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listening at %s: %w", path, err), lock.Close())
	}
	return &Listener{l, lock}, nil
}

func listenLocked(ctx context.Context, path string, lock *os.File) (*net.UnixListener, error) {
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.New("another process serves it")
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // see Listen
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close stops listening, removes the socket and lets go of the lock. The lock's file stays: removing it would
// let two processes lock two files of one name.
func (l *Listener) Close() error { return errors.Join(l.UnixListener.Close(), l.lock.Close()) }

// checkDirectory makes sure that nobody else decides what lies at our path.
func checkDirectory(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // callers of all users have to get in
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("directory %s belongs to another user", dir)
	}
	if info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("others may write to directory %s", dir)
	}
	return nil
}

// removeStale removes a socket of ours at which nobody listens.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if info.Mode().Type() != fs.ModeSocket || !ok || int(st.Uid) != os.Geteuid() {
		return errors.New("something that is not a socket of ours is there")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		return errors.Join(errors.New("another process serves it"), conn.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
