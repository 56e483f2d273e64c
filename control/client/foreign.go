package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
)

// Source gives the proxy's identity, and says how it stands.
type Source interface {
	workload.Source
	Run(ctx context.Context) error
	Held() []workload.Held
	// Renew looks for a newer SVID now, of one identity or of all.
	Renew(ids ...workload.ID)
}

// foreign is our identity as another issuer gives it: a Workload API of this host, in place of control. It is shown to control, which
// tells us what we need beside it; while control refuses it, nobody gets it from us.
type foreign struct {
	c      *Client
	issuer *workload.External
	look   chan struct{} // capacity 1: look again now

	mu      sync.Mutex
	svid    *workload.SVID // nil: none that may be used
	err     error          // of the last try; nil without an SVID: nobody has answered yet
	failed  int            // tries in a row
	changed chan struct{}  // closed when svid or, without one, err is replaced
	bundles *workload.Bundles
	others  *workload.Bundles // as control says them
}

func newForeign(c *Client, issuer *workload.External) *foreign {
	return &foreign{c: c, issuer: issuer, look: make(chan struct{}, 1), changed: make(chan struct{})}
}

// Run follows the issuer until ctx ends.
func (f *foreign) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.issuer.Run(ctx) })
	g.Go(func() error { f.follow(ctx); return nil })
	return g.Wait()
}

// follow takes over what the issuer gives, and asks control again while that does not take it.
func (f *foreign) follow(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		svid, changed, err := f.issuer.X509SVID(ctx, f.c.id)
		asked := err == nil
		switch {
		case asked:
			err = f.use(ctx, svid)
		case errors.Is(err, workload.ErrDenied) && f.held() == nil: // it may be about to be registered
			err = fmt.Errorf("the Workload API of this host gives this process no SVID of %s; register it there", f.c.id)
		}
		if ctx.Err() != nil {
			return
		}
		f.settle(ctx, svid, err)
		var again <-chan time.Time
		if asked && err != nil {
			again, pause = time.After(pause), min(2*pause, maxPause)
		} else {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-f.look:
		case <-again:
		}
	}
}

const firstPause = time.Second

// use takes an SVID of the issuer if control does, or did and cannot be asked.
func (f *foreign) use(ctx context.Context, svid *workload.SVID) error {
	c := f.c
	bundles, _, err := f.issuer.Bundles(ctx)
	if err != nil {
		return err
	}
	if err := f.trust(bundles); err != nil {
		return err
	}
	known := c.introduced() && !c.revoked(svid)
	if known {
		c.wear(svid) // at once: control may be away
		f.publish(svid, nil)
		if c.connected() {
			return nil
		}
	}
	var got wire.EnrolAnswer
	err = c.postAs(ctx, svid, wire.MeetPath, wire.MeetRequest{Node: c.o.Node}, &got)
	switch {
	case err == nil:
		return f.met(ctx, svid, &got)
	case known && !errors.Is(err, workload.ErrDenied):
		return nil
	}
	return fmt.Errorf("enrolling by the SVID of another issuer: %w", err)
}

// met takes over what control has told us.
func (f *foreign) met(ctx context.Context, svid *workload.SVID, got *wire.EnrolAnswer) error {
	c := f.c
	if err := c.meet(got); err != nil {
		return err
	}
	c.wear(svid)
	c.keepIdentity(ctx, nil, got.Bundle, got.Keys)
	c.note(ctx, "enrolled", "by an SVID of another issuer")
	return nil
}

// settle publishes what came of a look. What is denied is taken back; whatever else happened, the SVID before serves on.
func (f *foreign) settle(ctx context.Context, svid *workload.SVID, err error) {
	switch {
	case err == nil:
		f.c.trouble(ctx, nil)
		f.publish(svid, nil)
		return
	case errors.Is(err, workload.ErrDenied):
		f.c.shed()
		f.publish(nil, err)
	case f.held() == nil:
		f.publish(nil, err)
	}
	f.mu.Lock()
	f.err, f.failed = err, f.failed+1
	f.mu.Unlock()
	f.c.trouble(ctx, err)
}

