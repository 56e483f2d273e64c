package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"

	"github.com/palisade-security/palisade/app/capture"
	"github.com/palisade-security/palisade/app/isolate"
	"github.com/palisade-security/palisade/event"
)

// listenCaptured opens the sockets at which the connections of a service arrive that are redirected.
func listenCaptured(port uint16, listen func(netip.AddrPort) (net.Listener, error)) (all []net.Listener, err error) {
	for _, host := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
		ln, err := listen(netip.AddrPortFrom(host, port))
		if err == nil {
			all = append(all, ln)
			continue
		}
		if host.Is6() {
			// Without IPv6 there is nothing to capture there; with it, what is redirected is refused.
			slog.Warn("connections over IPv6 are not taken", "error", err)
			continue
		}
		return nil, fmt.Errorf("listening for captured connections: %w; stop what listens there, or choose another port with --capture-port, as palisade capture on --port", err)
	}
	return all, nil
}

// capture takes the connections that are redirected to this sidecar, and begins to read what is dropped.
func (s *sidecar) capture(ctx context.Context) error {
	if len(s.so.Outbound) > 0 {
		return errors.New("--outbound and --capture-port exclude each other: captured connections are told by where they were meant to go")
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // MPTCP sockets do not know where a connection was meant to go
	listeners, err := listenCaptured(s.so.Capture, func(at netip.AddrPort) (net.Listener, error) { return lc.Listen(ctx, "tcp", at.String()) })
	if err != nil {
		return err
	}
	if err := s.remote.Capture(listeners...); err != nil {
		return err
	}
	s.dropped, err = capture.OpenLog("", s.so.Service, s.so.Capture)
	if err != nil {
		slog.WarnContext(ctx, "packets that are dropped past this sidecar are counted by the rules alone (palisade capture status), and leave no event; refused connections do",
			"error", err, "mend", "give the sidecar CAP_NET_ADMIN (AmbientCapabilities=CAP_NET_ADMIN)")
	}
	return nil
}

// captureIn takes what is redirected in the network of a service that was started, and what is dropped there.
func (r *running) captureIn(ctx context.Context, pod *isolate.Pod) (err error) {
	listeners, err := listenCaptured(capture.DefaultPort, func(at netip.AddrPort) (net.Listener, error) { return pod.Listen(ctx, at) })
	if err != nil {
		return err
	}
	if err := r.remote.Capture(listeners...); err != nil {
		return err
	}
	if r.dropped, err = pod.Dropped(ctx, r.so.Service); err != nil {
		return err
	}
	r.work.Go(func() error { r.recordDropped(ctx); return nil })
	return nil
}

// recordDropped makes events of what is dropped until ctx ends.
func (s *sidecar) recordDropped(ctx context.Context) {
	self := s.remote.Client().ID().String()
	if err := s.dropped.Run(ctx, func(a capture.Attempt) { s.recorder.Act(ctx, actOfAttempt(self, a)) }); err != nil {
		slog.ErrorContext(ctx, "what is dropped leaves no event any more", "error", err)
	}
}

// actOfAttempt is an attempt to get past a sidecar as an event. A service that tries is known by its identity, others by
// the user that ran them on this host, or by their address.
func actOfAttempt(self string, a capture.Attempt) *event.Event {
	e := &event.Event{Time: a.Time, Act: &event.Act{
		Kind: event.KindBypass, Outcome: event.Denied, Proxy: a.Service, Reason: "past-sidecar", Who: self, Omitted: int64(a.Count) - 1,
		Object: "packets of several kinds",
	}}
	act := e.Act
	if a.To.IsValid() {
		act.Object = a.Protocol + " " + endpoint(a.To.Addr().String(), a.To.Port())
	}
	if a.UID >= 0 {
		act.Text = "sent by user " + strconv.FormatInt(a.UID, 10)
	}
	if !a.To.IsValid() || !a.Inbound {
		return e
	}
	act.Reason, act.Who, act.Text = "toward-service", "", ""
	if a.UID >= 0 {
		act.Who = "user " + strconv.FormatInt(a.UID, 10)
	}
	e.Client, e.ClientPort = a.From.Addr().String(), int(a.From.Port())
	return e
}

// endpoint is host:port, or the host alone where there are no ports.
func endpoint(host string, port uint16) string {
	if port == 0 {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
