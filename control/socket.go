package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/palisade-security/palisade/control/admin"
)

// listenSocket makes the socket of administrators. One that is left from before is replaced if nobody answers there.
func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		return nil, errors.Join(fmt.Errorf("listening on %s: somebody answers there already", path), conn.Close())
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	// Before this line others could connect already, but not pass: who they are is asked of the kernel.
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

type peerKey struct{}

// withPeer notes who is at the other end of a Unix socket (SO_PEERCRED).
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	local, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := local.SyscallConn()
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

// bySocket takes root and the user that runs control as administrators with every right.
func bySocket(r *http.Request) (caller, error) {
	cred, ok := r.Context().Value(peerKey{}).(*unix.Ucred)
	if !ok {
		return caller{name: "unknown"}, errUnknown
	}
	name := "uid:" + strconv.FormatUint(uint64(cred.Uid), 10)
	if u, err := user.LookupId(strconv.FormatUint(uint64(cred.Uid), 10)); err == nil {
		name = "local:" + u.Username
	}
	if cred.Uid != 0 && int64(cred.Uid) != int64(os.Geteuid()) {
		return caller{name: name}, fmt.Errorf("%w: only root and the user of control are administrators here", errDenied)
	}
	return caller{name: name, role: admin.Admin}, nil
}
