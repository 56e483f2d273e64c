// Package process starts the services that a model declares, waits until they are ready and stops them in
// order. It is a convenience for laptops; real hosts have an init system for that.
package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/palisade-security/palisade/app/isolate"
)

// Spec is one process to run.
type Spec struct {
	Name    string
	Command []string
	Dir     string
	Env     []string // NAME=value, complete
	Address string   // host:port it will listen on
	Ready   string   // path that answers 2xx when ready; empty: the port accepts
	Build   []string // run to its end before the command, never isolated; empty: nothing

	Isolate *isolate.Spec // the network it gets of its own; nil: it shares ours

	// Files are its standard input, output and error, as they are; nil: its output is told line by line.
	Files *[3]*os.File
	// Free tells that it need not listen: nobody waits until it is ready.
	Free bool
}

// Events tells what happens to processes. Its functions are called from several goroutines.
type Events struct {
	Output func(name, line string)
	Ready  func(name string, took time.Duration)

	// Isolated is called with the network of a service before the service starts. It takes the network's listeners
	// over, and the group closes the network.
	Isolated func(name string, pod *isolate.Pod) error

	// Waiting is called when a process is not ready for a while, with what is waited for and why it may not come; may be nil.
	Waiting func(name, text string)

	Stopping func(name string) // before a process is asked to end; may be nil
}

// Group runs processes that depend on each other.
type Group struct {
	events  Events
	specs   []Spec // in starting order
	running []*proc
	guard   *guard
	exited  chan error
}

type proc struct {
	spec Spec
	cmd  *exec.Cmd
	line *net.UnixConn // to the inside of its network, until pod has it
	pod  *isolate.Pod  // nil: not isolated
	done chan struct{} // closed when the process and its output have ended
}

const stopTimeout = 8 * time.Second

// New takes specs in the order in which they are to be started.
func New(specs []Spec, ev Events) *Group {
	return &Group{events: ev, specs: specs, exited: make(chan error, len(specs))}
}

// Start starts every process in order, each after those it needs are ready. On failure it stops what it
// has started.
func (g *Group) Start(ctx context.Context) error {
	g.guard = startGuard()
	for _, s := range g.specs {
		began := time.Now()
		if err := g.start(ctx, s); err != nil {
			g.Stop()
			return err
		}
		g.events.Ready(s.Name, time.Since(began))
	}
	return nil
}

// start starts one process and waits until it is ready.
func (g *Group) start(ctx context.Context, s Spec) error {
	if err := g.build(ctx, s); err != nil {
		return err
	}
	if s.Isolate == nil && !s.Free {
		if err := g.free(ctx, s); err != nil {
			return err
		}
	}
	p, err := g.launch(s)
	if err != nil {
		return err
	}
	g.guard.watch(p.cmd.Process.Pid)
	g.running = append(g.running, p)
	if s.Isolate != nil {
		if err := g.isolated(ctx, p); err != nil {
			return err
		}
	}
	if s.Free {
		return nil
	}
	if err := p.ready(ctx, g.events.Waiting); err != nil {
		return fmt.Errorf("waiting for service %q at %s: %w", s.Name, s.Address, err)
	}
	return nil
}

// build runs what a service needs before it can start.
func (g *Group) build(ctx context.Context, s Spec) error {
	if len(s.Build) == 0 {
		return nil
	}
	cmd := exec.CommandContext(ctx, s.Build[0], s.Build[1:]...) //nolint:gosec // running what the model declares is the purpose
	cmd.Dir, cmd.Env = s.Dir, s.Env
	if out, err := cmd.CombinedOutput(); err != nil {
		for line := range strings.Lines(string(out)) {
			g.events.Output(s.Name, strings.TrimRight(line, "\n"))
		}
		return fmt.Errorf("building service %q: %w", s.Name, err)
	}
	return nil
}

// isolated sets the network of a started process up and lets the service begin.
func (g *Group) isolated(ctx context.Context, p *proc) error {
	var err error
	if p.pod, err = isolate.Open(ctx, p.line, p.spec.Isolate); err != nil {
		return fmt.Errorf("isolating service %q: %w", p.spec.Name, err)
	}
	p.pod.PID = p.cmd.Process.Pid
	if err := g.events.Isolated(p.spec.Name, p.pod); err != nil {
		return err
	}
	if err := p.pod.Release(ctx); err != nil {
		return fmt.Errorf("starting service %q: %w", p.spec.Name, err)
	}
	return nil
}

