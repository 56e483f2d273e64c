package mesh

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/egress"
	"github.com/palisade-security/palisade/proxy/stream"
)

// carried is a server of connections, and what a slice says about them.
type carried struct {
	server  *stream.Server
	callers func(slice *model.Snapshot) stream.Decider
	outside *egress.Egress                                     // set for the way out of the fleet
	terms   func(own *model.ResolvedService) map[string]string // set for the way to a broker; see stream.Rules
}

// carry makes a server of connections under the rules of the slice in force.
func (s *Sidecar) carry(direction string, ln net.Listener, c stream.Carrier, to *carried) {
	to.server = stream.New(stream.Options{Name: s.name + "/" + direction, Listener: ln, Carrier: c, Recorder: s.Recorder}, &stream.Rules{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.carried = append(s.carried, to)
	if s.slice != nil {
		s.rule(to)
	}
}

// run serves until ctx ends.
func (s *Sidecar) run(ctx context.Context, to *carried) error {
	err := to.server.Run(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.carried = slices.DeleteFunc(s.carried, func(c *carried) bool { return c == to })
	return err
}

// rule puts the slice in force for connections. The lock is held.
func (s *Sidecar) rule(to *carried) {
	slice := s.slice
	if to.outside != nil {
		if svc := slice.ServiceByName(s.name); svc != nil {
			to.outside.Declare(svc.Egress)
		}
	}
	rules := &stream.Rules{
		Fleet: slice.Fleet, Snapshot: slice.Version, Callers: to.callers(slice), Redactor: event.NewRedactor(slice.Redact), Strict: slice.Audit.Mode == "strict",
		Idle: slice.Edge.Timeouts.Tunnel.Std(),
	}
	if to.terms != nil {
		rules.Terms = to.terms(s.own)
	}
	to.server.Swap(rules)
}

// address is where the service listens.
func (s *Sidecar) address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own.HostPort()
}

// carryInbound takes connections of other services for a service that does not speak HTTP.
func (s *Sidecar) carryInbound(ln net.Listener, config *tls.Config) {
	in := &stream.Inbound{
		Service: s.name, Address: s.address, TLS: config, Peer: s.introduce, Refused: s.refusals.add,
		Dial: func(ctx context.Context) (net.Conn, error) { return s.connect(ctx, "tcp", s.address()) },
	}
	to := &carried{callers: func(slice *model.Snapshot) stream.Decider {
		svc := slice.ServiceByName(s.name)
		ids := make([]string, len(svc.Callers))
		for i, caller := range svc.Callers {
			ids[i] = model.ServiceID(slice.TrustDomain, caller)
		}
		return stream.Callers(svc.Position.String(), ids...)
	}}
	if b := s.broker; b != nil {
		in.NATS, to.terms = b.protocol(), b.permit
		b.begun.Do(func() {
			s.asking.do(func(ctx context.Context) error { return b.run(ctx, s.address(), in.Dial) }) // also while connections end
		})
	}
	s.carry("inbound", ln, in, to)
	s.taking.do(func(ctx context.Context) error { return s.run(ctx, to) })
}

// carryOutbound takes connections of the service toward another one that does not speak HTTP.
func (s *Sidecar) carryOutbound(d model.Door, ln net.Listener) (closed func()) {
	addresses, changed := s.Places(d.Name)
	balance := stream.NewBalance(addresses...)
	callee := model.ServiceID(s.ID.TrustDomain().Name(), d.Name)
	dial := s.dialTo(callee)
	out := &stream.Outbound{
		Service: d.Name, Host: net.JoinHostPort(d.Name, strconv.Itoa(d.Port)), Self: s.self, Balance: balance, Peer: s.track,
		TLS:  s.toward(callee),
		Dial: func(ctx context.Context, address string) (net.Conn, error) { return dial(ctx, "tcp", address) },
	}
	to := &carried{callers: func(slice *model.Snapshot) stream.Decider {
		if svc := slice.ServiceByName(d.Name); svc != nil { // a slice holds those that may be called
			return stream.Callers(svc.Position.String(), s.self.SPIFFEID)
		}
		return stream.Callers("")
	}}
	s.carry("outbound", ln, out, to)
	return s.until(func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return s.run(ctx, to) })
		g.Go(func() error {
			for {
				select {
				case <-changed:
					addresses, changed = s.Places(d.Name)
					balance.Replace(addresses)
				case <-ctx.Done():
					return nil
				}
			}
		})
		return g.Wait()
	})
}

// carryOutside takes connections of the service toward a declared host outside the fleet.
func (s *Sidecar) carryOutside(wanted func(net.Conn) (egress.Wanted, error), ln net.Listener) (closed func()) {
	out := egress.New(egress.Options{Self: s.self, Wanted: wanted})
	to := &carried{outside: out, callers: func(slice *model.Snapshot) stream.Decider {
		at := ""
		if svc := slice.ServiceByName(s.name); svc != nil {
			at = svc.Position.String()
		}
		return stream.Callers(at, s.self.SPIFFEID)
	}}
	s.carry("egress", ln, out, to)
	return s.until(func(ctx context.Context) error { return s.run(ctx, to) })
}
