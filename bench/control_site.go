package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/store/table"
)

// siteVariable makes this program be a control instead: one that runs alone in its process, so that what it uses is its own.
const siteVariable = "PALISADE_BENCH_CONTROL"

// siteConfig is the variable's value, as JSON.
type siteConfig struct {
	Dir, Listen, Bus string
	Services         int
}

func (c *siteConfig) socket() string { return filepath.Join(c.Dir, "admin.sock") }

// siteFigures is what a control says of itself: a line of JSON when it leads, and one for each line it reads.
type siteFigures struct {
	CPU       time.Duration        // since the start of the process
	Lead      time.Duration        // from its start, with the model compiled, until all slices are published
	LeadCPU   time.Duration        // CPU of that
	Heap      uint64               // bytes that are in use
	Resident  int64                // bytes, after unused memory went back to the system
	Peak      int64                // bytes, the most that were resident
	Confirmed map[string]time.Time // SPIFFE ID to when it confirmed a slice, since the last line
}

// runSite runs a control until its standard input ends.
func runSite(ctx context.Context, config string, in io.Reader, out io.Writer) error {
	var c siteConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s := &site{figures: siteFigures{Confirmed: map[string]time.Time{}}}
	o, err := s.options(ctx, &c)
	if err != nil {
		return err
	}
	ready := make(chan struct{})
	o.Ready = func(string) { close(ready) }
	begun, cpu := time.Now(), ownCPU()
	held, err := control.New(o)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- held.Run(ctx) }()
	o.Model = nil // what is measured does not keep it either
	ended := func(err error) error { return errors.Join(errors.New("control ended"), err) }
	select {
	case <-ready:
	case err := <-done:
		return ended(err)
	}
	for tick := time.Tick(5 * time.Millisecond); !held.Status().Leads; {
		select {
		case err := <-done:
			return ended(err)
		case <-tick:
		}
	}
	s.figures.Lead, s.figures.LeadCPU = time.Since(begun), ownCPU()-cpu
	for lines := bufio.NewScanner(in); ; {
		if err := s.write(out); err != nil {
			return err
		}
		if !lines.Scan() {
			break
		}
	}
	stop()
	return errors.Join(<-done, o.Store.Close())
}

type site struct {
	mu      sync.Mutex
	figures siteFigures
}

func (s *site) options(ctx context.Context, c *siteConfig) (o control.Options, err error) {
	store, err := table.Open(ctx, "sqlite:"+filepath.Join(c.Dir, "control.db"))
	if err != nil {
		return o, err
	}
	keeper, err := keyring.LocalKeeper(filepath.Join(c.Dir, "keys"))
	if err != nil {
		return o, err
	}
	ring, err := keyring.OpenRing(ctx, filepath.Join(c.Dir, "ring"), keeper)
	if err != nil {
		return o, err
	}
	m, err := fleetModel(c.Services, asIs)
	return control.Options{
		Domain: controlDomain, Store: store, Ring: ring, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		Listen: c.Listen, Socket: c.socket(), Bus: control.BusOptions{Dir: filepath.Join(c.Dir, "bus"), Listen: c.Bus}, Model: m, Record: s.hear,
	}, err
}

// hear notes when a proxy said that it serves another slice.
func (s *site) hear(_ context.Context, e control.Event) {
	if e.Kind == "proxy-accepted" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.figures.Confirmed[e.Who] = time.Now()
	}
}

func (s *site) write(out io.Writer) error {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &s.figures
	f.CPU, f.Heap = ownCPU(), m.HeapAlloc
	var err error
	if f.Resident, err = memoryOf("VmRSS:", os.Getpid()); err != nil {
		return err
	}
	if f.Peak, err = memoryOf("VmHWM:", os.Getpid()); err != nil {
		return err
	}
	err = json.NewEncoder(out).Encode(f)
	clear(f.Confirmed)
	return err
}

// ownCPU is what this process has used.
func ownCPU() time.Duration { return workOf(syscall.RUSAGE_SELF) }

// controlSite is a control in a process of its own, seen from outside.
type controlSite struct {
	siteConfig
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *json.Decoder
	admin *admin.Client
	first siteFigures
	every time.Duration // between reports of proxies; 0: as they do by themselves
}

// startSite starts a control with n services and returns when it leads.
func startSite(ctx context.Context, n int) (_ *controlSite, err error) {
	s := &controlSite{siteConfig: siteConfig{Services: n}}
	if s.Dir, err = os.MkdirTemp("", "bench"); err != nil { // short: a socket lies in it
		return nil, err
	}
	if s.Listen, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	if s.Bus, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	return s, s.begin(ctx)
}

// begin starts the process; it may have run before.
func (s *controlSite) begin(ctx context.Context) error {
	config, err := json.Marshal(s.siteConfig)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	s.cmd = exec.CommandContext(ctx, program)
	s.cmd.Env, s.cmd.Stderr = append(os.Environ(), siteVariable+"="+string(config)), os.Stderr
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	s.out, s.admin = json.NewDecoder(out), admin.Local(s.socket())
	if err := s.cmd.Start(); err != nil {
		return err
	}
	if s.first, err = s.read(); err != nil {
		return errors.Join(fmt.Errorf("starting control: %w", err), s.end())
	}
	return nil
}

func (s *controlSite) read() (f siteFigures, err error) { return f, s.out.Decode(&f) }

// look asks for figures. It makes the control collect its garbage: take CPU times without it.
func (s *controlSite) look() (siteFigures, error) {
	if _, err := io.WriteString(s.in, "\n"); err != nil {
		return siteFigures{}, err
	}
	return s.read()
}

// cpu is what it has used, in the steps of the kernel's clock.
func (s *controlSite) cpu() (time.Duration, error) {
	return (&process{name: "control", cmd: s.cmd}).cpu()
}

// end ends the process; what it keeps remains.
func (s *controlSite) end() error {
	s.admin.Close()
	return errors.Join(s.in.Close(), s.cmd.Wait())
}

func (s *controlSite) stop() error { return errors.Join(s.end(), os.RemoveAll(s.Dir)) }
