package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/app/isolate"
	"github.com/palisade-security/palisade/app/mesh"
	"github.com/palisade-security/palisade/app/process"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/gate"
)

const isolationOff = "off"

const unisolated = "this system gives services no network of their own: whoever is on this machine reaches their ports past their sidecars, and can speak as any of them through the sockets of theirs; names of other services do not resolve, and hosts outside are not checked"

const unseparated = "this system gives services no processes of their own: they can see and signal each other's, and ours"

// openMesh prepares the identities and sidecars of a fleet that declares a mesh.
func (e *edge) openMesh(ctx context.Context, snap *model.Snapshot) ([]gate.Option, error) {
	if snap.Mesh == nil {
		return nil, nil
	}
	if !e.development {
		return nil, errors.New("mesh: this model gives its services identities and sidecars, so its edge is fed by control: palisade edge --control HOST:PORT --trust-domain " + snap.TrustDomain + ", without a model; on one machine, palisade up")
	}
	m, err := mesh.Open(ctx, snap, mesh.Options{Folder: filepath.Join(e.state, "mesh"), Recorder: e.recorder, Log: slog.Default()})
	if err != nil {
		return nil, fmt.Errorf("opening the mesh: %w", err)
	}
	e.mesh, e.apis = m, map[string]*identities{}
	return m.Options(snap), nil
}

// startMesh serves the sidecars until the returned function is called, which waits for their end.
func (e *edge) startMesh(ctx context.Context) (stop func(), err error) {
	if e.mesh == nil {
		return func() {}, nil
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // services drain through their sidecars
	ready, done := make(chan struct{}), make(chan error, 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.mesh.Run(ctx, func() { close(ready) }) })
	if err := e.serveAPIs(ctx, g); err != nil {
		cancel()
		return nil, errors.Join(err, ignoreCanceled(g.Wait()))
	}
	go func() { done <- g.Wait() }()
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

// serveAPIs serves the Workload API of each service that is started here.
func (e *edge) serveAPIs(ctx context.Context, g *errgroup.Group) error {
	for _, p := range e.declared.Processes() {
		folder := filepath.Join(e.state, "run", p.Service)
		if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // names, which the service's user reads
			return fmt.Errorf("making the folder of a service's names: %w", err)
		}
		path := filepath.Join(folder, "workload.sock")
		if len(path) > maxSocketName {
			slog.WarnContext(ctx, "no Workload API: the state directory's path is too long", "service", p.Service, "path", path)
			continue
		}
		api, err := openIdentities(ctx, path, e.mesh.Sidecar(p.Service).ID, p.Service, e.mesh.Source(), "", e.recorder)
		if err != nil {
			return err
		}
		e.apis[p.Service] = api
		g.Go(func() error { return api.run(ctx) })
	}
	return e.declareWorkloads(e.gate.Snapshot)
}

// declareWorkloads tells every Workload API what the model says of all services, so that a process which could be two of
// them is neither.
func (e *edge) declareWorkloads(snap *model.Snapshot) error {
	var errs []error
	for _, api := range e.apis {
		errs = append(errs, api.declare(snap.Services))
	}
	return errors.Join(errs...)
}

// separable tells whether services can have networks of their own here, and processes too, and warns of what that leaves open.
func separable(ctx context.Context, state string) (networks, processes bool) {
	processes, err := isolate.Check(ctx, state)
	switch {
	case err != nil:
		slog.WarnContext(ctx, unisolated, "error", err, "mend", "allow unprivileged user namespaces, or run as root")
	case !processes:
		slog.WarnContext(ctx, unseparated, "mend", "run where /proc can be mounted in a PID namespace, which containers often forbid")
	}
	return err == nil, processes
}

