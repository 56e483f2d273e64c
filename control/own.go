package control

import (
	"context"
	"crypto/tls"
	"errors"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/identity/workload"
)

// own is the SVID of control itself, renewed.
type own struct {
	source *workload.Local
	id     workload.ID
	cert   *atomic.Pointer[tls.Certificate]
	ready  chan struct{} // closed once there is one
}

func newOwn(source *workload.Local, id workload.ID) own {
	return own{source: source, id: id, cert: new(atomic.Pointer[tls.Certificate]), ready: make(chan struct{})}
}

var errNoIdentity = errors.New("no identity yet")

// certificate is asked at each handshake.
func (o *own) certificate() (*tls.Certificate, error) {
	if cert := o.cert.Load(); cert != nil {
		return cert, nil
	}
	return nil, errNoIdentity
}

func (o *own) wait(ctx context.Context) error {
	select {
	case <-o.ready:
		return nil
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
