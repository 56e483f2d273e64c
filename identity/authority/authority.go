// Package authority issues the identities of one trust domain: X.509-SVIDs and JWT-SVIDs signed by intermediates
// that it rotates, under a root that may be kept offline or under an upstream authority, the trust bundle, and
// the list of what is revoked. It does not decide who a workload is (identity/attest) and speaks no protocol
// (identity/workload, identity/federation). X.509 is the standard library's, JOSE is go-jose's.
package authority

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Keys holds the signing keys by name: a key ring, or a PKCS#11 token. It is safe for concurrent use.
type Keys interface {
	// Signer returns the key of a name and makes it if there is none.
	Signer(ctx context.Context, name string) (crypto.Signer, error)
	// Lookup returns the key of a name. The error wraps fs.ErrNotExist if there is none.
	Lookup(ctx context.Context, name string) (crypto.Signer, error)
	// Remove deletes the key of a name; that there is none is no error.
	Remove(ctx context.Context, name string) error
}

// Bounds and defaults of lifetimes.
const (
	MinTTL      = time.Minute
	MaxTTL      = 24 * time.Hour
	defaultX509 = time.Hour
	defaultJWT  = 5 * time.Minute

	defaultIntermediate = 30 * 24 * time.Hour
	minIntermediate     = 6 * time.Hour
	defaultRoot         = 10 * 365 * 24 * time.Hour
	defaultHint         = 5 * time.Minute

	// Backdate is how long before its issue a certificate begins to be valid, for clocks that lag.
	Backdate = time.Minute
)

// Config says how an authority works. Zero values are defaults.
type Config struct {
	TrustDomain spiffeid.TrustDomain
	Keys        Keys
	Store       Store
	Log         *slog.Logger

	Parent       *Parent       // an upstream authority; nil: an own root, made at the first start
	X509TTL      time.Duration // of X.509-SVIDs when the request does not say: 1 h
	JWTTTL       time.Duration // of JWT-SVIDs likewise: 5 min
	Intermediate time.Duration // life of an intermediate: 30 days, at least 6 h and four times X509TTL
	Root         time.Duration // life of an own root: 10 years, at least four times Intermediate
	RefreshHint  time.Duration // how often readers of the bundle should look: 5 min

	// Grace is how long after its end whoever asks for SVIDs may still show one as a proof of what it is: 0, it may not. What was
	// issued before a service was revoked and restored stays refused for as long.
	Grace time.Duration
}

// Authority is a certificate authority of one trust domain. It is safe for concurrent use; signing does not wait
// for rotation.
type Authority struct {
	config  Config
	started time.Time // monotonic; the wall clock may jump, this one does not

	lock    sync.Mutex // held while the state is changed
	view    atomic.Pointer[view]
	unsaved []change              // in force, but the store did not take them; under lock
	expired map[int]time.Duration // generation: uptime at which it was first seen expired; under lock

	watch   sync.Mutex
	changed chan struct{} // closed and replaced when a new view is in force; under watch
}

// Open loads the authority, makes it at the first start, and brings it up to date. That no intermediate can be
// had (ErrParentAway) is no error of Open: the bundle is served, Request and Install bring one, and until then
// signing fails.
func Open(ctx context.Context, config Config) (*Authority, error) {
	if err := config.complete(); err != nil {
		return nil, fmt.Errorf("opening the authority: %w", err)
	}
	a := &Authority{config: config, started: time.Now(), changed: make(chan struct{}), expired: map[int]time.Duration{}}
	data, revision, err := config.Store.Load(ctx)
	var s *state
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s, err = a.begin(ctx, wall())
	case err == nil:
		s, err = decodeState(data, config.TrustDomain.Name())
	}
	if err != nil {
		return nil, fmt.Errorf("opening the authority of %s: %w", config.TrustDomain, err)
	}
	if revision == 0 {
		if err := a.save(ctx, s, 0); err != nil {
			return nil, fmt.Errorf("opening the authority of %s: %w", config.TrustDomain, err)
		}
		revision = 1
	}
	v, err := a.compile(ctx, s, revision)
	if err != nil {
		return nil, fmt.Errorf("opening the authority of %s: %w", config.TrustDomain, err)
	}
	a.view.Store(v)
	if err := a.tick(ctx, a.now()); err != nil {
		if !errors.Is(err, ErrParentAway) && a.view.Load().signing(wall()) == nil {
			return nil, fmt.Errorf("opening the authority of %s: %w", config.TrustDomain, err)
		}
		config.Log.ErrorContext(ctx, "the authority goes on with what it has", "error", err)
	}
	return a, nil
}

