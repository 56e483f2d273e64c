package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/app/capture"
	"github.com/palisade-security/palisade/app/isolate"
	"github.com/palisade-security/palisade/app/mesh"
	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/listen"
)

// SidecarOptions say what a sidecar is.
type SidecarOptions struct {
	Service     string
	Listen      string                    // host:port for calls of others
	Advertise   string                    // host:port under which others find that; default: the address toward control, with that port
	Outbound    map[string]netip.AddrPort // callee to where the service finds it, in place of its address on loopback
	Hosts       string                    // file to write names of callees to; empty: none
	WorkloadAPI string                    // Unix socket of the Workload API; empty: workload.sock in the state directory; off: none
	Docker      string                    // Unix socket of the Docker API that knows containers; empty: none is asked
	Admin       string                    // host:port of metrics and health; empty: none
	Started     bool                      // the service is started by us, in a network of its own if that can be had
	Capture     uint16                    // port of loopback that "palisade capture" redirects to; 0: none
}

// sidecar is a running sidecar of one service.
type sidecar struct {
	ctx      context.Context //nolint:containedctx // the life of the sidecar, which slices outlive their pushes in
	o        *Options
	so       *SidecarOptions
	state    string
	recorder *recorder
	inbound  net.Listener
	admin    *listen.Server // nil: none
	remote   *mesh.Remote
	delivery *delivery
	api      *identities  // nil: none
	low      bool         // ports below 1024 can be had
	dropped  *capture.Log // nil: nothing is captured, or what is dropped cannot be read

	strict atomic.Bool                 // nothing is forwarded without a record
	shared atomic.Bool                 // the service that was started shares our network
	pod    atomic.Pointer[isolate.Pod] // the network of the service that was started; nil: none
}

// Sidecar runs the sidecar of one service until ctx ends.
func Sidecar(ctx context.Context, o *Options, j *Joining, so *SidecarOptions) (err error) {
	s, err := openSidecar(ctx, o, j, so)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	s.remote.Attach(new(net.Dialer).DialContext)
	if so.Capture != 0 { // then nothing is asked at sockets of callees, for which sidecars of one host would compete
		if err := s.capture(ctx); err != nil {
			return err
		}
	} else if err := s.remote.Surround(ctx, s.listen); err != nil {
		return s.hint(err)
	}
	s.welcome("palisade sidecar", j)
	return s.hint(s.run(ctx))
}

// openSidecar opens all that does not depend on control: what is taken already is known at once.
func openSidecar(ctx context.Context, o *Options, j *Joining, so *SidecarOptions) (s *sidecar, err error) {
	s = &sidecar{ctx: ctx, o: o, so: so}
	client, err := j.options(ctx)
	if err != nil {
		return nil, err
	}
	if !model.IsName(so.Service) {
		return nil, fmt.Errorf("--service %q: expected the name of a service of the model, such as orders", so.Service)
	}
	if err := hostPort("--listen", so.Listen, ":9443"); err != nil {
		return nil, err
	}
	if s.state, err = sidecarState(o, so.Service); err != nil {
		return nil, err
	}
	if err := makeFolder(s.state); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.recorder, err = openRecorder(ctx, o, so.Service, s.state, unbound()); err != nil {
		return s, err
	}
	s.recorder.metrics = observe.NewMetrics(func() float64 { return float64(s.inFlight()) })
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	if s.inbound, err = lc.Listen(ctx, "tcp", so.Listen); err != nil {
		return s, fmt.Errorf("listening for calls of others: %w; stop what listens there, or choose another place with --listen", err)
	}
	if so.Admin != "" {
		o := adminOptions()
		o.Address = so.Admin
		if s.admin, err = bindAdmin(ctx, o, s.recorder.metrics, s.ready); err != nil {
			return s, fmt.Errorf("--admin: %w", err)
		}
	}
	advertise, err := s.advertise(ctx, j)
	if err != nil {
		return s, err
	}
	if client.Keeper, err = openRing(ctx, s.state); err != nil {
		return s, err
	}
	self := model.ServiceID(j.TrustDomain, so.Service)
	client.Record = func(ctx context.Context, n wire.Note) { s.recorder.Act(ctx, actOfNote(self, n)) }
	s.low = so.Started || lowPorts(ctx)
	s.remote, err = mesh.OpenRemote(ctx, mesh.RemoteOptions{
		Service: so.Service, Client: client, Inbound: s.inbound, Advertise: []string{advertise}, Recorder: s.recorder,
		Doors: s.doors, Applied: s.applied, Over: func(ctx context.Context) { s.delivery.settle(ctx) },
	})
	if err != nil {
		return s, err
	}
	if err := j.provable(s.remote.Client()); err != nil {
		return s, err
	}
	s.recorder.metrics.SVIDs(s.remote.Expires)
	s.delivery = s.recorder.deliver(s.state, s.remote.Client)
	return s, s.openAPI(ctx)
}

