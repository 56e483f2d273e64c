package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/app/isolate"
	"github.com/palisade-security/palisade/app/process"
	"github.com/palisade-security/palisade/model"
)

// RunOptions say what is run behind a sidecar.
type RunOptions struct {
	Command []string
	Files   [3]*os.File      // standard input, output and error
	Signals <-chan os.Signal // isolate.Handed
	Capture bool             // what the service asks beyond loopback comes to the sidecar, and is recorded
}

// Exit is the end of what was run.
type Exit struct { //nolint:errname // an end is no mistake
	Code int // as a shell has it: its own, or 128 and the signal that ended it
}

// Error tells it to people.
func (e *Exit) Error() string { return "the service ended with exit code " + strconv.Itoa(e.Code) }

// running is a service behind a sidecar of its own.
type running struct {
	*sidecar
	ro   *RunOptions
	work *errgroup.Group
}

// readyPoll is how often it is looked whether the sidecar serves.
const readyPoll = 20 * time.Millisecond

// Run starts a service behind a sidecar of its own, hands signals on, and ends with the service: then the error is an
// *Exit. SIGTERM and SIGINT end both in order: no more calls are taken, those under way are over, the
// service gets the signal, and what it asks until its end is still carried. A second one reaches the service at once, a third kills it.
func Run(ctx context.Context, o *Options, j *Joining, so *SidecarOptions, ro *RunOptions) (err error) {
	s, err := openSidecar(ctx, o, j, so)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	s.welcome("palisade run", j)
	g, failed := errgroup.WithContext(ctx)
	carrying, stop := context.WithCancel(failed)
	defer stop()
	r := &running{sidecar: s, ro: ro, work: g}
	g.Go(func() error { return s.run(carrying) })
	g.Go(func() error {
		defer stop()
		return s.hint(r.live(failed))
	})
	return g.Wait()
}

// live runs the service from when the sidecar serves to its end.
func (r *running) live(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := r.serves(ctx); err != nil {
		return err
	}
	spec, err := r.spec(ctx)
	if err != nil {
		return err
	}
	group := process.New([]process.Spec{*spec}, process.Events{
		Isolated: func(_ string, pod *isolate.Pod) error { return r.enclosed(ctx, pod) },
		Ready:    func(string, time.Duration) {},
	})
	if err := group.Start(ctx); err != nil {
		return err
	}
	defer group.Stop()
	drained, asked := make(chan syscall.Signal, 1), 0 // times that it was asked to end
	for {
		select {
		case err := <-group.Exited():
			if ended, ok := errors.AsType[*process.Ended](err); ok {
				return &Exit{ended.Code}
			}
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case sig := <-drained:
			group.Signal(sig)
		case sig := <-r.ro.Signals:
			n, _ := sig.(syscall.Signal)
			if asksToEnd(n) {
				asked++
				n = r.asked(ctx, asked, n, drained)
			}
			if n != 0 {
				group.Signal(n)
			}
		}
	}
}

// asked returns what the service gets when it is asked to end for the nth time; 0: nothing yet, it comes over drained.
func (r *running) asked(ctx context.Context, nth int, n syscall.Signal, drained chan<- syscall.Signal) syscall.Signal {
	switch nth {
	case 1:
		r.work.Go(func() error {
			r.remote.Retire()
			drained <- n
			return nil
		})
		return 0
	case 2:
		slog.WarnContext(ctx, "the service gets the signal at once; a third one kills it", "signal", n)
		return n
	}
	return syscall.SIGKILL // it may ignore all others
}

// asksToEnd tells whether a signal asks for an end in order.
func asksToEnd(s syscall.Signal) bool { return s == syscall.SIGTERM || s == syscall.SIGINT }

// serves waits until the sidecar is ready.
func (r *running) serves(ctx context.Context) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for r.ready() != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		case sig := <-r.ro.Signals:
			if n, _ := sig.(syscall.Signal); n != syscall.SIGWINCH {
				return &Exit{128 + int(n)}
			}
		}
	}
	return nil
}

// spec is the process: its own variables, LISTEN_ADDRESS, and for every service that it may call its address as
// NAME_ADDRESS.
func (r *running) spec(ctx context.Context) (*process.Spec, error) {
	slice := r.remote.Slice()
	own := slice.ServiceByName(r.so.Service)
	spec := &process.Spec{
		Name: own.Name, Command: r.ro.Command, Address: own.HostPort(), Env: append(lent(os.Environ()), "LISTEN_ADDRESS="+own.HostPort()), Files: &r.ro.Files, Free: true,
	}
	if r.api != nil {
		spec.Env = append(spec.Env, r.api.variable())
	}
	open := slice.Mesh.Isolation == isolationOff
	processes := false
	if !open {
		var apart bool
		apart, processes = separable(ctx, r.state)
		open = !apart
	}
	switch {
	case open && r.ro.Capture:
		return nil, errors.New("--capture needs a network of the service's own; on a network that services share, palisade capture does it")
	case open:
		return spec, r.openly(ctx, spec, slice)
	}
	folder := runFolder(r.state)
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // names, which the service's user reads
		return nil, fmt.Errorf("making the folder of a service's names: %w", err)
	}
	unseen, err := r.o.unseen(r.state, nil)
	if err != nil {
		return nil, err
	}
	spec.Isolate = &isolate.Spec{
		Hosts: model.Hosts(slice.Doors(own.Name)), Folder: folder, Hide: r.state, Keep: []string{"bin", "run"}, Unseen: unseen, Processes: processes,
	}
	if r.ro.Capture {
		spec.Isolate.Capture = own.Name
	}
	for i := range slice.Services {
		if s := &slice.Services[i]; s.Name != own.Name {
			spec.Env = append(spec.Env, addressAt(s, net.JoinHostPort(s.Name, strconv.Itoa(s.Port()))))
		}
	}
	return spec, nil
}

// openly lets a service that shares our network find its callees at ports of their own.
func (r *running) openly(ctx context.Context, spec *process.Spec, slice *model.Snapshot) error {
	r.shared.Store(true)
	r.remote.Attach(new(net.Dialer).DialContext)
	if err := r.remote.Surround(ctx, r.listen); err != nil {
		return err
	}
	for i := range slice.Services {
		if s := &slice.Services[i]; r.remote.At(s.Name) != nil {
			spec.Env = append(spec.Env, addressAt(s, r.remote.At(s.Name).String()))
		}
	}
	return nil
}

// enclosed joins a service that is about to begin to its sidecar.
func (r *running) enclosed(ctx context.Context, pod *isolate.Pod) error {
	r.remote.Attach(pod.Dial)
	r.pod.Store(pod)
	if r.api != nil {
		if err := r.api.belongsTo(pod.PID); err != nil {
			return err
		}
	}
	if r.ro.Capture {
		if err := r.captureIn(ctx, pod); err != nil {
			return err
		}
	}
	return r.remote.Surround(ctx, func(ctx context.Context, d model.Door) (net.Listener, error) { return pod.Listen(ctx, d.At) })
}

// callees are the doors to services that may be called, at any port that is free.
func callees(doors []model.Door) []model.Door {
	out := slices.DeleteFunc(slices.Clone(doors), func(d model.Door) bool {
		return d.Name == "" || d.Outside || int(d.At.Port()) != d.Port
	})
	for i := range out {
		out[i].At = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	}
	return out
}
