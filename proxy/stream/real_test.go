//go:build unix

package stream_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/proxy/stream"
)

// TestRedis runs a real redis-server and its own clients through both sidecars.
func TestRedis(t *testing.T) {
	cli, bench := tool(t, "redis-cli"), tool(t, "redis-benchmark")
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	server := exec.CommandContext(t.Context(), tool(t, "redis-server"), "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir, "--proto-max-bulk-len", "256mb")
	daemon(t, server, "unix", socket)
	p := newPair(t, "unix", socket)
	host, port, _ := net.SplitHostPort(p.address)
	redis := func(in []byte, args ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), cli, append([]string{"-h", host, "-p", port}, args...)...)
		c.Stdin = bytes.NewReader(in)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 2<<20) // 32 MiB
	if got := redis(big, "-x", "set", "big"); got != "OK\n" {
		t.Fatalf("got %.100q", got)
	}
	if got := redis(nil, "get", "big"); got != string(big)+"\n" {
		t.Fatalf("got %d bytes", len(got))
	}
	if e := p.inSeen.next(t); !e.Allowed || e.BytesIn < 32<<20 || e.Aborted != "" {
		t.Errorf("got %+v", e)
	}
	if e := p.inSeen.next(t); e.BytesOut < 32<<20 || e.Client == "" {
		t.Errorf("got %+v", e)
	}
	out, err := exec.CommandContext(t.Context(), bench, "-h", host, "-p", port, "-q", "-n", "20000", "-c", "50", "-P", "8", "-t", "set,get").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%s", bytes.ReplaceAll(out, []byte("\r"), []byte("\n")))

	// The service dies with connections open: who waits is told.
	waiting := exec.CommandContext(t.Context(), cli, "-h", host, "-p", port, "blpop", "never", "0")
	var told bytes.Buffer
	waiting.Stdout, waiting.Stderr = &told, &told
	if err := waiting.Start(); err != nil {
		t.Fatal(err)
	}
	waitOpen(t, p.in)
	_ = server.Process.Kill()
	_ = waiting.Wait()
	if strings.Contains(told.String(), "never") {
		t.Errorf("got %s", told.String())
	}
}

// TestPostgreSQL runs a real PostgreSQL and psql through both sidecars: COPY both ways, a notice, a cancelled query.
func TestPostgreSQL(t *testing.T) {
	psql, initdb, pg := tool(t, "psql"), tool(t, "initdb"), tool(t, "postgres")
	dir, err := os.MkdirTemp("", "pg") //nolint:usetesting // another user must be able to walk there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	data := filepath.Join(dir, "d")
	as := asPostgres(t, dir)
	run := func(c *exec.Cmd) *exec.Cmd { c.SysProcAttr, c.Dir = as, dir; return c }
	if out, err := run(exec.CommandContext(t.Context(), initdb, "-D", data, "-U", "shop", "-A", "trust", "--no-sync")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	free := listen(t)
	_, port, _ := net.SplitHostPort(free.Addr().String())
	_ = free.Close()
	daemon(t, run(exec.CommandContext(t.Context(), pg, "-D", data, "-p", port, "-h", "127.0.0.1", "-k", dir, "-F")), "tcp", "127.0.0.1:"+port)
	p := newPair(t, "tcp", "127.0.0.1:"+port)
	_, through, _ := net.SplitHostPort(p.address)
	query := func(sql string, in []byte) (string, error) {
		c := exec.CommandContext(t.Context(), psql, "-h", "127.0.0.1", "-p", through, "-U", "shop", "-d", "postgres", "-XAtqc", sql)
		c.Stdin = bytes.NewReader(in)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	for range 400 { // it listens before it is ready
		if _, err := query("select 1", nil); err == nil {
			break
		}
		pause(t)
	}
	var rows bytes.Buffer
	for i := range 200_000 {
		rows.WriteString(strconv.Itoa(i) + "\tsome text of row " + strconv.Itoa(i) + "\n")
	}
	if out, err := query("create table t(a int, b text)", nil); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := query("copy t from stdin", rows.Bytes()); err != nil {
		t.Fatalf("%v: %.300s", err, out)
	}
	if out, err := query("copy (select * from t order by a) to stdout", nil); err != nil || out != rows.String() {
		t.Fatalf("%v: %d bytes", err, len(out))
	}
	if out, err := query("set statement_timeout = 50; select pg_sleep(30)", nil); err == nil || !strings.Contains(out, "statement timeout") {
		t.Errorf("got %s, %v", out, err)
	}
	e := p.outSeen.next(t)
	for e.BytesIn < int64(rows.Len()) {
		e = p.outSeen.next(t)
	}
	if !e.Allowed || e.Workload != id("orders") || e.Host != "db:5432" {
		t.Errorf("got %+v", e)
	}
}

func tool(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	places, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // where Debian keeps them
	if len(places) == 0 {
		t.Fatal(name + " is not installed; scripts/deps.sh installs it")
	}
	return places[len(places)-1]
}

// daemon starts c and waits until it takes connections.
func daemon(t testing.TB, c *exec.Cmd, network, address string) {
	t.Helper()
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 10 * time.Second
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGQUIT)
		_ = c.Wait()
	})
	for range 20000 {
		if conn, err := new(net.Dialer).DialContext(t.Context(), network, address); err == nil {
			_ = conn.Close()
			return
		}
		pause(t)
	}
	t.Fatal("it does not start")
}

// asPostgres is the user that PostgreSQL runs as, since it does not as root.
func asPostgres(t testing.TB, dir string) *syscall.SysProcAttr {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal("there is no user postgres; scripts/deps.sh installs PostgreSQL")
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// TestThousand holds 1,000 connections through both sidecars, which have moved much before they rest.
func TestThousand(t *testing.T) {
	const n, most = 1000, 256 << 10 // bytes for each: two sidecars, of which crypto/tls takes 40 KiB each, and the echo
	p := newPair(t, "tcp", serve(t, echo), func(_ *pair, b *stream.Bounds) { b.Connections = 8 * n })
	before := memory()
	var all sync.WaitGroup
	conns := make([]net.Conn, n)
	failed := make(chan error, n)
	block := make([]byte, 100<<10)
	slots := make(chan struct{}, 32)
	for i := range n {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			c, err := new(net.Dialer).DialContext(context.WithoutCancel(t.Context()), "tcp", p.address)
			if err != nil {
				failed <- err
				return
			}
			conns[i] = c
			go func() { _, _ = c.Write(block) }()
			for left := len(block); left > 0; {
				m, err := c.Read(make([]byte, 16<<10))
				if left -= m; err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	for _, c := range conns {
		ask(t, c)
	}
	used := memory() - before
	t.Logf("%d connections hold %d KiB each, %d goroutines", n, used/n>>10, runtime.NumGoroutine())
	if used > n*most {
		t.Errorf("%d connections hold %d MiB", n, used>>20)
	}
	for _, c := range conns {
		_ = c.Close()
	}
	for range n {
		if e := p.inSeen.next(t); e.BytesIn != int64(len(block))+1 {
			t.Fatalf("got %+v", e)
		}
	}
	if p.in.Open() != 0 {
		t.Errorf("%d are open", p.in.Open())
	}
}

func memory() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse + m.StackInuse)
}
