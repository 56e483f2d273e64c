package control

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/identity/workload"
)

// identities is where control has its SVID from: its authority, or another Workload API.
type identities interface {
	X509SVID(ctx context.Context, id workload.ID) (*workload.SVID, <-chan struct{}, error)
	Run(ctx context.Context) error
}

// own is the SVID of control itself, renewed.
type own struct {
	source identities
	id     workload.ID
	cert   *atomic.Pointer[tls.Certificate]
	why    *atomic.Pointer[error] // there is none
	ready  chan struct{}          // closed once there is one
}

func newOwn(source identities, id workload.ID) own {
	return own{source: source, id: id, cert: new(atomic.Pointer[tls.Certificate]), why: new(atomic.Pointer[error]), ready: make(chan struct{})}
}

var errNoIdentity = errors.New("no identity yet")

// certificate is asked at each handshake.
func (o *own) certificate() (*tls.Certificate, error) {
	if cert := o.cert.Load(); cert != nil {
		return cert, nil
	}
	return nil, errNoIdentity
}

// wait waits for the first one. Our own authority may be without an issuer for as long as its root is offline; another issuer must
// answer soon, or somebody must be told.
func (o *own) wait(ctx context.Context, elsewhere bool) error {
	var late <-chan time.Time
	if elsewhere {
		timer := time.NewTimer(issuerTime)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-o.ready:
		return nil
	case <-late:
		err := errors.New("nobody has answered")
		if why := o.why.Load(); why != nil {
			err = *why
		}
		return fmt.Errorf("mesh.issuer.workload_api: it gives control no SVID of %s; register it there: %w", o.id, err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run renews until ctx ends. Without an issuer, as with an offline root, it waits for one.
func (o *own) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return o.source.Run(ctx) })
	g.Go(func() error {
		for {
			svid, changed, err := o.source.X509SVID(ctx, o.id)
			if err == nil {
				cert := &tls.Certificate{PrivateKey: svid.Key, Leaf: svid.Chain[0]}
				for _, one := range svid.Chain {
					cert.Certificate = append(cert.Certificate, one.Raw)
				}
				if o.cert.Swap(cert) == nil {
					close(o.ready)
				}
			} else if changed != nil {
				o.why.Store(&err)
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return nil
			}
		}
	})
	return g.Wait()
}
