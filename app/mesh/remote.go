package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/control/client"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/filter/jwt"
)

// RemoteOptions say what a Remote stands on.
type RemoteOptions struct {
	Service   string
	Client    client.Options // of which Name, and the funcs but Record, are set here
	Inbound   net.Listener   // where calls of others come
	Advertise []string       // where they are told that it is, host:port
	Recorder  Recorder

	// Doors says at which doors the service asks; nil: at those of its slice.
	Doors func(slice *model.Snapshot) []model.Door
	// Applied is told of each slice that is put in force; nil: nobody waits.
	Applied func(slice *model.Snapshot)
	// Over is called when all calls are over, while control is still heard and told; nil: nothing is left to do then.
	Over func(context.Context)
}

// Remote is the sidecar of one service in a process of its own, fed by a control.
type Remote struct {
	station
	o       RemoteOptions
	retired atomic.Bool
	broken  chan error // capacity 1: why the first slice cannot be served here
	sockets sockets

	mu      sync.Mutex
	sidecar *Sidecar // nil until there is a slice
	slice   *model.Snapshot
	users   *jwt.Transactions // those of slice
	jwks    []byte
	dial    Dial
	serving life // of sidecars

	captured  []net.Listener // where redirected connections come
	uncapture func()         // ends that the sidecar takes them; nil: it does not
}

// OpenRemote loads what was kept, and puts the last good slice in force before it returns. It serves while Run does.
func OpenRemote(ctx context.Context, o RemoteOptions) (*Remote, error) {
	if o.Doors == nil {
		o.Doors = func(slice *model.Snapshot) []model.Door { return slice.Doors(o.Service) }
	}
	r := &Remote{o: o, broken: make(chan error, 1)}
	r.counter.Recorder = o.Recorder
	c := o.Client
	c.Name = "service/" + o.Service
	c.Compile, c.Keys, c.Stats = r.compile, r.setKeys, r.stats
	if err := r.open(c); err != nil {
		return nil, err
	}
	return r, r.client.Load(ctx)
}

// Slice returns the slice in force, or nil.
func (r *Remote) Slice() *model.Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.slice
}

// Ready tells why the service should get no calls, if so.
func (r *Remote) Ready() error {
	if r.retired.Load() {
		return errors.New("it takes no more calls")
	}
	return r.client.Ready()
}

// InFlight counts the requests that are being served.
func (r *Remote) InFlight() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sidecar == nil {
		return 0
	}
	return r.sidecar.in.engine.InFlight() + r.sidecar.out.engine.InFlight()
}

// Run serves until ctx ends.
func (r *Remote) Run(ctx context.Context) error {
	g, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	reporting, stop := context.WithCancel(failed)
	defer stop()
	g.Go(func() error { return r.attend(reporting) })
	g.Go(func() error {
		select {
		case err := <-r.broken:
			return err
		case <-reporting.Done():
			return nil
		}
	})
	g.Go(func() error {
		defer stop() // control is heard and told until all calls are over
		serving, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(failed, cancel)()
		defer context.AfterFunc(serving, r.withdraw)()
		err := r.serving.run(serving)
		if r.o.Over != nil {
			r.o.Over(failed)
		}
		return err
	})
	err := g.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ln := range r.captured {
		_ = ln.Close() // there is nothing to lose
	}
	return errors.Join(err, r.sockets.close())
}

// withdraw tells control that others shall call elsewhere.
func (r *Remote) withdraw() {
	r.retired.Store(true)
	r.client.Report()
}

// Retire takes no more calls, and returns when those under way are over. The service may ask until the end of Run.
func (r *Remote) Retire() {
	r.withdraw()
	r.mu.Lock()
	s := r.sidecar
	r.mu.Unlock()
	if s != nil {
		s.Retire()
	}
}

// Attach says how the service is reached.
func (r *Remote) Attach(dial Dial) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dial = dial
	if r.sidecar != nil {
		r.sidecar.Attach(dial)
	}
}

// Surround opens the doors around the service: those of the slice in force, and from now on those of each later one.
func (r *Remote) Surround(ctx context.Context, listen Listen) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sockets.begin(listen)
	if r.sidecar == nil {
		return nil
	}
	serve, err := r.sockets.prepare(ctx, r.o.Doors(r.slice))
	if err != nil {
		return err
	}
	serve(ctx, r.sidecar)
	return nil
}