// openAPI opens the Workload API of the service. A default path that is too long for a socket is told, and done without.
func (s *sidecar) openAPI(ctx context.Context) error {
	path := s.so.WorkloadAPI
	switch path {
	case apiOff:
		return nil
	case "":
		folder := s.state
		if s.so.Started {
			folder = runFolder(s.state) // the state is hidden from the service
		}
		if path = filepath.Join(folder, "workload.sock"); len(path) > maxSocketName {
			slog.WarnContext(ctx, "no Workload API: the state directory's path is too long", "path", path, "mend", "give --workload-api PATH")
			return nil
		}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("--workload-api: %w", err)
	}
	c := s.remote.Client()
	if s.api, err = openIdentities(ctx, path, c.ID(), s.so.Service, c.Source(), s.so.Docker, s.recorder); err != nil {
		return err
	}
	if slice := s.remote.Slice(); slice != nil {
		return s.api.declare(slice.Services)
	}
	return nil
}

const apiOff = "off"

// runFolder is what a service sees of the state directory.
func runFolder(state string) string { return filepath.Join(state, "run") }

// unbound is what is known of the record before there is a slice: nothing is deleted yet. Where the record of a proxy lies that
// control feeds is for its host to say (Options.Audit): those of one host cannot share the model's audit.dir.
func unbound() *model.Snapshot { return &model.Snapshot{Audit: model.Audit{Keep: math.MaxInt64}} }

// sidecarState is where a sidecar keeps what it must not lose.
func sidecarState(o *Options, service string) (string, error) {
	dir := o.State
	if dir == "" {
		dir = filepath.Join(".palisade", service)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding the state directory: %w", err)
	}
	return abs, nil
}

// advertise is where others find it.
func (s *sidecar) advertise(ctx context.Context, j *Joining) (string, error) {
	if at := s.so.Advertise; at != "" {
		return at, hostPort("--advertise", at, "10.0.0.7:9443")
	}
	host, port, err := net.SplitHostPort(s.inbound.Addr().String())
	if err != nil {
		return "", err
	}
	if at, err := netip.ParseAddr(host); err == nil && !at.IsUnspecified() {
		return s.inbound.Addr().String(), nil
	}
	// Connecting a socket of UDP sends nothing; it asks the routing table.
	c, err := new(net.Dialer).DialContext(ctx, "udp", j.Control[0])
	if err != nil {
		return "", fmt.Errorf("finding the address under which others find this host: %w; give --advertise HOST:PORT", err)
	}
	defer c.Close()
	host, _, err = net.SplitHostPort(c.LocalAddr().String())
	return net.JoinHostPort(host, port), err
}

// doors are those of the slice, as far as this host lets us have them.
func (s *sidecar) doors(slice *model.Snapshot) []model.Door {
	var out []model.Door
	all := slice.Doors(s.so.Service)
	switch {
	case s.so.Capture != 0:
		return all
	case s.shared.Load():
		return callees(all)
	}
	for _, d := range all {
		at, elsewhere := s.so.Outbound[d.Name]
		switch {
		case len(s.so.Outbound) > 0 && d.Name == "": // the host is shared, and nobody's address is ours alone
		case elsewhere && int(d.At.Port()) == d.Port:
			d.At = at
			out = append(out, d)
		case elsewhere:
		case !s.low && d.At.Port() < 1024 && int(d.At.Port()) != d.Port: // for convenience alone
		default:
			out = append(out, d)
		}
	}
	return out
}

