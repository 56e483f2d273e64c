// Package local is Unix sockets for administrators of this host: a listener that only root and our own user get
// through, and who is at the other end, by the kernel's word. It is not for sockets that services connect to
// (identity/workload).
package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	mode    = 0o600
	maxPath = 107 // what sun_path holds on Linux, less the final zero
)

// Errors of Listen and Caller.
var (
	ErrTaken    = errors.New("somebody answers there already")
	ErrTooLong  = fmt.Errorf("the path is longer than %d bytes, which no socket can have; choose a shorter state directory", maxPath)
	ErrStranger = errors.New("only root and the user that runs this are administrators here")
)

// Listen makes the socket. One that is left from before is replaced if nobody answers there (else ErrTaken).
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("listening on %s: %w", path, ErrTooLong)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		return nil, errors.Join(fmt.Errorf("listening on %s: %w", path, ErrTaken), conn.Close())
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("removing an old socket: %w", err)
		}
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	// Before this line others could connect already, but not pass: see Caller.
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

type peerKey struct{}

// WithPeer notes who is at the other end of a connection (SO_PEERCRED). It is an http.Server's ConnContext.
func WithPeer(ctx context.Context, conn net.Conn) context.Context {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	var inner error
	err = raw.Control(func(fd uintptr) { cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || inner != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, cred)
}

// Caller returns the name of who connected: "local:" and the user. The error is ErrStranger unless that is root or
// the user that we run as; the name is then still told, for the record.
func Caller(ctx context.Context) (name string, err error) {
	cred, ok := ctx.Value(peerKey{}).(*unix.Ucred)
	if !ok {
		return "unknown", ErrStranger
	}
	uid := strconv.FormatUint(uint64(cred.Uid), 10)
	name = "uid:" + uid
	if u, err := user.LookupId(uid); err == nil {
		name = "local:" + u.Username
	}
	if cred.Uid != 0 && int64(cred.Uid) != int64(os.Geteuid()) {
		return name, ErrStranger
	}
	return name, nil
}