// publish replaces what askers get, and wakes them if it is another.
func (f *foreign) publish(svid *workload.SVID, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	same := svid != nil && f.svid != nil && svid.Chain[0].Equal(f.svid.Chain[0]) // the issuer may have told of a new root alone
	f.svid, f.err = svid, err
	if err == nil {
		f.failed = 0
	}
	if !same {
		close(f.changed)
		f.changed = make(chan struct{})
	}
}

func (f *foreign) held() *workload.SVID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.svid
}

// X509SVID returns the SVID in force. The first time it waits until there is one, or none to be had.
func (f *foreign) X509SVID(ctx context.Context, id workload.ID) (*workload.SVID, <-chan struct{}, error) {
	if id != f.c.id {
		return nil, nil, workload.ErrDenied
	}
	for {
		f.mu.Lock()
		svid, changed, err := f.svid, f.changed, f.err
		f.mu.Unlock()
		switch {
		case svid != nil && !time.Now().Before(svid.Chain[0].NotAfter):
			return nil, changed, errors.Join(fmt.Errorf("the SVID of %s has expired", id), err)
		case svid != nil:
			return svid, changed, nil
		case err != nil:
			return nil, changed, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// JWTSVID asks the issuer, unless our identity is refused.
func (f *foreign) JWTSVID(ctx context.Context, id workload.ID, audience []string) (string, error) {
	if _, _, err := f.X509SVID(ctx, id); err != nil {
		return "", err
	}
	return f.issuer.JWTSVID(ctx, id, audience)
}

// Bundles returns those of the issuer, and those that control adds.
func (f *foreign) Bundles(ctx context.Context) (*workload.Bundles, <-chan struct{}, error) {
	return signer{f.c}.Bundles(ctx)
}

// Held tells how our identity stands.
func (f *foreign) Held() []workload.Held {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.svid == nil && f.err == nil {
		return nil
	}
	out := workload.Held{ID: f.c.id, Failures: f.failed, Err: f.err}
	if f.svid != nil {
		out.Expires = f.svid.Chain[0].NotAfter
	}
	return []workload.Held{out}
}

// Renew looks again what issuer and control say. When an SVID is renewed is the issuer's business.
func (f *foreign) Renew(...workload.ID) { f.c.poke(f.look) }

// trust believes what the issuer says of whom to believe.
func (f *foreign) trust(bundles *workload.Bundles) error {
	c := f.c
	c.taking.Lock()
	defer c.taking.Unlock()
	f.mu.Lock()
	same := f.bundles == bundles
	f.bundles = bundles
	merged := f.merge()
	f.mu.Unlock()
	if same {
		return nil
	}
	t, err := trustOf(merged)
	if err != nil {
		return fmt.Errorf("reading the bundles of the Workload API: %w", err)
	}
	c.verifier.SetTrust(t)
	c.setBundles(merged)
	if c.o.Trust != nil {
		cut := c.o.Trust()
		c.mu.Lock()
		c.cut += uint64(max(cut, 0))
		c.mu.Unlock()
	}
	return nil
}

// add takes what control says of bundles, and returns all. Of our own trust domain the issuer's word counts, once it has spoken.
func (f *foreign) add(control *workload.Bundles) *workload.Bundles {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.others = control
	return f.merge()
}

// merge puts together what issuer and control say. The lock is held.
func (f *foreign) merge() *workload.Bundles {
	out := &workload.Bundles{Own: f.c.id.TrustDomain(), All: map[workload.TrustDomain]workload.Bundle{}}
	for _, from := range []*workload.Bundles{f.others, f.bundles} {
		if from == nil {
			continue
		}
		maps.Copy(out.All, from.All)
	}
	return out
}

// trustOf collects the roots of bundles.
func trustOf(b *workload.Bundles) (*peer.Trust, error) {
	return peer.NewTrust(append(b.Federated(), b.OwnBundle())...)
}
