package workload

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Signer makes identities: an authority, or a connection to one. ErrDenied refuses for good. It is safe for
// concurrent use and gives up when ctx ends.
type Signer interface {
	// SignX509 certifies a public key for id and returns the chain, leaf first.
	SignX509(ctx context.Context, id ID, public crypto.PublicKey) ([]*x509.Certificate, error)
	// SignJWT returns a JWT-SVID in its compact form.
	SignJWT(ctx context.Context, id ID, audience []string) (string, error)
	// Bundles is as in Source.
	Bundles(ctx context.Context) (bundles *Bundles, changed <-chan struct{}, err error)
}

// Certifier is what a Signer may be beside: one that asks an authority which wants the key's holder to prove that it has
// the key. A Renewer then asks Certify in place of SignX509.
type Certifier interface {
	Certify(ctx context.Context, id ID, key crypto.Signer) ([]*x509.Certificate, error)
}

// How renewal behaves.
const (
	atOnce       = 16 // signatures asked for at a time
	firstBackoff = time.Second
	lastBackoff  = time.Minute
	signTimeout  = time.Minute
)

// Renewer is a Source over a Signer. It makes a key and an SVID for each id that is asked for, shares it among
// all who ask, and renews both at half of the SVID's life, give or take a tenth, so that a fleet that started at
// once does not renew at once. What nobody has asked for since its last renewal is forgotten. A renewal that
// fails is tried again with growing pauses while the old SVID serves on until it expires; no sooner than the Signer's error
// says, if that has a method RetryAfter.
type Renewer struct {
	signer Signer
	slots  chan struct{}
	wake   chan struct{} // capacity 1: there is something in starts

	mu      sync.Mutex
	entries map[ID]*entry
	starts  []*entry
	done    bool
}

// entry is the SVID of one id. The Renewer's lock guards it.
type entry struct {
	id       ID
	svid     *SVID
	expires  time.Time
	err      error         // of the last try, nil after a success
	failures int           // in a row
	asked    bool          // since svid was made
	changed  chan struct{} // closed when svid or, without one, err is replaced
	again    chan struct{} // capacity 1: renew now
}

// NewRenewer builds a Renewer, which works while Run does.
func NewRenewer(signer Signer) *Renewer {
	return &Renewer{
		signer: signer, slots: make(chan struct{}, atOnce), wake: make(chan struct{}, 1), entries: map[ID]*entry{},
	}
}

// errStopped is the answer when Run has ended.
var errStopped = errors.New("identities are no longer renewed")

// Run makes and renews SVIDs until ctx ends.
func (r *Renewer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-ctx.Done():
			r.stop()
			return nil
		case <-r.wake:
		}
		r.mu.Lock()
		starts := r.starts
		r.starts = nil
		r.mu.Unlock()
		for _, e := range starts {
			wg.Go(func() { r.keep(ctx, e) })
		}
	}
}

func (r *Renewer) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true
	for id, e := range r.entries {
		if e.svid == nil && e.err == nil {
			e.publish(nil, errStopped)
		}
		delete(r.entries, id)
	}
}

// X509SVID returns the SVID of id. The first time it waits until one is made.
func (r *Renewer) X509SVID(ctx context.Context, id ID) (*SVID, <-chan struct{}, error) {
	e, svid, changed, err := r.ask(id)
	for svid == nil && err == nil {
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
		// The same entry, even if it has been forgotten meanwhile: a denial must not be asked for twice.
		r.mu.Lock()
		svid, changed, err = e.read()
		r.mu.Unlock()
	}
	return svid, changed, err
}

// ask finds the entry of an id, or starts one, and reads it.
func (r *Renewer) ask(id ID) (*entry, *SVID, <-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[id]
	if e == nil {
		if r.done {
			return nil, nil, nil, errStopped
		}
		e = &entry{id: id, changed: make(chan struct{}), again: make(chan struct{}, 1)}
		r.entries[id] = e
		r.starts = append(r.starts, e)
		poke(r.wake)
	}
	svid, changed, err := e.read()
	return e, svid, changed, err
}

// Seed gives the Renewer an SVID from before, such as one that was kept sealed on disk. It serves until the first
// renewal, which is due at once, succeeds or denies it. It does nothing for an id that is held already.
func (r *Renewer) Seed(svid *SVID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done || r.entries[svid.ID] != nil {
		return
	}
	e := &entry{id: svid.ID, svid: svid, expires: expiry(svid.Chain), asked: true, changed: make(chan struct{}), again: make(chan struct{}, 1)}
	r.entries[svid.ID] = e
	r.starts = append(r.starts, e)
	poke(r.wake)
}

// read returns neither an SVID nor an error while the first is being made. The Renewer's lock is held.
func (e *entry) read() (*SVID, <-chan struct{}, error) {
	e.asked = true
	if e.svid != nil && !time.Now().Before(e.expires) {
		poke(e.again) // after a jump of the clock, renewal may be hours away
		return nil, e.changed, errors.Join(fmt.Errorf("the SVID of %s has expired", e.id), e.err)
	}
	if e.svid != nil {
		return e.svid, e.changed, nil
	}
	return nil, e.changed, e.err
}

// poke sets a flag that a channel of capacity 1 holds.
func poke(flag chan struct{}) {
	select {
	case flag <- struct{}{}:
	default:
	}
}

// JWTSVID asks the signer.
func (r *Renewer) JWTSVID(ctx context.Context, id ID, audience []string) (string, error) {
	return r.signer.SignJWT(ctx, id, audience)
}

