package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"

	"github.com/palisade-security/palisade/app/capture"
	"github.com/palisade-security/palisade/event"
)

// listenCaptured opens the sockets at which the connections of a service arrive that "palisade capture" redirects.
func listenCaptured(ctx context.Context, port uint16) (all []net.Listener, err error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // MPTCP sockets do not know where a connection was meant to go
	for _, host := range []string{"127.0.0.1", "::1"} {
		ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
		if err == nil {
			all = append(all, ln)
			continue
		}
		if host == "::1" && len(all) > 0 {
			// Without IPv6 there is nothing to capture there; with it, what is redirected is refused.
			slog.WarnContext(ctx, "connections over IPv6 are not taken", "error", err)
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
	listeners, err := listenCaptured(ctx, s.so.Capture)
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
