package workload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// External is a Source over another Workload API, such as a SPIRE agent's: it gives out what that one gives to
// this process. What it holds stays good while the other is away; what the other takes back is gone.
type External struct {
	client *workloadapi.Client

	mu      sync.Mutex
	x509    *workloadapi.X509Context
	jwt     *jwtbundle.Set
	denied  bool // the other gives us no SVID, and says so
	noJWT   bool // the same of JWT bundles
	svids   map[ID]*SVID
	bundles *Bundles
	err     error // why there is nothing; nil once both kinds have been answered
	changed chan struct{}
}

// errWaiting is the answer until the other Workload API has answered.
var errWaiting = errors.New("the other Workload API has not answered yet")

// NewExternal connects to a Workload API, such as unix:///run/spire/agent.sock. It works while Run does.
func NewExternal(ctx context.Context, address string) (*External, error) {
	client, err := workloadapi.New(ctx, workloadapi.WithAddr(address))
	if err != nil {
		return nil, fmt.Errorf("connecting to the Workload API at %s: %w", address, err)
	}
	return &External{client: client, err: errWaiting, changed: make(chan struct{})}, nil
}

// Run follows the other Workload API until ctx ends, then hangs up.
func (e *External) Run(ctx context.Context) error {
	g, watching := errgroup.WithContext(ctx)
	g.Go(func() error { return e.client.WatchX509Context(watching, x509Watcher{e}) })
	g.Go(func() error { return e.client.WatchJWTBundles(watching, jwtWatcher{e}) })
	err := g.Wait()
	if ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, e.client.Close())
}

type x509Watcher struct{ *External }

// OnX509ContextUpdate takes what the other gives.
func (w x509Watcher) OnX509ContextUpdate(c *workloadapi.X509Context) {
	w.update(func() { w.x509, w.denied = c, false })
}

// OnX509ContextWatchError takes note when the other gives nothing more (SPIFFE Workload API, section 5.2.1).
func (w x509Watcher) OnX509ContextWatchError(err error) {
	if status.Code(err) == codes.PermissionDenied {
		w.update(func() { w.x509, w.denied = nil, true })
	}
}

type jwtWatcher struct{ *External }

// OnJWTBundlesUpdate takes what the other gives.
func (w jwtWatcher) OnJWTBundlesUpdate(set *jwtbundle.Set) {
	w.update(func() { w.jwt, w.noJWT = set, false })
}

// OnJWTBundlesWatchError takes note when the other gives nothing more.
func (w jwtWatcher) OnJWTBundlesWatchError(err error) {
	if code := status.Code(err); code == codes.PermissionDenied || code == codes.Unimplemented {
		w.update(func() { w.jwt, w.noJWT = nil, true })
	}
}

// update changes what is held and wakes whoever waits.
func (e *External) update(change func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
	e.svids, e.bundles, e.err = map[ID]*SVID{}, nil, errWaiting
	switch {
	case e.denied:
		e.err = ErrDenied
	case e.x509 != nil && len(e.x509.SVIDs) > 0 && (e.jwt != nil || e.noJWT):
		e.err = nil
		for _, svid := range e.x509.SVIDs {
			if e.svids[svid.ID] == nil {
				e.svids[svid.ID] = &SVID{ID: svid.ID, Chain: svid.Certificates, Key: svid.PrivateKey}
			}
		}
		e.bundles = e.merge(e.x509.SVIDs[0].ID.TrustDomain())
	}
	close(e.changed)
	e.changed = make(chan struct{})
}

// merge puts both kinds of bundles together.
func (e *External) merge(own TrustDomain) *Bundles {
	out := &Bundles{Own: own, All: map[TrustDomain]Bundle{}}
	for _, b := range e.x509.Bundles.Bundles() {
		out.All[b.TrustDomain()] = Bundle{X509: b.X509Authorities()}
	}
	if e.jwt != nil {
		for _, b := range e.jwt.Bundles() {
			both := out.All[b.TrustDomain()]
			both.JWT = b.JWTAuthorities()
			out.All[b.TrustDomain()] = both
		}
	}
	return out
}

// X509SVID returns what the other gives out for id.
func (e *External) X509SVID(ctx context.Context, id ID) (*SVID, <-chan struct{}, error) {
	if err := e.answered(ctx); err != nil {
		return nil, nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return nil, e.changed, e.err
	}
	svid := e.svids[id]
	if svid == nil {
		return nil, e.changed, fmt.Errorf("the other Workload API does not give %s: %w", id, ErrDenied)
	}
	if !time.Now().Before(expiry(svid.Chain)) {
		return nil, e.changed, fmt.Errorf("the SVID of %s has expired, and the other Workload API gives no newer one", id)
	}
	return svid, e.changed, nil
}

// Bundles returns the bundles that the other gives out.
func (e *External) Bundles(ctx context.Context) (*Bundles, <-chan struct{}, error) {
	if err := e.answered(ctx); err != nil {
		return nil, nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.bundles, e.changed, e.err
}

// answered waits for the other's first answer.
func (e *External) answered(ctx context.Context) error {
	for {
		e.mu.Lock()
		waiting, changed := errors.Is(e.err, errWaiting), e.changed
		e.mu.Unlock()
		if !waiting {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// JWTSVID asks the other.
func (e *External) JWTSVID(ctx context.Context, id ID, audience []string) (string, error) {
	if len(audience) == 0 {
		return "", errors.New("asking for a JWT-SVID: no audience")
	}
	svid, err := e.client.FetchJWTSVID(ctx, jwtsvid.Params{Subject: id, Audience: audience[0], ExtraAudiences: audience[1:]})
	if status.Code(err) == codes.PermissionDenied {
		err = errors.Join(ErrDenied, err)
	}
	if err != nil {
		return "", fmt.Errorf("asking for a JWT-SVID: %w", err)
	}
	if svid.ID != id {
		return "", fmt.Errorf("asking for a JWT-SVID for %s: the answer is for %s", id, svid.ID)
	}
	return svid.Marshal(), nil
}