// complete sets defaults and checks bounds.
func (c *Config) complete() error {
	if c.TrustDomain.IsZero() || c.Keys == nil || c.Store == nil || c.Log == nil {
		return errors.New("trust domain, keys, store and log must be given")
	}
	for _, d := range []struct {
		at    *time.Duration
		value time.Duration
	}{{&c.X509TTL, defaultX509}, {&c.JWTTTL, defaultJWT}, {&c.Intermediate, defaultIntermediate}, {&c.Root, defaultRoot}, {&c.RefreshHint, defaultHint}} {
		if *d.at == 0 {
			*d.at = d.value
		}
	}
	switch {
	case c.X509TTL < MinTTL || c.X509TTL > MaxTTL || c.JWTTTL < MinTTL || c.JWTTTL > MaxTTL:
		return fmt.Errorf("lifetimes of SVIDs must be from %s to %s", MinTTL, MaxTTL)
	case c.Intermediate < minIntermediate || c.Intermediate < 4*c.X509TTL:
		return fmt.Errorf("an intermediate must live for at least %s and four times as long as an SVID", minIntermediate)
	case c.Root < 4*c.Intermediate:
		return errors.New("a root must live at least four times as long as an intermediate")
	case c.RefreshHint < time.Second:
		return errors.New("the refresh hint must be at least one second")
	}
	return nil
}

// begin makes the state of a new trust domain.
func (a *Authority) begin(ctx context.Context, now time.Time) (*state, error) {
	s := &state{Format: stateFormat, TrustDomain: a.config.TrustDomain.Name(), Sequence: 1, Next: 1}
	if p := a.config.Parent; p != nil {
		s.addUpstream(p, now)
		return s, nil
	}
	return s, a.addRoot(ctx, s, now)
}

// instant is one reading of both clocks.
type instant struct {
	wall time.Time
	up   time.Duration // since Open, monotonic
}

func (a *Authority) now() instant { return instant{wall: wall(), up: time.Since(a.started)} }

// wall returns the time of the wall clock alone: certificates know no other.
func wall() time.Time { return time.Now().Round(0) }

// Watch returns a channel that is closed when bundle, signing keys or revocations change. Take the channel
// first, then look.
func (a *Authority) Watch() <-chan struct{} {
	a.watch.Lock()
	defer a.watch.Unlock()
	return a.changed
}

// publish puts a view in force.
func (a *Authority) publish(v *view) {
	a.view.Store(v)
	a.watch.Lock()
	defer a.watch.Unlock()
	close(a.changed)
	a.changed = make(chan struct{})
}

// save stores a state as the successor of a revision.
func (a *Authority) save(ctx context.Context, s *state, revision uint64) error {
	data, err := s.encode()
	if err != nil {
		return fmt.Errorf("encoding the authority's state: %w", err)
	}
	return a.config.Store.Save(ctx, data, revision)
}

const maxConflicts = 5

// change changes a state and tells whether it did. One that may be done again does nothing then.
type change func(*state) (bool, error)

// mutate changes a copy of the state, stores it and puts it in force. If another has changed it meanwhile, that
// one's state is changed instead.
func (a *Authority) mutate(ctx context.Context, fn change) error {
	a.lock.Lock()
	defer a.lock.Unlock()
	return a.mutateLocked(ctx, fn)
}

func (a *Authority) mutateLocked(ctx context.Context, fn change) error {
	for range maxConflicts {
		current := a.view.Load()
		next := current.state.clone()
		changed, err := fn(next)
		if err != nil || !changed && len(a.unsaved) == 0 {
			return err
		}
		v, err := a.compile(ctx, next, current.revision+1)
		if err != nil {
			return err
		}
		switch err := a.save(ctx, next, current.revision); {
		case err == nil:
			a.unsaved = nil
			a.publish(v)
			return nil
		case !errors.Is(err, ErrConflict):
			return err
		}
		if err := a.reload(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("changing the authority's state: %w", ErrConflict)
}

// Refresh takes over what another process has changed in the store, now rather than at the next tick of Run. It
// rotates nothing.
func (a *Authority) Refresh(ctx context.Context) error {
	a.lock.Lock()
	defer a.lock.Unlock()
	return a.reload(ctx)
}

// reload takes over what the store holds if it is not what is in force.
func (a *Authority) reload(ctx context.Context) error {
	data, revision, err := a.config.Store.Load(ctx)
	if err != nil {
		return err
	}
	if revision == a.view.Load().revision {
		return nil
	}
	s, err := decodeState(data, a.config.TrustDomain.Name())
	if err != nil {
		return err
	}
	for _, again := range a.unsaved {
		if _, err := again(s); err != nil {
			return err
		}
	}
	v, err := a.compile(ctx, s, revision)
	if err != nil {
		return err
	}
	a.publish(v)
	return nil
}
