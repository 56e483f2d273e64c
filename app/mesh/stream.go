package mesh

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/egress"
	"github.com/palisade-security/palisade/proxy/stream"
)

// isTCP tells whether a service speaks something else than HTTP.
func isTCP(s *model.ResolvedService) bool { return strings.HasPrefix(s.Address, "tcp://") }

// hostOf is where a service listens.
func hostOf(s *model.ResolvedService) string {
	if u, err := url.Parse(s.Address); err == nil {
		return u.Host
	}
	return s.Address
}

// carried is a server of connections, and what a snapshot says about them.
type carried struct {
	server  *stream.Server
	callers func(snap *model.Snapshot) stream.Decider
	outside *egress.Egress // set for the way out of the fleet
}

// carry serves connections on a listener under the rules of the snapshot in force, until the mesh ends.
func (s *Sidecar) carry(direction string, ln net.Listener, c stream.Carrier, to *carried) {
	m := s.mesh
	to.server = stream.New(stream.Options{Name: s.name + "/" + direction, Listener: ln, Carrier: c, Recorder: m.o.Recorder}, &stream.Rules{})
	m.mu.Lock()
	s.carried = append(s.carried, to)
	if m.snap != nil {
		s.rule(to, m.snap)
	}
	m.mu.Unlock()
	m.running.Go(func() error { return to.server.Run(m.ctx) })
}

// rule puts a snapshot in force for connections.
func (s *Sidecar) rule(to *carried, snap *model.Snapshot) {
	if to.outside != nil {
		if svc := snap.ServiceByName(s.name); svc != nil {
			to.outside.Declare(svc.Egress)
		}
	}
	to.server.Swap(&stream.Rules{
		Fleet: snap.Fleet, Snapshot: snap.Version, Callers: to.callers(snap), Redactor: event.NewRedactor(snap.Redact), Strict: snap.Audit.Mode == "strict",
	})
}

// carryInbound takes connections of other services for a service that does not speak HTTP.
func (s *Sidecar) carryInbound(ctx context.Context) (net.Addr, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("sidecar of %q: %w", s.name, err)
	}
	address := hostOf(&s.service)
	in := &stream.Inbound{
		Service: s.name, Address: address, TLS: peer.ServerConfig(s.holder.certificate, s.mesh.verifier, peer.AnyIn(s.mesh.domain)), Peer: s.introduce,
		Dial: func(ctx context.Context) (net.Conn, error) { return s.reachOwn(nil).Dial(ctx, "tcp", address) },
	}
	s.carry("inbound", ln, in, &carried{callers: func(snap *model.Snapshot) stream.Decider { return callersOf(snap, s.name) }})
	return ln.Addr(), nil
}

// carryOutbound takes connections of the service toward another one that does not speak HTTP.
func (s *Sidecar) carryOutbound(callee *model.ResolvedService, ln net.Listener) error {
	id, err := workload.ParseID(callee.ID)
	if err != nil {
		return fmt.Errorf("naming the service %q: %w", callee.Name, err)
	}
	m := s.mesh
	addresses, _ := m.places.of(callee.Name) // those of this process, which do not move
	out := &stream.Outbound{
		Service: callee.Name, Host: net.JoinHostPort(callee.Name, portOf(callee)), Self: s.self,
		TLS: peer.ClientConfig(s.holder.certificate, m.verifier, peer.OneOf(id)), Balance: stream.NewBalance(addresses...),
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
	}
	s.carry("outbound", ln, out, &carried{callers: func(snap *model.Snapshot) stream.Decider { return callersOf(snap, callee.Name) }})
	return nil
}

// carryOutside takes connections of the service toward a declared host outside the fleet.
func (s *Sidecar) carryOutside(host string, port int, ln net.Listener) {
	out := egress.New(egress.Options{Self: s.self, Wanted: egress.Fixed(host, port)})
	s.carry("egress", ln, out, &carried{outside: out, callers: func(snap *model.Snapshot) stream.Decider {
		at := ""
		if svc := snap.ServiceByName(s.name); svc != nil {
			at = svc.Position.String()
		}
		return stream.Callers(at, s.self.SPIFFEID)
	}})
}

func portOf(s *model.ResolvedService) string {
	if u, err := url.Parse(s.Address); err == nil && u.Port() != "" {
		return u.Port()
	}
	return "0"
}

// callersOf are the services that the model lets connect to one.
func callersOf(snap *model.Snapshot, name string) stream.Decider {
	svc := snap.ServiceByName(name)
	if svc == nil {
		return nil
	}
	ids := make([]string, len(svc.Callers))
	for i, caller := range svc.Callers {
		ids[i] = model.ServiceID(snap.TrustDomain, caller)
	}
	return stream.Callers(svc.Position.String(), ids...)
}
