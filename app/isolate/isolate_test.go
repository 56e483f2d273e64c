package isolate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app/capture"
	"github.com/palisade-security/palisade/internal/hosttest"
)

// TestMain is also the inside of namespaces and the service in them.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == Verb:
		os.Exit(Inside(context.Background(), os.Args[2:], os.Stderr))
	case len(os.Args) > 1 && os.Args[1] == "service":
		os.Exit(service(os.Args[2]))
	}
	os.Exit(m.Run())
}

// service answers what a service in a namespace can see.
func service(outside string) int {
	mux := http.NewServeMux()
	mux.HandleFunc("/call", func(w http.ResponseWriter, r *http.Request) {
		resp, err := http.Get(r.FormValue("url"))
		if err != nil {
			fmt.Fprint(w, err)
			return
		}
		defer resp.Body.Close()
		_, _ = io.Copy(w, resp.Body)
	})
	mux.HandleFunc("/outside", func(w http.ResponseWriter, _ *http.Request) {
		_, err := net.DialTimeout("tcp", outside, time.Second)
		fmt.Fprint(w, err)
	})
	mux.HandleFunc("/rights", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, syscall.Sethostname([]byte("x")), loopbackUp(), syscall.Unshare(syscall.CLONE_NEWNS))
	})
	mux.HandleFunc("/read", func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(r.FormValue("path"))
		fmt.Fprint(w, string(b), err)
	})
	mux.HandleFunc("/send", func(w http.ResponseWriter, r *http.Request) {
		c, err := net.Dial("udp", r.FormValue("to"))
		if err == nil {
			_, err = c.Write([]byte("x"))
			_ = c.Close()
		}
		fmt.Fprint(w, err)
	})
	mux.HandleFunc("/processes", func(w http.ResponseWriter, _ *http.Request) {
		all, err := filepath.Glob("/proc/[0-9]*")
		fmt.Fprint(w, len(all), " ", os.Getppid(), err)
	})
	mux.HandleFunc("/signal", func(w http.ResponseWriter, r *http.Request) {
		pid, _ := strconv.Atoi(r.FormValue("pid"))
		n, _ := strconv.Atoi(r.FormValue("signal"))
		fmt.Fprint(w, syscall.Kill(pid, syscall.Signal(n)))
	})
	mux.HandleFunc("/orphan", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, exec.Command("sh", "-c", "(sleep 0.05; exit 3) & exit 0").Run())
	})
	mux.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) { os.Exit(7) })
	fmt.Println(http.ListenAndServe("127.0.0.1:18080", mux))
	return 1
}

// start runs the service isolated, with one name that leads to a listener of ours, and others as asked.
func start(t *testing.T, outside, captured string, listen ...string) (*Pod, *exec.Cmd) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd, line, err := Command([]string{self, "service", outside}, true)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.ExtraFiles[0].Close()
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	at := netip.MustParseAddrPort("127.1.0.1:80")
	folder := t.TempDir()
	if err := errors.Join(os.Mkdir(folder+"/bin", 0o700), os.WriteFile(folder+"/bin/open", []byte("shown"), 0o600), os.WriteFile(folder+"/key", []byte("hidden"), 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HIDDEN", folder)
	spec := &Spec{Hosts: map[string]netip.Addr{"catalog": at.Addr()}, Listen: []netip.AddrPort{at}, Folder: folder, Hide: folder, Keep: []string{"bin", "absent"}, Capture: captured, Processes: true}
	for _, l := range listen {
		spec.Listen = append(spec.Listen, netip.MustParseAddrPort(l))
	}
	p, err := Open(t.Context(), line, spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	if err := p.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	for {
		c, err := p.Dial(t.Context(), "tcp", "127.0.0.1:18080")
		if err == nil {
			_ = c.Close()
			return p, cmd
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

func ask(t *testing.T, p *Pod, path string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: p.Dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:18080"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPod(t *testing.T) {
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	p, cmd := start(t, outside.Addr().String(), "")
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "through the sidecar to ", r.Host)
	})}
	go func() { _ = server.Serve(p.Listeners[0]) }()
	defer server.Close()

	if got := ask(t, p, "/call?url=http://catalog/"); got != "through the sidecar to catalog" {
		t.Errorf("a declared name: got %q", got)
	}
	if got := ask(t, p, "/outside"); !strings.Contains(got, "connection refused") {
		t.Errorf("a listener of the host was reached from inside: %s", got)
	}
	if got := ask(t, p, "/call?url=http://192.0.2.1/"); !strings.Contains(got, "network is unreachable") {
		t.Errorf("there is a way out: %s", got)
	}
	if got := ask(t, p, "/rights"); strings.Contains(got, "nil") {
		t.Errorf("the service has rights over its namespace: %s", got)
	}
	if got := ask(t, p, "/read?path="+os.Getenv("HIDDEN")+"/key"); !strings.Contains(got, "no such file") {
		t.Errorf("a hidden file is seen: %s", got)
	}
	if got := ask(t, p, "/read?path="+os.Getenv("HIDDEN")+"/bin/open"); got != "shown<nil>" {
		t.Errorf("what is to be kept is not: %s", got)
	}
	if c, err := net.Dial("tcp", "127.0.0.1:18080"); err == nil {
		_ = c.Close()
		t.Error("the service is reachable from outside")
	}
	if _, err := p.Dial(t.Context(), "tcp", "127.0.0.1:9"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a closed port: got %v", err)
	}
	_ = ask(t, p, "/exit")
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("got %v, want the service's exit code", err)
	}
	if _, err := p.Dial(t.Context(), "tcp", "127.0.0.1:18080"); err == nil {
		t.Error("dialed into a namespace that is gone")
	}
}

