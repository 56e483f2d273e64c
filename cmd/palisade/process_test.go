package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/internal/porttest"
)

// model is a fleet of two processes, of which front calls back.
const fleetModel = `version: 1
fleet: processes
trust_domain: processes.example
edge:
  admin: %[2]s
  timeouts: {drain: 2s}
  listeners:
    public: {address: %[1]q, tls: {local: true}}
providers:
  dev: {development: true}
services:
  front:
    address: http://%[3]s
    run: {command: [%[5]q], env: {PID_FILE: {value: %[6]q}, BEHAVIOUR: {value: "${front}"}}}
    expose: [{host: app.localhost, path: /front, allow: [{anyone: true, methods: [GET]}]}]
  back:
    address: http://%[4]s
    run: {command: [%[5]q], env: {PID_FILE: {value: %[7]q}, BEHAVIOUR: {value: "${back}"}}}
    callers: [front]
    expose: [{host: app.localhost, path: /die, allow: [{anyone: true, methods: [GET]}]}]
`

// up is a "palisade up" in a process of its own.
type up struct {
	*fleettest.Fleet
	addrs []string // edge, admin, front, back
	cmd   *exec.Cmd
	done  chan struct{}
}

// newUp writes the model; behaviours are those of front and back.
func newUp(t *testing.T, front, back string) *up {
	t.Helper()
	u := &up{Fleet: fleettest.New(t), addrs: porttest.Free(t, 4)}
	service, err := exec.LookPath("test-service")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(fleetModel, u.addrs[0], u.addrs[1], u.addrs[2], u.addrs[3], service, u.Path("front"), u.Path("back"))
	u.Write("palisade.yaml", strings.NewReplacer("${front}", front, "${back}", back).Replace(text))
	return u
}

// start runs the command; it is killed at the end of the test if it runs still.
func (u *up) start() {
	u.T.Helper()
	cmd := exec.Command("palisade", "up", u.Dir)
	u.Messages.Reset()
	u.done = make(chan struct{})
	cmd.Stdout, cmd.Stderr, cmd.Env = &u.Messages, &u.Messages, append(os.Environ(), "NO_COLOR=1")
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		u.T.Fatal(err)
	}
	u.cmd = cmd
	done := u.done
	go func() {
		defer close(done)
		_ = cmd.Wait() // its exit code is looked at later
	}()
	u.T.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
	})
}

func (u *up) startReady() {
	u.T.Helper()
	u.start()
	u.Says("Ctrl-C stops everything")
}

// ends waits for the end and returns the exit code.
func (u *up) ends() int {
	u.T.Helper()
	u.Eventually("the end", func() bool {
		select {
		case <-u.done:
			return true
		default:
			return false
		}
	})
	return u.cmd.ProcessState.ExitCode()
}

// pid is the process id that a service left.
func (u *up) pid(name string) int {
	u.T.Helper()
	n, err := strconv.Atoi(u.Read(name))
	if err != nil {
		u.T.Fatal(err)
	}
	return n
}

// gone waits until a process is no more.
func (u *up) gone(pids ...int) {
	u.T.Helper()
	for _, pid := range pids {
		u.Eventually(fmt.Sprintf("process %d is gone", pid), func() bool { return !running(pid) })
	}
}

// running reports whether a process lives; one that waits to be collected does not.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) && !errors.Is(err, os.ErrNotExist)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func (u *up) signal(s os.Signal) {
	u.T.Helper()
	if err := u.cmd.Process.Signal(s); err != nil {
		u.T.Fatal(err)
	}
}

// palisade runs another verb on the same model.
func (u *up) palisade(args ...string) (string, int) {
	u.T.Helper()
	cmd := exec.CommandContext(u.T.Context(), "palisade", append(args, u.Dir)...)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		u.T.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// ready asks the admin listener.
func (u *up) ready() bool {
	req, err := http.NewRequestWithContext(u.T.Context(), http.MethodGet, "http://"+u.addrs[1]+"/readyz", nil)
	if err != nil {
		return false
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// TestInterrupt: Ctrl-C ends everything in order and leaves nothing.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			u := newUp(t, "", "")
			u.startReady()
			front, back := u.pid("front"), u.pid("back")
			if !u.ready() {
				t.Error("not ready")
			}
			u.signal(s)
			if code := u.ends(); code != exitOK {
				t.Errorf("exit code %d\n%s", code, &u.Messages)
			}
			u.gone(front, back)
			order, err := os.ReadFile(u.Path("stopped"))
			if err != nil || string(order) != "front\nback\n" {
				t.Errorf("stopped in the order %q, %v", order, err)
			}
			if text := u.Messages.String(); strings.Index(text, "back       ready") > strings.Index(text, "front      ready") {
				t.Errorf("started in another order:\n%s", text)
			}
		})
	}
}

// TestDeafService: what does not end when asked is killed.
func TestDeafService(t *testing.T) {
	t.Parallel()
	u := newUp(t, "deaf", "")
	u.startReady()
	front, back := u.pid("front"), u.pid("back")
	u.signal(os.Interrupt)
	if code := u.ends(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, &u.Messages)
	}
	u.gone(front, back)
}