// encloseAll puts every process behind its sidecar, in a network of its own where the system allows that.
func (e *edge) encloseAll(ctx context.Context, specs []process.Spec) error {
	if e.mesh == nil {
		return nil
	}
	e.joinOthers(ctx, specs)
	if len(specs) == 0 {
		return nil
	}
	enclose, processes := e.encloseOpenly, false
	if e.gate.Snapshot.Mesh.Isolation != isolationOff {
		var apart bool
		if apart, processes = separable(ctx, e.state); apart {
			enclose = e.enclose
		}
	}
	for i := range specs {
		if api := e.apis[specs[i].Name]; api != nil {
			specs[i].Env = append(specs[i].Env, api.variable())
		}
		if err := enclose(ctx, &specs[i]); err != nil {
			return err
		}
		if specs[i].Isolate != nil {
			specs[i].Isolate.Processes = processes
		}
	}
	return nil
}

// joinOthers puts the services that others start behind their sidecars, as far as that goes: they are called through them.
func (e *edge) joinOthers(ctx context.Context, specs []process.Spec) {
	for _, s := range e.gate.Snapshot.Services {
		if slices.ContainsFunc(specs, func(spec process.Spec) bool { return spec.Name == s.Name }) {
			continue
		}
		slog.WarnContext(ctx, "a service without run is called through its sidecar, but calls nobody through it, and whoever can reach its address gets past it",
			"service", s.Name, "address", s.Address)
		e.mesh.Sidecar(s.Name).Attach(new(net.Dialer).DialContext)
	}
}

// enclose puts a process behind its sidecar: it finds others through it, and is found through it.
func (e *edge) enclose(_ context.Context, spec *process.Spec) error {
	folder := filepath.Join(e.state, "run", spec.Name)
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // names only, which the service's user reads
		return fmt.Errorf("making the folder of a service's names: %w", err)
	}
	hidden, err := filepath.Abs(e.state)
	if err != nil {
		return fmt.Errorf("finding the state directory: %w", err)
	}
	unseen, err := e.o.unseen(hidden, e.started)
	if err != nil {
		return err
	}
	doors := e.gate.Snapshot.Doors(spec.Name)
	spec.Isolate = &isolate.Spec{Hosts: model.Hosts(doors), Folder: folder, Hide: hidden, Keep: []string{"bin", filepath.Join("run", spec.Name)}, Unseen: unseen}
	for _, d := range doors {
		spec.Isolate.Listen = append(spec.Isolate.Listen, d.At)
	}
	for _, s := range e.gate.Snapshot.Services {
		if slices.Contains(s.Callers, spec.Name) {
			spec.Env = append(spec.Env, addressAt(&s, net.JoinHostPort(s.Name, strconv.Itoa(s.Port()))))
		}
	}
	return nil
}

// addressAt is the variable that tells a service where it finds another one.
func addressAt(s *model.ResolvedService, hostPort string) string {
	return variable(s.Name) + "_ADDRESS=" + s.Seen(hostPort)
}

// isolated joins a service that is about to begin to its sidecar.
func (e *edge) isolated(name string, pod *isolate.Pod) error {
	s := e.mesh.Sidecar(name)
	s.Attach(pod.Dial)
	if api := e.apis[name]; api != nil {
		if err := api.belongsTo(pod.PID); err != nil {
			return err
		}
	}
	for i, d := range e.gate.Snapshot.Doors(name) {
		if _, err := s.Open(e.ctx, d, pod.Listeners[i]); err != nil {
			return err
		}
	}
	return nil
}

// encloseOpenly gives a service that shares our network sockets toward the services it may call.
func (e *edge) encloseOpenly(ctx context.Context, spec *process.Spec) error {
	sidecar := e.mesh.Sidecar(spec.Name)
	sidecar.Attach(new(net.Dialer).DialContext)
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
		if _, err := sidecar.Open(ctx, model.Door{Name: s.Name, Port: s.Port(), TCP: s.TCP()}, ln); err != nil {
			return err
		}
		spec.Env = append(spec.Env, addressAt(&s, ln.Addr().String()))
	}
	return nil
}
