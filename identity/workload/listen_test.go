package workload

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "api.sock")
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := Listen(t.Context(), path); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second time: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	again, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestListenAtSomethingElse(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, path string)
		fine    bool
	}{
		"stale socket": {prepare: func(t *testing.T, path string) {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close()
		}, fine: true},
		"socket in use": {prepare: func(t *testing.T, path string) {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}},
		"file": {prepare: func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		"symbolic link": {prepare: func(t *testing.T, path string) {
			if err := os.Symlink("/etc/passwd", path); err != nil {
				t.Fatal(err)
			}
		}},
		"lock is a link": {prepare: func(t *testing.T, path string) {
			if err := os.Symlink(path+".elsewhere", path+".lock"); err != nil {
				t.Fatal(err)
			}
		}},
		"directory that others write to": {prepare: func(t *testing.T, path string) {
			if err := os.Chmod(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
		}},
		"sticky directory": {prepare: func(t *testing.T, path string) {
			if err := os.Chmod(filepath.Dir(path), 0o777|os.ModeSticky); err != nil {
				t.Fatal(err)
			}
		}, fine: true},
		"directory of another user": {prepare: func(t *testing.T, path string) {
			if err := os.Chown(filepath.Dir(path), 65534, 65534); err != nil {
				t.Skip(err)
			}
		}},
		"socket of another user": {prepare: func(t *testing.T, path string) {
			if err := syscall.Mknod(path, syscall.S_IFSOCK|0o600, 0); err != nil {
				t.Skip(err)
			}
			if err := os.Chown(path, 65534, 65534); err != nil {
				t.Skip(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "api.sock")
			c.prepare(t, path)
			before, _ := os.Lstat(path)
			l, err := Listen(t.Context(), path)
			if (err == nil) != c.fine {
				t.Fatalf("error %v", err)
			}
			if err == nil {
				l.Close()
				return
			}
			if after, _ := os.Lstat(path); before != nil && !os.SameFile(before, after) {
				t.Error("what was there is gone")
			}
		})
	}
}
