// Package powertest plays the loss of power for tests of what is durable: a file system on an image, which is copied below it while
// who writes there is stopped, so that all that only memory held is missing in the copy. It needs root, mkfs.ext4 and loop devices, and is
// for tests only. What a disk loses that it has acknowledged, or writes in another order, it does not play.
package powertest

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// wanted is the variable that asks for these tests.
const wanted = "PALISADE_JOURNAL_POWER"

// Disk is a small file system.
type Disk struct {
	Dir           string // where it is mounted
	image, copied string
	dead          string
	stopped       chan error
}

// New makes a file system of 64 MiB, or skips the test if nobody asks for it.
func New(t *testing.T) *Disk {
	t.Helper()
	if os.Getenv(wanted) == "" {
		t.Skipf("NOT RUN: set %s=1 to run it, as root", wanted)
	}
	dir := t.TempDir()
	d := &Disk{
		image: filepath.Join(dir, "disk"), copied: filepath.Join(dir, "copy"), Dir: filepath.Join(dir, "live"), dead: filepath.Join(dir, "dead"), stopped: make(chan error, 1),
	}
	run(t, "truncate", "-s", "64M", d.image)
	run(t, "mkfs.ext4", "-q", "-F", d.image)
	mount(t, d.image, d.Dir)
	return d
}

// Cut stops a process after some time, copies what the disk has then, and kills it.
func (d *Disk) Cut(p *os.Process, after time.Duration) {
	time.AfterFunc(after, func() {
		err := p.Signal(syscall.SIGSTOP)
		if err == nil {
			err = d.copy()
		}
		_ = p.Kill()
		d.stopped <- err
	})
}

// After returns where what the disk had when the power went is mounted. The process must have ended.
func (d *Disk) After(t *testing.T) string {
	t.Helper()
	if err := <-d.stopped; err != nil {
		t.Fatal(err)
	}
	run(t, "umount", d.Dir)
	mount(t, d.copied, d.dead)
	return d.dead
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil { //nolint:gosec // programs of file systems, for tests
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

func mount(t *testing.T, image, at string) {
	t.Helper()
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, "mount", "-o", "loop", image, at)
	t.Cleanup(func() { _ = syscall.Unmount(at, syscall.MNT_DETACH) }) // fails if it is unmounted already
}

func (d *Disk) copy() error {
	in, err := os.Open(d.image)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(d.copied)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}
