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
	"net/http"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// Spec is one process to run.
type Spec struct {
	Name    string
	Command []string
	Dir     string
	Env     []string // NAME=value, complete
	Address string   // host:port it will listen on
	Ready   string   // path that answers 2xx when ready; empty: the port accepts
}

// Events tells what happens to processes. Its functions are called from several goroutines.
type Events struct {
	Output func(name, line string)
	Ready  func(name string, took time.Duration)
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
	done chan struct{} // closed when the process and its output have ended
}

const (
	readyTimeout = 3 * time.Minute // a first start may compile
	stopTimeout  = 8 * time.Second
)

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
		if err := g.free(ctx, s); err != nil {
			g.Stop()
			return err
		}
		p, err := g.launch(s)
		if err != nil {
			g.Stop()
			return err
		}
		g.guard.watch(p.cmd.Process.Pid)
		g.running = append(g.running, p)
		if err := p.ready(ctx); err != nil {
			g.Stop()
			return fmt.Errorf("waiting for service %q at %s: %w", s.Name, s.Address, err)
		}
		g.events.Ready(s.Name, time.Since(began))
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
	cmd.Dir, cmd.Env = s.Dir, s.Env
	// A group of its own, so that stopping reaches what a wrapper such as "go run" started, and so that
	// Ctrl-C reaches us alone and the order of stopping stays ours.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	cmd.WaitDelay = stopTimeout // what left the group may hold the output open for ever
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting service %q: %w", s.Name, err)
	}
	p := &proc{spec: s, cmd: cmd, done: make(chan struct{})}
	go func() {
		err := cmd.Wait()
		_ = in.Close() // never fails
		g.exited <- fmt.Errorf("service %q ended: %w", s.Name, reasonOf(err))
		close(p.done)
	}()
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(make([]byte, 64<<10), 1<<20)
		for lines.Scan() {
			g.events.Output(s.Name, lines.Text())
		}
		_, _ = io.Copy(io.Discard, out) // a line too long must not block the service
	}()
	return p, nil
}

var errExitZero = errors.New("exit status 0")

func reasonOf(err error) error {
	if err == nil {
		return errExitZero
	}
	return err
}

func (p *proc) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if p.answers(ctx) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.done:
			return errors.New("it ended before it was ready; its own output says why")
		case <-tick.C:
		}
	}
}

func (p *proc) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if p.spec.Ready == "" {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", p.spec.Address)
		if err != nil {
			return false
		}
		return c.Close() == nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.spec.Address+p.spec.Ready, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // only the status matters
	return resp.StatusCode >= 200 && resp.StatusCode < 300
}

// Exited delivers an error whenever a process ends by itself.
func (g *Group) Exited() <-chan error { return g.exited }

// Stop ends every process in reverse order: SIGTERM to its group, SIGKILL to what does not end in time.
func (g *Group) Stop() {
	for _, p := range slices.Backward(g.running) {
		p.signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(stopTimeout):
			p.signal(syscall.SIGKILL)
			<-p.done
		}
		p.signal(syscall.SIGKILL) // what outlived its leader in the group
	}
	g.running = nil
	g.guard.release()
	g.guard = nil
}

func (p *proc) signal(s syscall.Signal) {
	_ = syscall.Kill(-p.cmd.Process.Pid, s) // fails only when the group is gone
}
