package attest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of what is hashed for a caller, who chooses the file. A larger executable is refused, so that nobody
// can keep us busy with a sparse file of terabytes.
const (
	maxExecutable = 1 << 30
	maxHashes     = 4096
	// settled is how old a change must be before a hash is remembered: two changes within one tick of the
	// file system's clock leave the same ctime.
	settled = 2 * time.Second
)

// inode names the content of a file: whoever changes the content changes the ctime, which only a changed
// system clock can undo.
type inode struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

func inodeOf(st *unix.Stat_t) inode {
	return inode{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}
}

// executable opens the file that the process runs: the inode, whatever stands at its path by now.
func (d proc) executable() (*os.File, inode, error) {
	file, err := d.open("exe")
	if err != nil {
		return nil, inode{}, err
	}
	var st unix.Stat_t
	err = withFD(file, func(fd int) error { return unix.Fstat(fd, &st) })
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, inode{}, errors.Join(fmt.Errorf("looking at the executable: %w", err), file.Close())
	}
	return file, inodeOf(&st), nil
}

// path returns where the executable lies, as this host sees it, or "" if nothing here does: a process in
// a mount namespace or root of its own sees "/usr/bin/catalog" too, and it is another file.
func (d proc) path(exe inode) (string, error) {
	var name string
	err := withFD(d.File, func(dir int) error {
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(dir, "exe", buf)
		if err == nil && n == len(buf) {
			err = unix.ENAMETOOLONG
		}
		if err != nil {
			return fmt.Errorf("reading the executable's path: %w", err)
		}
		name = string(buf[:n])
		return nil
	})
	if err != nil {
		return "", err
	}
	var st unix.Stat_t
	if unix.Stat(name, &st) == nil && st.Dev == exe.dev && st.Ino == exe.ino {
		return name, nil
	}
	return "", nil // deleted, replaced or elsewhere
}

// hashes remembers the SHA-256 of executables. Safe for concurrent use.
type hashes struct {
	mu    sync.Mutex
	known map[inode]string
	work  chan struct{} // one hash at a time: a storm of callers shall not take every core
}

func newHashes() *hashes {
	return &hashes{known: map[inode]string{}, work: make(chan struct{}, 1)}
}

func (h *hashes) get(key inode) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	sum, ok := h.known[key]
	return sum, ok
}

// sum returns the hash of an open executable in lower-case hex.
func (h *hashes) sum(ctx context.Context, file *os.File, key inode) (string, error) {
	if sum, ok := h.get(key); ok {
		return sum, nil
	}
	if key.size > maxExecutable {
		return "", fmt.Errorf("hashing the executable: larger than %d bytes", maxExecutable)
	}
	select {
	case h.work <- struct{}{}:
		defer func() { <-h.work }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if sum, ok := h.get(key); ok { // another caller of the same program was first
		return sum, nil
	}
	hash := sha256.New()
	n, err := io.Copy(hash, &untilDone{ctx, io.LimitReader(file, key.size+1)})
	var st unix.Stat_t
	if err == nil {
		err = withFD(file, func(fd int) error { return unix.Fstat(fd, &st) })
	}
	if err != nil {
		return "", fmt.Errorf("hashing the executable: %w", err)
	}
	if n != key.size || inodeOf(&st) != key {
		return "", errors.New("hashing the executable: it changed meanwhile")
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	if time.Since(time.Unix(key.ctime.Unix())) > settled {
		h.put(key, sum)
	}
	return sum, nil
}

// put remembers, and forgets everything when full: hashing again is dear but right.
func (h *hashes) put(key inode, sum string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.known) >= maxHashes {
		clear(h.known)
	}
	h.known[key] = sum
}

// untilDone ends reading when the caller has gone.
type untilDone struct {
	ctx context.Context //nolint:containedctx // a reader for the length of one call
	io.Reader
}

func (r *untilDone) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(b)
}