// lowPorts tells whether this process may listen on port 80.
func lowPorts(ctx context.Context) bool {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.64.0.0:80")
	if err == nil {
		_ = ln.Close()
	}
	return !errors.Is(err, syscall.EACCES)
}

// listen opens a door.
func (s *sidecar) listen(ctx context.Context, d model.Door) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	return lc.Listen(ctx, "tcp", d.At.String())
}

// hint says how to mend what the host does not let us have.
func (s *sidecar) hint(err error) error {
	if errors.Is(err, mesh.ErrDoor) {
		return fmt.Errorf("%w; does another sidecar run in this network? Give a callee another address with --outbound CALLEE=HOST:PORT, or start services by palisade run, each in a network of its own", err)
	}
	return err
}

// applied takes note of a slice that is in force.
func (s *sidecar) applied(slice *model.Snapshot) {
	s.recorder.serve(slice)
	s.strict.Store(slice.Audit.Mode == "strict")
	if err := s.recorder.traces.follow(s.ctx, slice); err != nil {
		slog.Error(untraced, "error", err)
	}
	s.recorder.journal.Keep(int64(slice.Audit.Keep))
	s.recorder.metrics.Reloaded(true, slice.Version)
	names := model.Hosts(s.doors(slice))
	var err error
	if s.so.Hosts != "" {
		err = isolate.WriteHosts(s.so.Hosts, names)
	}
	if pod := s.pod.Load(); pod != nil {
		err = errors.Join(err, pod.SetHosts(names))
	}
	if s.api != nil {
		err = errors.Join(err, s.api.declare(slice.Services))
	}
	if err != nil {
		slog.Error("what the service finds around it is not what the model says", "error", err)
	}
}

// welcome says what runs, in one line.
func (s *sidecar) welcome(what string, j *Joining) {
	st := s.o.style()
	in := "no snapshot yet"
	if slice := s.remote.Slice(); slice != nil {
		in = "snapshot " + short(slice.Version)
	}
	fmt.Fprintf(s.o.Err, "%s %s  takes calls at %s, control at %s, %s, state in %s\n", st.Paint(observe.Bold, what), s.so.Service,
		s.inbound.Addr(), strings.Join(j.Control, " "), in, s.state)
}

// run serves until ctx ends.
func (s *sidecar) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	delivering, stop := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { return s.delivery.Run(delivering) })
	g.Go(func() error {
		defer stop()
		return s.remote.Run(ctx)
	})
	g.Go(func() error { return joined(ctx, s.remote.Client()) })
	if s.admin != nil {
		g.Go(func() error { return s.admin.Run(ctx) })
	}
	if s.dropped != nil {
		g.Go(func() error { s.recordDropped(ctx); return nil })
	}
	if s.api != nil {
		g.Go(func() error { return s.api.run(ctx) })
	}
	return ignoreCanceled(g.Wait())
}

func (s *sidecar) inFlight() int {
	if s.remote == nil {
		return 0
	}
	return s.remote.InFlight()
}

// ready tells why the service should get no calls, if so.
func (s *sidecar) ready() error {
	if s.remote == nil {
		return errors.New("it is starting")
	}
	if err := s.recorder.journal.Err(); err != nil && s.strict.Load() {
		return errors.Join(s.remote.Ready(), fmt.Errorf("the record cannot be written: %w", err))
	}
	return s.remote.Ready()
}

func (s *sidecar) close() error {
	var errs []error
	if s.inbound != nil {
		if err := s.inbound.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.recorder != nil {
		errs = append(errs, s.recorder.close(s.ctx))
	}
	return errors.Join(errs...)
}

// adminOptions are the bounds of an admin listener whose model says nothing about it.
func adminOptions() listen.Options {
	return listen.Options{Header: 5 * time.Second, Idle: time.Minute, Drain: 5 * time.Second}
}