// TestServiceFailsAtStart: what has begun is stopped, and the message says whose fault it is.
func TestServiceFailsAtStart(t *testing.T) {
	t.Parallel()
	u := newUp(t, "exit", "")
	u.start()
	if code := u.ends(); code != exitError {
		t.Errorf("exit code %d", code)
	}
	u.Says("front      | no database")
	u.Says(`palisade: waiting for service "front" at ` + u.addrs[2])
	u.gone(u.pid("front"), u.pid("back"))
}

// TestPortTaken: neither a service's port nor the edge's own may belong to someone else.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	for i, want := range []string{"edge.listeners.public.address", "edge.admin", `service "front" cannot start: something else listens on`, `service "back" cannot start`} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			u := newUp(t, "", "")
			var lc net.ListenConfig
			ln, err := lc.Listen(t.Context(), "tcp", u.addrs[i])
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			u.start()
			if code := u.ends(); code != exitError {
				t.Errorf("exit code %d", code)
			}
			u.Says("palisade: ")
			u.Says(want)
			u.Says(u.addrs[i])
			if text := u.Messages.String(); strings.Contains(text, "goroutine ") {
				t.Errorf("a stack trace:\n%s", text)
			}
			for _, name := range []string{"front", "back"} {
				if _, err := os.Stat(u.Path(name)); err == nil {
					u.gone(u.pid(name))
				}
			}
		})
	}
}

// TestServiceDies: half a fleet is not served on; up ends and says why.
func TestServiceDies(t *testing.T) {
	t.Parallel()
	u := newUp(t, "", "")
	u.startReady()
	front, back := u.pid("front"), u.pid("back")
	if err := syscall.Kill(back, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := u.ends(); code != exitError {
		t.Errorf("exit code %d", code)
	}
	u.Says(`palisade: service "back" ended: signal: killed`)
	u.gone(front)
}

// TestKilled: after kill -9 no service goes on, and the next up begins where the record ended.
func TestKilled(t *testing.T) {
	t.Parallel()
	u := newUp(t, "", "")
	u.startReady()
	front, back := u.pid("front"), u.pid("back")
	if out, code := u.palisade("token", "--as", "user-1"); code != 0 || strings.Count(out, ".") != 2 {
		t.Errorf("token: %d %s", code, out)
	}
	u.signal(syscall.SIGKILL)
	u.ends()
	u.gone(front, back)

	tail := u.lastSegment()
	f, err := os.OpenFile(tail, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("half a rec"); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	u.startReady()
	u.Says("cut a torn tail off the record")
	if !u.ready() {
		t.Error("not ready")
	}
	second := exec.CommandContext(t.Context(), "palisade", "up", u.Dir)
	out, err := second.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "does one run on "+u.Path(".palisade")) || second.ProcessState.ExitCode() != exitError {
		t.Errorf("a second up on the same state: %v\n%s", err, out)
	}
	u.signal(os.Interrupt)
	if code := u.ends(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, &u.Messages)
	}
}

// TestKilledWrapper: what a wrapper such as "go run" has started ends as well.
func TestKilledWrapper(t *testing.T) {
	t.Parallel()
	u := newUp(t, "", "")
	service, err := exec.LookPath("test-service")
	if err != nil {
		t.Fatal(err)
	}
	u.Edit("palisade.yaml", fmt.Sprintf("command: [%q]", service), fmt.Sprintf("command: [sh, -c, %q]", service+" & wait"))
	u.startReady()
	front, back := u.pid("front"), u.pid("back")
	u.signal(syscall.SIGKILL)
	u.gone(front, back)
	u.startReady()
	front, back = u.pid("front"), u.pid("back")
	u.signal(os.Interrupt)
	if code := u.ends(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, &u.Messages)
	}
	u.gone(front, back)
}

func (u *up) lastSegment() string {
	u.T.Helper()
	all, err := filepath.Glob(u.Path(".palisade/events/*.seg"))
	if err != nil || len(all) == 0 {
		u.T.Fatalf("no segments: %v", err)
	}
	return all[len(all)-1]
}

// TestHangup: SIGHUP and "palisade reload" read the model again.
func TestHangup(t *testing.T) {
	t.Parallel()
	u := newUp(t, "", "")
	u.startReady()
	if out, code := u.palisade("reload"); code != exitOK || !strings.Contains(out, "serves") {
		t.Errorf("reload: %d %s", code, out)
	}
	u.Edit("palisade.yaml", "path: /front,", "path: /other,")
	u.signal(syscall.SIGHUP)
	u.Says("msg=reloaded")
	u.Edit("palisade.yaml", "path: /other,", "path: other,")
	out, code := u.palisade("reload")
	if code != exitFindings || !strings.Contains(out, "palisade.yaml:") || !strings.Contains(out, "the model before keeps serving") {
		t.Errorf("reload of a broken model: %d %s", code, out)
	}
	u.Edit("palisade.yaml", "path: other,", "path: /third,")
	if out, code := u.palisade("reload"); code != exitOK {
		t.Errorf("reload of a mended model: %d %s", code, out)
	}
	u.signal(os.Interrupt)
	if code := u.ends(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, &u.Messages)
	}
}
