package federation

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

const (
	minRefresh     = time.Minute
	maxRefresh     = 24 * time.Hour
	defaultRefresh = 5 * time.Minute
	firstRetry     = 5 * time.Second
	maxRetry       = 10 * time.Minute
)

// Keeper keeps the last good bundles: a key ring.
type Keeper interface {
	Save(name string, data []byte) error
	// Load returns what was saved. The error wraps fs.ErrNotExist if nothing was.
	Load(name string) ([]byte, error)
}

// Config says with whom to federate.
type Config struct {
	Own       func() *spiffebundle.Bundle // our own bundle, for endpoints that show an SVID of ours
	Relations []Relation
	Keeper    Keeper
	Web       *x509.CertPool // roots of the web; nil: the system's
	Log       *slog.Logger
}

// Poller holds the bundles of federated trust domains and fetches them anew. What cannot be fetched is tried
// again; the last good bundle stays in force until its domain is no longer declared. It is safe for concurrent use.
type Poller struct {
	config Config

	mu      sync.Mutex
	states  []state // one for each relation
	changed chan struct{}
}

// state is what is known of one relation.
type state struct {
	bundle   *spiffebundle.Bundle // nil: none yet
	fetched  time.Time
	err      error
	failures int
}

// NewPoller checks the relations and loads the bundles that were kept.
func NewPoller(config Config) (*Poller, error) {
	p := &Poller{config: config, states: make([]state, len(config.Relations)), changed: make(chan struct{})}
	own, seen := config.Own().TrustDomain(), map[spiffeid.TrustDomain]bool{}
	var errs []error
	for i := range config.Relations {
		r := &config.Relations[i]
		err := r.check(own)
		if err == nil && seen[r.TrustDomain] {
			err = fmt.Errorf("%s is declared twice", r.TrustDomain)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		seen[r.TrustDomain] = true
		p.states[i].bundle = r.Bundle
		data, err := config.Keeper.Load(keptAs(r.TrustDomain))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			var kept *spiffebundle.Bundle
			if kept, err = parse(r.TrustDomain, data); err == nil && !newer(r.Bundle, kept) {
				p.states[i].bundle = kept
			}
		}
		if err != nil { // it is fetched anew; the first bundle serves until then
			config.Log.Error("a kept bundle cannot be used", "trust_domain", r.TrustDomain.Name(), "error", err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("federating: %w", err)
	}
	return p, nil
}

// newer tells whether a declared bundle has a higher number than one that was kept: that is how somebody mends a
// relation whose kept bundle has become too old to recognise the endpoint.
func newer(declared, kept *spiffebundle.Bundle) bool {
	if declared == nil {
		return false
	}
	a, ok := declared.SequenceNumber()
	b, both := kept.SequenceNumber()
	return ok && both && a > b
}

func keptAs(domain spiffeid.TrustDomain) string { return "bundle-" + domain.Name() }

// Run fetches each bundle until ctx ends, as often as the bundle asks for.
func (p *Poller) Run(ctx context.Context) error {
	var group sync.WaitGroup
	for i := range p.config.Relations {
		group.Go(func() { p.follow(ctx, i) })
	}
	group.Wait()
	return nil
}

// follow fetches one relation's bundle again and again.
func (p *Poller) follow(ctx context.Context, i int) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		p.Refresh(ctx, i)
		p.mu.Lock()
		wait := next(&p.states[i], rand.Float64()) //nolint:gosec // spreads polls in time, keeps nothing secret
		p.mu.Unlock()
		timer.Reset(wait)
	}
}

// next tells how long to wait: as the bundle hints, within a minute and a day; after failures from 5 s doubling
// to 10 min. spread, from 0 to 1, makes it up to a tenth longer, so that a fleet does not poll as one.
func next(s *state, spread float64) time.Duration {
	wait := defaultRefresh
	if s.failures > 0 {
		wait = min(firstRetry<<min(s.failures-1, 10), maxRetry)
	} else if s.bundle != nil {
		if hint, ok := s.bundle.RefreshHint(); ok {
			wait = min(max(hint, minRefresh), maxRefresh)
		}
	}
	return wait + time.Duration(spread*float64(wait)/10)
}

// Refresh fetches the bundle of relation i (by its place in Config) now.
func (p *Poller) Refresh(ctx context.Context, i int) {
	r := &p.config.Relations[i]
	fetched, err := fetch(ctx, r, append(p.Bundles(), p.config.Own()), p.config.Web)
	if ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.states[i]
	changed := false
	if err == nil {
		changed, err = supersedes(s.bundle, fetched)
	}
	if err != nil {
		if s.failures == 0 {
			p.config.Log.WarnContext(ctx, "a federated bundle cannot be fetched", "trust_domain", r.TrustDomain.Name(), "error", err)
		}
		s.failures++
		s.err = err
		return
	}
	s.failures, s.err, s.fetched = 0, nil, time.Now()
	if !changed {
		return
	}
	s.bundle = fetched
	close(p.changed)
	p.changed = make(chan struct{})
	data, err := fetched.Marshal()
	if err == nil {
		err = p.config.Keeper.Save(keptAs(r.TrustDomain), data)
	}
	if err != nil { // in force all the same; a restart would begin with an older one
		p.config.Log.ErrorContext(ctx, "a federated bundle cannot be kept", "trust_domain", r.TrustDomain.Name(), "error", err)
	}
}

// Bundles returns the bundles in force, in the order of the relations; those not fetched yet are missing.
func (p *Poller) Bundles() []*spiffebundle.Bundle {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]*spiffebundle.Bundle, 0, len(p.states))
	for i := range p.states {
		if b := p.states[i].bundle; b != nil {
			out = append(out, b.Clone())
		}
	}
	return slices.Clip(out)
}

// Watch returns a channel that is closed when a bundle changes. Take the channel first, then look.
func (p *Poller) Watch() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// Status says how a relation stands.
type Status struct {
	TrustDomain spiffeid.TrustDomain
	Sequence    uint64    // of the bundle in force; 0: none, or it has no number
	Fetched     time.Time // last success in this process
	Err         error     // of the last attempt
}

// Status returns how the relations stand, in their order.
func (p *Poller) Status() []Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Status, len(p.states))
	for i, s := range p.states {
		out[i] = Status{TrustDomain: p.config.Relations[i].TrustDomain, Fetched: s.fetched, Err: s.err}
		if s.bundle != nil {
			out[i].Sequence, _ = s.bundle.SequenceNumber()
		}
	}
	return out
}
