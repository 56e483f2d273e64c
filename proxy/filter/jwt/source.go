package jwt

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	minRefresh     = time.Minute      // bounds of what Cache-Control may ask for
	maxRefresh     = 24 * time.Hour   //
	defaultRefresh = 15 * time.Minute // where it asks for nothing
	minAsk         = 5 * time.Second  // between two fetches for an unknown key id
	firstBackoff   = time.Second
	maxBackoff     = time.Minute
	maxWait        = 2 * time.Second // that a request waits for a fetch
	maxWaiting     = 256             // requests that wait for one source
)

// errBusy means that a token cannot be decided now: its key may be in a set that is being fetched.
var errBusy = errors.New("the provider's keys are being fetched")

// errNotFetched is why a source has no keys before its first fetch has ended.
var errNotFetched = errors.New("they have not been fetched")

// source keeps a provider's keys fresh. Only run fetches, one fetch at a time; requests read keys without a
// lock. The last good keys stay in force while fetches fail.
type source struct {
	name, issuer string
	jwksURL      string // "": discovered from the issuer
	client       *http.Client
	loopback     bool
	log          *slog.Logger

	keys atomic.Pointer[keySet]
	ask  chan struct{} // holds a request for a fetch

	mu       sync.Mutex
	running  bool
	err      error         // of the last fetch
	failures int           // in a row
	nextAsk  time.Time     // no fetch for an unknown key before
	done     chan struct{} // closed when the fetch asked for or under way has ended; nil: none
	waiting  int

	metadata discovered // used by run alone
}

// newSource makes a source that fetches nothing until run.
func newSource(o *Options, name, issuer, jwksURL string) *source {
	return &source{
		name: name, issuer: issuer, jwksURL: jwksURL, client: fetchClient(o.Client), loopback: o.LoopbackHTTP,
		log: o.Log.With("provider", name), ask: make(chan struct{}, 1), err: errNotFetched,
	}
}

// lastError returns why the last fetch failed, or nil.
func (s *source) lastError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// run fetches at once and then as often as Cache-Control allows, sooner when asked, later after failures.
func (s *source) run(ctx context.Context) {
	s.setRunning(true)
	defer s.setRunning(false)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.ask:
		}
		timer.Reset(s.refresh(ctx))
	}
}

// setRunning tells requests whether asking helps, and lets those go that wait when it does not any more.
func (s *source) setRunning(running bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = running
	s.release()
}

// release lets waiting requests go. The caller holds mu.
func (s *source) release() {
	if s.done != nil {
		close(s.done)
		s.done = nil
	}
}

// refresh fetches once and returns when to fetch again.
func (s *source) refresh(ctx context.Context) time.Duration {
	s.mu.Lock()
	if s.done == nil {
		s.done = make(chan struct{})
	}
	select {
	case <-s.ask: // this fetch answers it
	default:
	}
	s.mu.Unlock()

	set, age, err := s.fetch(ctx)
	changed := err == nil && !set.equal(s.keys.Load())
	if changed {
		s.keys.Store(set)
	}
	wait := s.settle(age, err)
	switch {
	case err != nil && ctx.Err() == nil:
		s.log.WarnContext(ctx, "fetching keys failed", "error", err, "retry", wait)
	case changed:
		s.log.InfoContext(ctx, "keys changed", "keys", len(set.all))
	}
	return wait
}

// settle notes how a fetch ended and returns when to fetch again. Jitter keeps a fleet from fetching in step.
func (s *source) settle(age time.Duration, err error) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.release()
	s.err = err
	if err == nil {
		s.failures = 0
		s.nextAsk = time.Now().Add(minAsk)
		return jitter(min(max(age, minRefresh), maxRefresh), 0.1)
	}
	s.metadata = discovered{}
	wait := jitter(min(firstBackoff<<min(s.failures, 6), maxBackoff), 0.5)
	s.failures++
	s.nextAsk = time.Now().Add(wait)
	return wait
}

// jitter takes up to the given share off d.
func jitter(d time.Duration, share float64) time.Duration {
	return d - time.Duration(rand.Float64()*share*float64(d)) //nolint:gosec // spreads load, guards nothing
}

// again asks for a fetch, because a key is not known, and waits until it has ended. It returns nil at once
// when the last fetch is too recent to be repeated or nobody fetches: then what is known decides.
func (s *source) again(ctx context.Context) error {
	done, err := s.wait()
	if done == nil {
		return err
	}
	defer func() {
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
	}()
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return errBusy
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wait joins the fetch under way, or asks for one if that is due. A nil channel means not to wait.
func (s *source) wait() (<-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running || s.done == nil && time.Now().Before(s.nextAsk) {
		return nil, nil
	}
	if s.waiting >= maxWaiting {
		return nil, errBusy
	}
	if s.done == nil {
		s.done = make(chan struct{})
		select {
		case s.ask <- struct{}{}:
		default:
		}
	}
	s.waiting++
	return s.done, nil
}
