// Package pgtest is a PostgreSQL for tests: Debian's, in a folder of its own. It is for tests only.
package pgtest

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Server is a PostgreSQL that the tests start: Debian's, in a folder of its own, reachable through a socket in it.
type Server struct {
	once sync.Once
	dir  string
	err  error
	cmd  *exec.Cmd
	next int
	mu   sync.Mutex
}

// Database returns the location of a new, empty database.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("NOT RUN: -short leaves PostgreSQL out")
	}
	s.once.Do(func() { s.err = s.start() })
	if s.err != nil {
		t.Fatalf("PostgreSQL does not run (make deps installs it): %v", s.err)
	}
	s.mu.Lock()
	s.next++
	name := "test" + strconv.Itoa(s.next)
	s.mu.Unlock()
	out, err := s.command("createdb", "-h", s.dir, name).CombinedOutput()
	if err != nil {
		t.Fatalf("createdb: %v\n%s", err, out)
	}
	return s.location(name)
}

func (s *Server) location(name string) string {
	return "postgres:///" + name + "?" + url.Values{"host": {s.dir}, "user": {"postgres"}}.Encode()
}

// command is one of PostgreSQL's programs, run as a user that is not root: it refuses to be.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	slices.Sort(found)
	if len(found) == 0 {
		found = []string{name}
	}
	cmd := exec.Command(found[len(found)-1], args...) //nolint:gosec,noctx // programs of a package, for tests
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "PGUSER=postgres", "LC_ALL=C")
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner().uid, Gid: owner().gid}}
	}
	return cmd
}

type ids struct{ uid, gid uint32 }

// owner is the user that Debian's package makes.
func owner() ids {
	u, err := user.Lookup("postgres")
	if err != nil {
		return ids{65534, 65534}
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return ids{uint32(uid), uint32(gid)}
}

func (s *Server) start() error {
	dir, err := os.MkdirTemp("", "palisade-pg-")
	if err != nil {
		return err
	}
	s.dir = dir
	if os.Getuid() == 0 {
		if err := os.Chown(dir, int(owner().uid), int(owner().gid)); err != nil {
			return err
		}
	}
	out, err := s.command("initdb", "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return s.Run()
}

// Run starts the server and waits until it answers.
func (s *Server) Run() error {
	s.cmd = s.command("postgres", "-D", filepath.Join(s.dir, "data"), "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=200")
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 600 {
		if s.command("pg_isready", "-q", "-h", s.dir).Run() == nil {
			return nil
		}
		<-tick.C
	}
	text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return errors.New("it does not come up: " + string(text))
}

// Kill kills the server with all its processes, none of which can do anything before it ends. Run starts it again.
func (s *Server) Kill() {
	KillAll(s.cmd.Process.Pid)
	_ = s.cmd.Wait()
	s.cmd = nil
}

// KillAll kills a server that somebody else has started, with all its processes. Who started it waits for its end.
func KillAll(pid int) {
	_ = syscall.Kill(pid, syscall.SIGSTOP) // it makes no more of them
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for left := children(pid); len(left) > 0; left = children(pid) { // they share memory until they have ended
		for _, child := range left {
			_ = syscall.Kill(child, syscall.SIGKILL)
		}
		<-tick.C
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// children are the processes of a process that have not ended: those of PostgreSQL are leaders of groups of their own.
func children(of int) []int {
	var out []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat")) // proc_pid_stat(5): pid (comm) state ppid
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		pid, err := strconv.Atoi(e.Name())
		if err == nil && len(fields) > 1 && fields[0] != "Z" && fields[1] == strconv.Itoa(of) {
			out = append(out, pid)
		}
	}
	return out
}

// SQL runs statements in a database and returns what they answer, a row in a line.
func (s *Server) SQL(t testing.TB, location, text string) string {
	t.Helper()
	out, err := s.command("psql", "-v", "ON_ERROR_STOP=1", "-Atqc", text, location).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", text, err, out)
	}
	return strings.TrimSpace(string(out))
}

// Stop ends it and removes its folder.
func (s *Server) Stop() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Signal(syscall.SIGQUIT) // at once, but it gives back what it shares with its processes
		_ = s.cmd.Wait()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}
