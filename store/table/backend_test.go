package table_test

import (
	"context"
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

	"github.com/palisade-security/palisade/store/table"
)

// each runs a test on empty tables of every kind; another opens them once more, as a second process would.
func each(t *testing.T, test func(t *testing.T, s *table.Store, another func(testing.TB) *table.Store)) {
	t.Run("sqlite", func(t *testing.T) {
		location := "sqlite:" + filepath.Join(t.TempDir(), "tables.db")
		another := func(t testing.TB) *table.Store { return open(t, location) }
		test(t, another(t), another)
	})
	t.Run("postgres", func(t *testing.T) {
		location := postgres.database(t)
		another := func(t testing.TB) *table.Store { return open(t, location) }
		test(t, another(t), another)
	})
}

func open(t testing.TB, location string) *table.Store {
	t.Helper()
	s, err := table.Open(t.Context(), location)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// server is a PostgreSQL that the tests start: Debian's, in a folder of its own, reachable through a socket in it.
type server struct {
	once sync.Once
	dir  string
	err  error
	cmd  *exec.Cmd
	next int
	mu   sync.Mutex
}

var postgres server

func TestMain(m *testing.M) {
	if os.Getenv(childFile) != "" {
		os.Exit(writeUntilKilled())
	}
	code := m.Run()
	postgres.stop()
	os.Exit(code)
}

// database returns the location of a new, empty database.
func (s *server) database(t testing.TB) string {
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

func (s *server) location(name string) string {
	return "postgres:///" + name + "?" + url.Values{"host": {s.dir}, "user": {"postgres"}}.Encode()
}

// command is one of PostgreSQL's programs, run as a user that is not root: it refuses to be.
func (s *server) command(name string, args ...string) *exec.Cmd {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	slices.Sort(found)
	if len(found) == 0 {
		found = []string{name}
	}
	cmd := exec.Command(found[len(found)-1], args...)
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

func (s *server) start() error {
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
	return s.run()
}

// run starts the server and waits until it answers.
func (s *server) run() error {
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

// kill ends the server at once, with all its processes.
func (s *server) kill() {
	_ = s.cmd.Process.Signal(syscall.SIGQUIT) // immediate shutdown: like a crash, but it takes its children along
	_ = s.cmd.Wait()
}

func (s *server) stop() {
	if s.cmd != nil && s.cmd.Process != nil {
		s.kill()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// soon is a context that ends long after what is awaited should have happened.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestOpenRefuses(t *testing.T) {
	for location, want := range map[string]string{
		"":                                  "",
		"sqlite:":                           "no file",
		"sqlite:/none/such/folder/x":        "no such file",
		"mysql://root:hunter2@localhost":    "neither",
		"postgres://u:hunter2@db.example/x": "sslmode=verify-full", // pgx would fall back to no TLS
		"postgres://u@db.example/x?sslmode=require": "sslmode=verify-full",
		"postgres://u@127.0.0.1,db.example/x":       "sslmode=verify-full",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		s, err := table.Open(ctx, location)
		cancel()
		if err == nil {
			must(t, s.Close())
			t.Errorf("%q was opened", location)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want %q", location, err, want)
		}
	}
}
