package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a proxy, or the backend, that runs.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string
	done  chan error
	aside bool // its CPU time is not counted
}

// start runs a command until stop and waits until something listens at address.
func start(ctx context.Context, dir, name, address string, command []string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), done: make(chan error, 1)}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	defer out.Close()
	p.cmd = exec.CommandContext(ctx, command[0], command[1:]...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, out, out
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 10 * time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	if err := p.await(ctx, address); err != nil {
		p.stop()
		text, _ := os.ReadFile(p.log) // the error stands without its log
		return nil, fmt.Errorf("starting %s: %w\n%s", name, err, text)
	}
	return p, nil
}

// await returns when address accepts connections.
func (p *process) await(ctx context.Context, address string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 2400 {
		select {
		case err := <-p.done:
			p.done <- err
			return fmt.Errorf("it ended: %w", errors.Join(err, errors.New("before it listened")))
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		var d net.Dialer
		if c, err := d.DialContext(ctx, "tcp", address); err == nil {
			return c.Close()
		}
	}
	return errors.New("it does not listen after two minutes")
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// cpuOf is the CPU time of several, without those aside.
func cpuOf(procs []*process) (sum time.Duration, err error) {
	for _, p := range procs {
		if p.aside {
			continue
		}
		used, err := p.cpu()
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

func stopAll(procs []*process) {
	for _, p := range procs {
		p.stop()
	}
}

// cpu returns what the process and all its descendants, ended ones included, have used.
func (p *process) cpu() (time.Duration, error) {
	pids, err := descendants(p.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	var ticks uint64
	for _, pid := range pids {
		f, err := stat(pid)
		if err != nil {
			return 0, err
		}
		for _, field := range []int{14, 15, 16, 17} { // utime, stime, and those of children waited for
			n, err := strconv.ParseUint(f[field], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("reading the CPU time of %s: %w", p.name, err)
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / clockTicks, nil
}

// clockTicks per second is 100 for user space on every Linux that Go runs on.
const clockTicks = 100

// stat returns the fields of /proc/PID/stat, numbered from 1 as in proc(5).
func stat(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	end := strings.LastIndexByte(string(text), ')') // a command's name may hold anything
	f := append([]string{"", "", ""}, strings.Fields(string(text[end+1:]))...)
	if end < 0 || len(f) < 18 {
		return nil, fmt.Errorf("/proc/%d/stat is %q", pid, text)
	}
	return f, nil
}

// descendants returns pid and every process under it.
func descendants(pid int) ([]int, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	out := []int{pid}
	for _, t := range tasks {
		text, err := os.ReadFile(t)
		if errors.Is(err, os.ErrNotExist) {
			continue // a thread that has ended
		}
		if err != nil {
			return nil, err
		}
		for child := range strings.FieldsSeq(string(text)) {
			n, err := strconv.Atoi(child)
			if err != nil {
				return nil, err
			}
			below, err := descendants(n)
			if err != nil {
				return nil, err
			}
			out = append(out, below...)
		}
	}
	return out, nil
}

// resident returns the resident set in bytes, of the process and all below it.
func (p *process) resident() (int64, error) {
	pids, err := descendants(p.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, pid := range pids {
		n, err := memoryOf("VmRSS:", pid)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// memoryOf returns a field of /proc/PID/status that is given in KiB, in bytes.
func memoryOf(field string, pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), field)
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0, fmt.Errorf("/proc/%d/status has no %s", pid, field)
	}
	kib, err := strconv.ParseInt(f[0], 10, 64)
	return kib << 10, err
}

// freeAddress returns a loopback address that nothing listens at.
func freeAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