// free reports an error if something else listens on the address already.
func (g *Group) free(ctx context.Context, s Spec) error {
	var d net.Dialer
	dctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := d.DialContext(dctx, "tcp", s.Address)
	if err != nil {
		return nil
	}
	_ = c.Close()
	return fmt.Errorf("service %q cannot start: something else listens on %s; stop it or change services.%s.address", s.Name, s.Address, s.Name)
}

func (g *Group) launch(s Spec) (*proc, error) {
	cmd := exec.Command(s.Command[0], s.Command[1:]...) //nolint:gosec,noctx // running what the model declares is the purpose; Stop ends it in order
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	var line *net.UnixConn
	if s.Isolate != nil {
		var err error
		if cmd, line, err = isolate.Command(s.Command, s.Isolate.Processes); err != nil {
			return nil, err
		}
		defer cmd.ExtraFiles[0].Close() // the process has its own copy
	}
	cmd.Dir, cmd.Env = s.Dir, s.Env
	// A group of its own, so that stopping reaches what a wrapper such as "go run" started, and so that
	// Ctrl-C reaches us alone and the order of stopping stays ours.
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGTERM
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if f := s.Files; f != nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = f[0], f[1], f[2]
	}
	cmd.WaitDelay = stopTimeout // what left the group may hold the output open for ever
	if err := start(cmd); err != nil {
		if line != nil {
			_ = line.Close()
		}
		return nil, fmt.Errorf("starting service %q: %w", s.Name, err)
	}
	p := &proc{spec: s, cmd: cmd, line: line, done: make(chan struct{})}
	told := make(chan struct{})
	go func() {
		err := cmd.Wait()
		_ = in.Close() // never fails
		<-told
		g.exited <- &Ended{Name: s.Name, Code: isolate.ExitCode(err), reason: reasonOf(err)}
		close(p.done)
	}()
	go func() {
		defer close(told)
		lines := bufio.NewScanner(out)
		lines.Buffer(make([]byte, 64<<10), 1<<20)
		for lines.Scan() {
			g.events.Output(s.Name, lines.Text())
		}
		_, _ = io.Copy(io.Discard, out) // a line too long must not block the service
	}()
	return p, nil
}

// Ended says how a process ended.
type Ended struct { //nolint:errname // that it has ended is no mistake
	Name string
	Code int // as a shell has it: its own, or 128 and the signal that ended it

	reason error
}

// Error tells it to people.
func (e *Ended) Error() string { return fmt.Sprintf("service %q ended: %v", e.Name, e.reason) }

// Unwrap returns what the operating system says.
func (e *Ended) Unwrap() error { return e.reason }

var errExitZero = errors.New("exit status 0")

func reasonOf(err error) error {
	if err == nil {
		return errExitZero
	}
	return err
}

// Exited delivers an error, of type *Ended, whenever a process ends by itself.
func (g *Group) Exited() <-chan error { return g.exited }

// Signal sends a signal to all processes.
func (g *Group) Signal(s syscall.Signal) {
	for _, p := range g.running {
		p.signal(s)
	}
}

// Stop ends every process in reverse order: SIGTERM to its group, SIGKILL to what does not end in time.
func (g *Group) Stop() {
	for _, p := range slices.Backward(g.running) {
		if g.events.Stopping != nil {
			g.events.Stopping(p.spec.Name)
		}
		p.signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(stopTimeout):
			p.signal(syscall.SIGKILL)
			<-p.done
		}
		p.signal(syscall.SIGKILL) // what outlived its leader in the group
		p.close()
	}
	g.running = nil
	g.guard.release()
	g.guard = nil
}

// close gives up the way into a network that is gone with its process.
func (p *proc) close() {
	switch {
	case p.pod != nil:
		_ = p.pod.Close()
	case p.line != nil:
		_ = p.line.Close()
	}
}

func (p *proc) signal(s syscall.Signal) {
	_ = syscall.Kill(-p.cmd.Process.Pid, s) // fails only when the group is gone
}