// Bundles asks the signer.
func (r *Renewer) Bundles(ctx context.Context) (*Bundles, <-chan struct{}, error) {
	return r.signer.Bundles(ctx)
}

// Renew renews the SVIDs of the given ids now, or of all if none is given: after a revocation or a change of
// the issuing authority. An id that the signer denies loses its SVID at once, and its callers are told.
func (r *Renewer) Renew(ids ...ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, e := range r.entries {
		if len(ids) == 0 || slices.Contains(ids, id) {
			poke(e.again)
		}
	}
}

// Held tells of one SVID how long it is good for and whether its renewal fails.
type Held struct {
	ID       ID
	Expires  time.Time // zero if there is none yet
	Failures int       // tries in a row that failed
	Err      error     // of the last try
}

// Held lists what is held, by id.
func (r *Renewer) Held() []Held {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Held, 0, len(r.entries))
	for id, e := range r.entries {
		out = append(out, Held{id, e.expires, e.failures, e.err})
	}
	slices.SortFunc(out, func(a, b Held) int { return compareIDs(a.ID, b.ID) })
	return out
}

func compareIDs(a, b ID) int {
	switch {
	case a.String() < b.String():
		return -1
	case a.String() > b.String():
		return 1
	}
	return 0
}

// keep makes and renews one SVID until nobody asks for it any more.
func (r *Renewer) keep(ctx context.Context, e *entry) {
	for {
		svid, err := r.make(ctx, e.id)
		if ctx.Err() != nil {
			return // stop has told the callers
		}
		if !wait(ctx, time.Now().Add(r.outcome(e, svid, err)).Round(0), e.again) || r.forget(e) {
			return
		}
	}
}

// wait returns when the wall clock says due, or again is set; false when ctx has ended. It looks at the clock
// every minute: certificates expire by the wall clock, which goes on while a machine sleeps and timers do not.
func wait(ctx context.Context, due time.Time, again <-chan struct{}) bool {
	for {
		left := time.Until(due)
		if left <= 0 {
			return ctx.Err() == nil
		}
		timer := time.NewTimer(min(left, time.Minute))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-again:
			timer.Stop()
			return true
		case <-timer.C:
		}
	}
}

// make asks the signer to certify a new key.
func (r *Renewer) make(ctx context.Context, id ID) (*SVID, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, signTimeout)
	defer cancel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key for %s: %w", id, err)
	}
	var chain []*x509.Certificate
	if certifier, ok := r.signer.(Certifier); ok {
		chain, err = certifier.Certify(ctx, id, key)
	} else {
		chain, err = r.signer.SignX509(ctx, id, key.Public())
	}
	if err != nil {
		return nil, fmt.Errorf("asking for an SVID for %s: %w", id, err)
	}
	if len(chain) == 0 || !key.PublicKey.Equal(chain[0].PublicKey) || !time.Now().Before(expiry(chain)) {
		return nil, fmt.Errorf("asking for an SVID for %s: the signer answered with a certificate that is not for it", id)
	}
	return &SVID{ID: id, Chain: chain, Key: key}, nil
}

// expiry is when the first certificate of a chain expires.
func expiry(chain []*x509.Certificate) time.Time {
	out := chain[0].NotAfter
	for _, c := range chain[1:] {
		if c.NotAfter.Before(out) {
			out = c.NotAfter
		}
	}
	return out
}

// outcome records a try and says when the next is due.
func (r *Renewer) outcome(e *entry, svid *SVID, err error) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		e.failures, e.expires, e.asked = 0, expiry(svid.Chain), false
		e.publish(svid, nil)
		return jitter(time.Until(e.expires) / 2)
	case errors.Is(err, ErrDenied):
		e.expires, e.asked = time.Time{}, false
		e.publish(nil, err)
		// Forgotten at once: whoever asks again makes it be asked for again.
		if r.entries[e.id] == e {
			delete(r.entries, e.id)
		}
	case e.svid == nil:
		e.asked = false
		e.publish(nil, err)
	default:
		e.err = err // the old one serves on
	}
	e.failures++
	return pause(e.failures, err)
}

// pause is how long to wait after so many failures: between half and all of a time that doubles, so that those who failed together
// do not fail together again; longer, and as far spread, if the signer has said when asking is of use.
func pause(failures int, err error) time.Duration {
	d := min(firstBackoff<<min(failures-1, 10), lastBackoff)
	var busy interface{ RetryAfter() time.Duration }
	if errors.As(err, &busy) {
		d = max(d, 2*busy.RetryAfter())
	}
	return d/2 + mathrand.N(d/2+1) //nolint:gosec // G404: jitter needs no secret
}

// publish replaces what callers get and wakes them. The Renewer's lock is held.
func (e *entry) publish(svid *SVID, err error) {
	e.svid, e.err = svid, err
	close(e.changed)
	e.changed = make(chan struct{})
}

// forget tells whether e is no longer needed, and drops it if so.
func (r *Renewer) forget(e *entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries[e.id] != e {
		return true
	}
	if e.asked {
		return false
	}
	e.publish(nil, errStopped) // for a caller that looked it up and forgot to look again
	delete(r.entries, e.id)
	return true
}

// jitter spreads d by a tenth to both sides.
func jitter(d time.Duration) time.Duration {
	//nolint:gosec // nobody gains from guessing when a certificate is renewed
	return d + time.Duration((mathrand.Float64()-0.5)*0.2*float64(d))
}
