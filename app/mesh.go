package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/palisade-security/palisade/app/isolate"
	"github.com/palisade-security/palisade/app/mesh"
	"github.com/palisade-security/palisade/app/process"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/gate"
)

const isolationOff = "off"

// openMesh prepares the identities and sidecars of a fleet that declares a mesh.
func (e *edge) openMesh(ctx context.Context, snap *model.Snapshot) ([]gate.Option, error) {
	if snap.Mesh == nil {
		return nil, nil
	}
	if !e.development {
		return nil, errors.New("mesh: this model gives its services identities and sidecars, which only palisade up starts so far")
	}
	m, err := mesh.Open(ctx, snap, mesh.Options{Folder: filepath.Join(e.state, "mesh"), Recorder: e.recorder, Log: slog.Default()})
	if err != nil {
		return nil, fmt.Errorf("opening the mesh: %w", err)
	}
	e.mesh = m
	return m.Options(snap), nil
}

// startMesh serves the sidecars until the returned function is called, which waits for their end.
func (e *edge) startMesh(ctx context.Context) (stop func(), err error) {
	if e.mesh == nil {
		return func() {}, nil
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // services drain through their sidecars
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- e.mesh.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
		e.sidecars.Apply()
	case err := <-done:
		cancel()
		return nil, err
	}
	return func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			slog.ErrorContext(ctx, "the mesh ended", "error", err)
		}
	}, nil
}

// socket is where a service finds another one, or would if it were declared.
type socket struct {
	callee string
	at     netip.AddrPort
}

// sockets are what a service finds around it: every other one of the fleet, at a loopback address of its own. Those it
// may not call are there too, so that the attempt is refused and recorded.
func (e *edge) sockets(service string) ([]socket, error) {
	var out []socket
	for i, s := range e.gate.Snapshot.Services {
		if s.Name == service {
			continue
		}
		u, err := url.Parse(s.Address)
		if err != nil {
			return nil, fmt.Errorf("services.%s.address: %w", s.Name, err)
		}
		at := loopback(1, i)
		ports := []uint16{portOf(u)}
		if u.Scheme != "tcp" && ports[0] != 80 {
			ports = append(ports, 80)
		}
		for _, port := range ports {
			out = append(out, socket{s.Name, netip.AddrPortFrom(at, port)})
		}
	}
	return out, nil
}

func portOf(u *url.URL) uint16 {
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		return uint16(n)
	}
	if u.Scheme == "https" {
		return 443
	}
	return 80
}

// encloseAll puts every process behind its sidecar, in a network of its own where the system allows that.
func (e *edge) encloseAll(ctx context.Context, specs []process.Spec) error {
	if e.mesh == nil {
		return nil
	}
	if err := e.joinOthers(ctx, specs); err != nil || len(specs) == 0 {
		return err
	}
	enclose := e.enclose
	if e.gate.Snapshot.Mesh.Isolation == isolationOff {
		enclose = e.encloseOpenly
	} else if err := isolate.Check(ctx, e.state); err != nil {
		slog.WarnContext(ctx, "this system gives services no network of their own: whoever is on this machine reaches their ports past their sidecars, and can speak as any of them through the sockets of theirs; names of other services do not resolve, and hosts outside are not checked", "error", err, "mend", "allow unprivileged user namespaces, or run as root")
		enclose = e.encloseOpenly
	}
	for i := range specs {
		if err := enclose(ctx, &specs[i]); err != nil {
			return err
		}
	}
	return nil
}

// joinOthers puts the services that others start behind their sidecars, as far as that goes: they are called through them.
func (e *edge) joinOthers(ctx context.Context, specs []process.Spec) error {
	for _, s := range e.gate.Snapshot.Services {
		if slices.ContainsFunc(specs, func(spec process.Spec) bool { return spec.Name == s.Name }) {
			continue
		}
		slog.WarnContext(ctx, "a service without run is called through its sidecar, but calls nobody through it, and whoever can reach its address gets past it",
			"service", s.Name, "address", s.Address)
		if err := e.mesh.Sidecar(s.Name).Attach(new(net.Dialer).DialContext, nil); err != nil {
			return err
		}
	}
	return nil
}

