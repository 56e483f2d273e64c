package netlab

import (
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/palisade-security/palisade/internal/fleettest"
)

// Program is something to run on a host.
type Program struct {
	Args   []string // paths are absolute
	Env    []string // added to ours: NAME=value
	Input  string   // for its standard input
	Kernel *Kernel  // nil: nobody stands between it and the kernel
}

// Process is a program that runs. What it writes to either output can be read meanwhile.
type Process struct {
	fleettest.Output
	host  *Host
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // how it ended, once it has
}

// environ is our environment without our role.
func environ(more []string) []string {
	var out []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, role+"=") {
			out = append(out, e)
		}
	}
	return append(out, more...)
}

// Start runs a program on the host until it is stopped, or the test has ended.
func (h *Host) Start(p Program) *Process {
	h.lab.t.Helper()
	out := &Process{host: h, ended: make(chan struct{})}
	args, env := p.Args, environ(p.Env)
	if p.Kernel != nil {
		args, env = append(h.lab.Self("")[:1], args...), append(env, role+"="+roleLaunch)
	}
	args = h.Enter(args...)
	out.cmd = exec.Command(args[0], args[1:]...) //nolint:gosec,noctx // the test's own program, killed below
	out.cmd.Env, out.cmd.Stdin, out.cmd.Stdout, out.cmd.Stderr = env, strings.NewReader(p.Input), &out.Output, &out.Output
	var err error
	if p.Kernel == nil {
		err = out.cmd.Start()
	} else {
		err = p.Kernel.start(h.lab.t, out.cmd)
	}
	if err != nil {
		h.lab.t.Fatalf("starting %s on %s: %v", strings.Join(p.Args, " "), h.Name, err)
	}
	go func() {
		out.err = out.cmd.Wait()
		close(out.ended)
	}()
	h.lab.t.Cleanup(out.Kill)
	return out
}

// Kill is kill -9. It returns when the process is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // fails only when it has ended
	<-p.ended
}

// Stop asks it to end, waits until it has, and returns what became of it.
func (p *Process) Stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended
	<-p.ended
	return p.err
}

// Pid is the process' id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Ended reports whether it has ended, and how.
func (p *Process) Ended() (bool, error) {
	select {
	case <-p.ended:
		return true, p.err
	default:
		return false, nil
	}
}
