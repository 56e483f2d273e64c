package gate

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/filter/exchange"
	"github.com/palisade-security/palisade/proxy/upstream"
)

// Reach says how a service is reached where that is not simply at its address. The zero value: at its address.
type Reach struct {
	Dial  func(ctx context.Context, network, address string) (net.Conn, error) // nil: the operating system's
	Peers *Peers                                                               // the service's sidecars; nil: the service itself
}

// Peers are the sidecars of a service.
type Peers struct {
	TLS   *tls.Config // shows who we are, and takes that service alone
	Trust *upstream.Trust
	// Addresses returns where they are, host:port each, and a channel that is closed when that changes.
	Addresses func() ([]string, <-chan struct{})
}

// WithReach tells how services are reached. It is asked once for each that is new to the Builder.
func WithReach(reach func(s *model.ResolvedService) Reach) Option {
	return func(all *options) { all.reach = reach }
}

// WithExchange leaves tokens from outside at the edge.
func WithExchange(x *exchange.Exchange) Option { return func(all *options) { all.exchange = x } }

// WithSide makes tables of a sidecar from the slice of its service. Without it, they are those of the edge.
func WithSide(side engine.Side) Option { return func(all *options) { all.side = side } }

// outbound is what a sidecar serves its own service: a route for everything that the service may ask of others.
func outbound(slice *model.Snapshot) *model.Snapshot {
	out := *slice
	out.Routes, out.Services = nil, nil
	for i := range slice.Services {
		if s := &slice.Services[i]; s.ID != slice.Self {
			out.Services = append(out.Services, *s)
			out.Routes = append(out.Routes, s.Serve...)
		}
	}
	slices.SortFunc(out.Routes, func(a, b model.ResolvedRoute) int { return strings.Compare(a.ID, b.ID) })
	return &out
}

// transport makes the connections to a service.
func (b *Builder) transport(s *model.ResolvedService, u *url.URL, o upstream.Options) (engine.Transport, error) {
	var reach Reach
	if b.reach != nil {
		reach = b.reach(s)
	}
	o.DialContext = reach.Dial
	if p := reach.Peers; p != nil {
		o.TLS, o.Trust = p.TLS, p.Trust
		protocol := upstream.Both
		if u.Scheme == "h2c" { // what is gRPC must keep its trailers
			protocol = upstream.HTTP2
		}
		addresses, changed := p.Addresses()
		return newMoving(upstream.NewBalancer(o, protocol, addresses...), p.Addresses, changed), nil
	}
	switch u.Scheme {
	case "https":
		var err error
		if o.TLS, err = upstreamTLS(*s, u.Hostname()); err != nil {
			return nil, err
		}
	case "h2c":
		return upstream.NewStreams(o, true), nil
	}
	return upstream.NewPool(o), nil
}
