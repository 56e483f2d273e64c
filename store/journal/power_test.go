package journal_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/store/journal"
)

// powerRounds asks for TestPowerLoss, which needs root, mkfs.ext4 and loop devices.
const powerRounds = "PALISADE_JOURNAL_POWER"

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

func mount(t *testing.T, image, at string) {
	t.Helper()
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, "mount", "-o", "loop", image, at)
	t.Cleanup(func() { _ = syscall.Unmount(at, syscall.MNT_DETACH) }) // if the test ended before it did
}

// TestPowerLoss stops a writer, copies the disk image below its file system as it is at that moment, with
// everything that only memory held missing, and looks for the acknowledged records in the copy.
func TestPowerLoss(t *testing.T) {
	if os.Getenv(powerRounds) == "" {
		t.Skipf("set %s=1 to run it, as root", powerRounds)
	}
	dir := t.TempDir()
	for round := range 10 {
		image, copied := filepath.Join(dir, "disk"), filepath.Join(dir, "copy")
		live, dead := filepath.Join(dir, "live"), filepath.Join(dir, "dead")
		run(t, "truncate", "-s", "64M", image)
		run(t, "mkfs.ext4", "-q", "-F", image)
		mount(t, image, live)
		log := filepath.Join(live, "log")
		cmd, lines, _ := child(t, "write", log, round+1)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stopped := make(chan error, 1)
		stop := time.AfterFunc(time.Duration(100+37*round)*time.Millisecond, func() {
			err := cmd.Process.Signal(syscall.SIGSTOP)
			if err == nil {
				err = copyFile(copied, image)
			}
			stopped <- err
			_ = cmd.Process.Kill()
		})
		acked := map[uint64]uint64{}
		acknowledged(t, lines, acked)
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		stop.Stop()
		_ = cmd.Wait()
		run(t, "umount", live)
		mount(t, copied, dead)
		j, rec := open(t, journal.Options{Dir: filepath.Join(dead, "log")})
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		checkRecords(t, filepath.Join(dead, "log"), 1, acked)
		t.Logf("%d acknowledged, %d found, %d bytes cut, damage %v", len(acked), rec.Next-1, rec.Cut, rec.Damage)
		run(t, "umount", dead)
	}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}