// enclose puts a process behind its sidecar: it finds others through it, and is found through it.
func (e *edge) enclose(_ context.Context, spec *process.Spec) error {
	around, err := e.sockets(spec.Name)
	if err != nil {
		return err
	}
	folder := filepath.Join(e.state, "run", spec.Name)
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // names only, which the service's user reads
		return fmt.Errorf("making the folder of a service's names: %w", err)
	}
	hidden, err := filepath.Abs(e.state)
	if err != nil {
		return fmt.Errorf("finding the state directory: %w", err)
	}
	spec.Isolate = &isolate.Spec{Hosts: map[string]netip.Addr{}, Folder: folder, Hide: hidden, Keep: "bin"}
	for _, s := range around {
		spec.Isolate.Hosts[s.callee] = s.at.Addr()
		spec.Isolate.Hosts[s.callee+model.MeshHost] = s.at.Addr()
		spec.Isolate.Listen = append(spec.Isolate.Listen, s.at)
	}
	for i, out := range e.outside(spec.Name) {
		at := loopback(2, i)
		spec.Isolate.Hosts[out.Host] = at
		spec.Isolate.Listen = append(spec.Isolate.Listen, netip.AddrPortFrom(at, uint16(out.Port)))
	}
	for _, s := range e.gate.Snapshot.Services {
		if slices.Contains(s.Callers, spec.Name) {
			spec.Env = append(spec.Env, variable(s.Name)+"_ADDRESS="+meshAddress(s.Address, s.Name))
		}
	}
	return nil
}

// outside are the hosts outside the fleet that a service declares by name; addresses have no name to lead elsewhere.
func (e *edge) outside(service string) []model.Egress {
	s := e.gate.Snapshot.ServiceByName(service)
	if s == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(s.Egress), func(out model.Egress) bool {
		_, err := netip.ParseAddr(out.Host)
		return err == nil
	})
}

// loopback is the nth address of one of the ranges that stand for others within a service's network.
func loopback(of, n int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(of), byte(n / 250), byte(n%250 + 1)})
}

// meshAddress is a service's address with its name in place of the host.
func meshAddress(address, name string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	u.Host = net.JoinHostPort(name, strconv.Itoa(int(portOf(u))))
	return u.String()
}

// isolated joins a service that is about to begin to its sidecar.
func (e *edge) isolated(name string, pod *isolate.Pod) error {
	around, err := e.sockets(name)
	if err != nil {
		return err
	}
	listeners := map[string][]net.Listener{}
	for i, s := range around {
		listeners[s.callee] = append(listeners[s.callee], pod.Listeners[i])
	}
	var outside []mesh.Outside
	for i, out := range e.outside(name) {
		outside = append(outside, mesh.Outside{Host: out.Host, Port: out.Port, Listener: pod.Listeners[len(around)+i]})
	}
	return e.mesh.Sidecar(name).Attach(pod.Dial, listeners, outside...)
}

// encloseOpenly gives a service that shares our network sockets toward the services it may call.
func (e *edge) encloseOpenly(ctx context.Context, spec *process.Spec) error {
	listeners := map[string][]net.Listener{}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	for _, s := range e.gate.Snapshot.Services {
		if !slices.Contains(s.Callers, spec.Name) {
			continue
		}
		ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("opening a socket toward %q: %w", s.Name, err)
		}
		listeners[s.Name] = append(listeners[s.Name], ln)
		u, err := url.Parse(s.Address)
		if err != nil {
			return fmt.Errorf("services.%s.address: %w", s.Name, err)
		}
		u.Host = ln.Addr().String()
		spec.Env = append(spec.Env, variable(s.Name)+"_ADDRESS="+u.String())
	}
	return e.mesh.Sidecar(spec.Name).Attach(new(net.Dialer).DialContext, listeners)
}