// Capture takes redirected connections on sockets, which are closed with the end of Run; see Sidecar.Capture.
func (r *Remote) Capture(listeners ...net.Listener) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.captured = listeners
	if r.sidecar == nil {
		return nil
	}
	return r.capture(r.sidecar)
}

// capture leaves redirected connections to a sidecar, and to no other. The lock is held.
func (r *Remote) capture(by *Sidecar) error {
	if r.uncapture != nil {
		r.uncapture()
		r.uncapture = nil
	}
	if len(r.captured) == 0 {
		return nil
	}
	shared := make([]net.Listener, 0, len(r.captured))
	for _, ln := range r.captured {
		own, err := share(ln)
		if err != nil {
			for _, ln := range shared {
				_ = ln.Close()
			}
			return err
		}
		shared = append(shared, own)
	}
	r.uncapture = by.Capture(shared...)
	return nil
}

// At returns where the service finds another one, or nil.
func (r *Remote) At(service string) net.Addr { return r.sockets.at(service) }

func (r *Remote) stats() client.Stats {
	out := client.Stats{Traffic: r.counter.Traffic()}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sidecar != nil {
		out.Connections = int(r.sidecar.open.Load())
		if !r.retired.Load() {
			out.Addresses = r.o.Advertise
		}
	}
	return out
}

// setKeys takes the keys of transaction tokens.
func (r *Remote) setKeys(jwks []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users != nil {
		if err := r.users.SetKeys(jwks); err != nil {
			return err
		}
	}
	r.jwks = slices.Clone(jwks)
	return nil
}

// compile makes a slice ready. What it takes is opened before anything of it is in force.
func (r *Remote) compile(ctx context.Context, slice *model.Snapshot) (apply func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	own := slice.ServiceByName(r.o.Service)
	if own == nil {
		return nil, fmt.Errorf("the slice has no service %q", r.o.Service)
	}
	users, err := jwt.NewTransactions(jwt.TransactionOptions{Fleet: slice.Fleet, TrustDomain: slice.TrustDomain, Providers: slice.Providers, Roles: slice.Roles, JWKS: r.jwks})
	if err != nil {
		return nil, err
	}
	sidecar := r.sidecar
	if sidecar == nil || sidecar.tcp() != own.TCP() {
		var ln net.Listener
		if sidecar, ln, err = r.fresh(ctx, own); err != nil {
			return nil, err
		}
		defer func() {
			if apply == nil {
				_ = ln.Close() // the slice is rejected, and the sidecar forgotten
			}
		}()
	}
	change, findings, err := sidecar.Prepare(ctx, slice, users)
	if err != nil {
		return nil, model.Refusal(err, findings)
	}
	serve, err := r.sockets.prepare(ctx, r.o.Doors(slice))
	if err != nil {
		if r.slice == nil { // there is nothing to go on with
			select {
			case r.broken <- err:
			default: // it ends already
			}
		}
		return nil, err
	}
	return func() { r.apply(ctx, change, users, serve) }, nil
}

// fresh makes a sidecar on the same socket. It is not ours before a slice of it is applied.
func (r *Remote) fresh(ctx context.Context, own *model.ResolvedService) (*Sidecar, net.Listener, error) {
	s, err := NewSidecar(r.Ground(), own)
	if err != nil {
		return nil, nil, err
	}
	if r.dial != nil {
		s.Attach(r.dial)
	}
	ln, err := share(r.o.Inbound)
	if err != nil {
		return nil, nil, err
	}
	return s, ln, s.Take(ctx, ln)
}

// apply puts a slice in force.
func (r *Remote) apply(ctx context.Context, change *Change, users *jwt.Transactions, serve func(context.Context, *Sidecar)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change.Apply()
	r.slice, r.users = change.slice, users
	r.places.declare(change.slice.Services)
	if old := r.sidecar; old != change.s {
		r.sidecar = change.s
		r.serving.do(change.s.Run)
		if old != nil {
			r.sockets.shut()
			old.taking.quit()
		}
		if err := r.capture(change.s); err != nil { // out of descriptors
			slog.ErrorContext(ctx, "redirected connections are not taken", "error", err)
		}
	}
	serve(context.WithoutCancel(ctx), change.s)
	if r.o.Applied != nil {
		r.o.Applied(change.slice)
	}
}
