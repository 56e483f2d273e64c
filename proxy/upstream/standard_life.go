package upstream

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
)

// anyHost stands for the service in the standard transport's eyes: all its connections lead to one place, which only
// the dialer knows.
const anyHost = "service"

// standardLife is a standard transport as long as one client certificate lasts: there is no other way to keep
// it from sending more requests over connections that still carry some.
type standardLife struct {
	transport *http.Transport
	renewal   uint64
	inFlight  atomic.Int64
}

func (s *Standard) life(renewal uint64) *standardLife {
	o, d := &s.options, s.dialer
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			bounded, cancel := context.WithTimeout(ctx, o.Dial)
			defer cancel()
			return d.plain(ctx, bounded)
		},
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			bounded, cancel := context.WithTimeout(ctx, o.Dial)
			defer cancel()
			raw, err := d.plain(ctx, bounded)
			if err != nil {
				return nil, err
			}
			c := d.trust.guard(raw)
			t, err := d.secure(ctx, bounded, c, c, d.trust.renewal())
			if err != nil {
				return nil, err
			}
			if p := t.ConnectionState().NegotiatedProtocol; p != "h2" {
				_ = c.Close()
				return nil, malformed("not HTTP/2")
			}
			return t, nil
		},
		DisableCompression:     true,
		IdleConnTimeout:        o.Idle,
		ExpectContinueTimeout:  continueAfter,
		MaxResponseHeaderBytes: int64(o.MaxHeaderBytes),
		Protocols:              new(http.Protocols),
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: o.Idle / 4, PingTimeout: o.Idle / 4},
	}
	if s.scheme == "http" {
		t.Protocols.SetUnencryptedHTTP2(true)
	} else {
		t.Protocols.SetHTTP2(true)
	}
	return &standardLife{transport: t, renewal: renewal}
}

// enter begins an exchange on the transport of the certificate in force.
func (s *Standard) enter() *standardLife {
	l := s.current.Load()
	if renewal := s.dialer.trust.renewal(); l.renewal != renewal {
		l = s.renew(renewal)
	}
	l.inFlight.Add(1)
	return l
}

// renew replaces the transport of a certificate that is replaced.
func (s *Standard) renew(renewal uint64) *standardLife {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.current.Load()
	if old.renewal >= renewal {
		return old
	}
	next := s.life(renewal)
	s.current.Store(next)
	old.transport.CloseIdleConnections()
	return next
}

// leave ends an exchange; the last one of a certificate that is replaced takes the connections with it, at the
// latest after Options.Idle.
func (s *Standard) leave(l *standardLife) {
	if l.inFlight.Add(-1) == 0 && s.current.Load() != l {
		l.transport.CloseIdleConnections()
	}
}
