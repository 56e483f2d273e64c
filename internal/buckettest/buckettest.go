// Package buckettest is an S3-compatible server for tests: Versity's gateway over a folder, which scripts/deps.sh builds. It is
// for tests only.
package buckettest

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/internal/bucket"
	"github.com/palisade-security/palisade/internal/porttest"
)

// The keys of its only user.
const (
	User     = "palisade-test"
	Password = "palisade-test-secret" //nolint:gosec // G101: of a server that lives as long as a test
	Name     = "events"               // of a bucket that is there
)

// Server is a process with a folder of its own. A relay stands before it, so that it can be away.
type Server struct {
	Dir string // the objects of the bucket are files in it
	URL string // of the relay

	relay   net.Listener
	address string // of the process

	mu    sync.Mutex
	away  bool
	stall chan struct{} // nil: requests are passed on
	asked chan struct{}
	open  map[net.Conn]struct{}
	wait  sync.WaitGroup
}

// program finds what scripts/deps.sh built: beside go.mod.
func program() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			found, _ := filepath.Glob(filepath.Join(dir, "bin", "versitygw-*", "versitygw"))
			if len(found) > 0 {
				return found[len(found)-1], nil
			}
		}
	}
	return "", errors.New("there is no bin/versitygw-*/versitygw")
}

// Start starts a server that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("NOT RUN: -short leaves object storage out")
	}
	path, err := program()
	if err != nil {
		t.Fatalf("the S3-compatible server does not run (make deps builds it): %v", err)
	}
	root := t.TempDir()
	s := &Server{Dir: filepath.Join(root, "objects", Name), address: porttest.Free(t, 1)[0], open: map[net.Conn]struct{}{}}
	for _, dir := range []string{s.Dir, filepath.Join(root, "meta")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(root, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	cmd := exec.CommandContext(t.Context(), path, "--port", s.address, "--quiet", "--keep-alive", "posix", "--sidecar", filepath.Join(root, "meta"), filepath.Join(root, "objects")) //nolint:gosec // what deps.sh built
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+User, "ROOT_SECRET_KEY="+Password)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // the context of the test has ended it
	s.await(t, log.Name())
	s.serve(t)
	return s
}

// Wrong is what an operator may have set wrongly, by what it is.
func (s *Server) Wrong() map[string]bucket.Options {
	return map[string]bucket.Options{
		"no bucket":  {URL: s.URL, Bucket: "other", User: User, Password: Password},
		"a password": {URL: s.URL, Bucket: Name, User: User, Password: "wrong-secret"},
	}
}

func (s *Server) await(t testing.TB, log string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 1500 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := http.DefaultClient.Do(r); err == nil {
			_ = a.Body.Close()
			return
		}
		<-tick.C
	}
	text, _ := os.ReadFile(log)
	t.Fatalf("the S3-compatible server does not come up: %s", text)
}

// Bucket connects to the bucket under a prefix.
func (s *Server) Bucket(t testing.TB, prefix string) *bucket.Bucket {
	t.Helper()
	b, err := bucket.New(bucket.Options{URL: s.URL, Bucket: Name, Prefix: prefix, User: User, Password: Password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// Away cuts all connections and takes no more, or takes them again.
func (s *Server) Away(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away = away; away {
		for c := range s.open {
			_ = c.Close()
		}
	}
}

// Stall keeps requests from the server, without cutting connections, until resume is called. Asked is told when one waits.
func (s *Server) Stall(t testing.TB) (asked <-chan struct{}, resume func()) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	stalled := make(chan struct{})
	s.stall, s.asked = stalled, make(chan struct{}, 1)
	resume = sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stall = nil
		close(stalled)
	})
	t.Cleanup(resume)
	return s.asked, resume
}

// client is a connection of which requests are passed on unless they are stalled.
type client struct {
	net.Conn
	of *Server
}

func (c client) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.of.mu.Lock()
	stalled, asked := c.of.stall, c.of.asked
	c.of.mu.Unlock()
	if stalled != nil && n > 0 {
		select {
		case asked <- struct{}{}:
		default: // it was told
		}
		<-stalled
	}
	return n, err
}

// Port is that of the relay.
func (s *Server) Port() string { return strconv.Itoa(s.relay.Addr().(*net.TCPAddr).Port) }

// serve relays connections until the test ends.
func (s *Server) serve(t testing.TB) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.relay, s.URL = l, "http://"+l.Addr().String()
	s.wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.wait.Go(func() { s.carry(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.Away(true)
		s.wait.Wait()
	})
}

// hold notes a connection, unless the server is away.
func (s *Server) hold(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		_ = c.Close()
		return false
	}
	s.open[c] = struct{}{}
	return true
}

func (s *Server) drop(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	_ = c.Close()
}

func (s *Server) carry(c net.Conn) {
	if !s.hold(c) {
		return
	}
	defer s.drop(c)
	to, err := (&net.Dialer{}).Dial("tcp", s.address) // closing the relay ends it
	if err != nil || !s.hold(to) {
		return
	}
	defer s.drop(to)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(to, client{c, s})
		_ = to.Close()
	}()
	_, _ = io.Copy(c, to)
	_ = c.Close()
	<-done
}