// TestProcesses holds that a service sees and reaches no process but its own, that its init cannot be ended by it and takes up what
// was orphaned, and that nothing outlives it.
func TestProcesses(t *testing.T) {
	p, cmd := start(t, "", "")
	const alone = "2 1 <nil>" // it and its init
	if got := ask(t, p, "/processes"); got != alone {
		t.Errorf("it sees %s processes", got)
	}
	if got := ask(t, p, fmt.Sprint("/signal?pid=", os.Getpid())); !strings.Contains(got, "no such process") {
		t.Errorf("it reaches us: %s", got)
	}
	for _, n := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGUSR1, syscall.SIGINT} {
		_ = ask(t, p, fmt.Sprintf("/signal?pid=1&signal=%d", n))
	}
	if got := ask(t, p, "/orphan"); got != "<nil>" {
		t.Errorf("got %s", got)
	}
	for got := ""; got != alone; got = ask(t, p, "/processes") { // a zombie would be one more
		if t.Context().Err() != nil {
			t.Fatalf("it sees %s processes", got)
		}
	}
	_ = ask(t, p, "/signal?pid=-1&signal=15") // all that it reaches, which is itself and its init
	_ = ask(t, p, "/exit")
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 128+15 && exit.ExitCode() != 7 {
		t.Errorf("got %v", err)
	}
}

// TestCapture holds that a service in a namespace reaches the capture port whatever address it takes, and that what it
// sends otherwise is told.
func TestCapture(t *testing.T) {
	hosttest.Need(t, "nft")
	p, _ := start(t, "203.0.113.7:80", "orders", "127.0.0.1:15001", "[::1]:15001")
	for _, ln := range p.Listeners {
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				to, err := capture.Original(c)
				_, _ = c.Read(make([]byte, 1<<10)) // a client takes no answer before it has asked
				fmt.Fprintf(c, "HTTP/1.0 200 OK\r\n\r\nmeant for %v %v", to, err)
				_ = c.Close()
			}
		}()
	}
	for where, want := range map[string]string{
		"192.0.2.1:81":     "meant for 192.0.2.1:81 <nil>",
		"[2001:db8::1]:81": "meant for [2001:db8::1]:81 <nil>",
		"catalog":          "meant for invalid AddrPort " + capture.ErrDirect.Error(),
	} {
		if got := ask(t, p, "/call?url=http://"+where+"/"); got != want {
			t.Errorf("%s: got %q, want %q", where, got, want)
		}
	}
	log, err := p.Dropped(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	told, done := make(chan capture.Attempt, 1), make(chan error)
	go func() { done <- log.Run(ctx, func(a capture.Attempt) { told <- a }) }()
	if got := ask(t, p, "/send?to=192.0.2.1:53"); !strings.Contains(got, "not permitted") {
		t.Errorf("a datagram left: %s", got)
	}
	if a := <-told; a.Service != "orders" || a.Protocol != "udp" || a.To.String() != "192.0.2.1:53" || a.Inbound {
		t.Errorf("told %+v", a)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := ask(t, p, "/rights"); strings.Contains(got, "nil") {
		t.Errorf("the service has rights over its namespace: %s", got)
	}
}

func TestCheck(t *testing.T) {
	if processes, err := Check(t.Context(), t.TempDir()); err != nil || !processes {
		t.Error(processes, err)
	}
	if _, err := Check(t.Context(), "/nowhere"); err == nil {
		t.Error("names were written nowhere")
	}
}
