package stream

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
)

// Inbound carries connections of other services to the one behind this sidecar. Who fails the handshake is closed
// and not recorded as a connection: strangers must not be able to fill the record.
type Inbound struct {
	Service string // name, as recorded
	TLS     *tls.Config
	Peer    Peer
	Address func() string // of the service, as recorded
	Dial    func(ctx context.Context) (net.Conn, error)
	NATS    *NATS // set if the service is such a broker
	// Refused is told of every connection that failed the handshake. It must not block. Nil: nobody is told.
	Refused func(ctx context.Context, remote net.Addr, err error)
}

// Carry is that of Carrier.
func (in *Inbound) Carry(ctx context.Context, l *Link) error {
	e := &l.Event
	e.Service, e.Host = in.Service, in.Service
	l.Is(event.SideInbound, "tcp")
	near, err := in.shake(ctx, l)
	if err != nil {
		l.silent = true
		if in.Refused != nil {
			in.Refused(ctx, l.Client.RemoteAddr(), err)
		}
		return err
	}
	var caller *proxy.Workload
	err = l.Stage(event.StageAuthenticate, func() (err error) {
		caller, err = l.meet(near, in.Peer)
		return err
	})
	if err != nil {
		return err
	}
	if err := l.Authorise(caller); err != nil {
		return err
	}
	if err := l.Record(); err != nil {
		return err
	}
	var far net.Conn
	err = l.Stage(event.StageForward, func() (err error) {
		e.Upstream = in.Address()
		far, err = l.reach(ctx, in.Dial)
		return err
	})
	if err != nil {
		return err
	}
	if in.NATS == nil {
		return l.Join(near, far)
	}
	l.Is(event.SideInbound, "nats")
	var broker net.Conn
	var client net.Conn
	err = l.Stage(event.StageAuthenticate, func() (err error) {
		client, broker, err = in.NATS.greet(ctx, l, near, far, caller)
		return err
	})
	if err != nil {
		return err
	}
	return l.Join(client, broker)
}

func (in *Inbound) shake(ctx context.Context, l *Link) (*secured, error) {
	ctx, cancel := context.WithTimeout(ctx, l.Bounds().Handshake)
	defer cancel()
	return secure(ctx, l.Client, tls.Server, in.TLS)
}

// meet finds out who is at the other end of a connection.
func (l *Link) meet(c *secured, peer Peer) (*proxy.Workload, error) {
	state := c.ConnectionState()
	l.note(&state)
	w, ended, err := peer(&state, l.Closer(CutIdentity))
	if err != nil {
		return nil, Refusal(proxy.KindUnauthenticated, "peer-refused", err.Error())
	}
	if ended != nil {
		l.OnEnd(ended)
	}
	if w == nil {
		return nil, Refusal(proxy.KindUnauthenticated, "no-identity", "the peer has shown no identity")
	}
	return w, nil
}

// note records what a handshake settled.
func (l *Link) note(state *tls.ConnectionState) {
	e := &l.Event
	e.TLSVersion, e.TLSCipher, e.TLSServer = versionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.ServerName
	if state.CurveID != 0 {
		e.TLSGroup = state.CurveID.String()
	}
}

func versionName(v uint16) string {
	switch v {
	case tls.VersionTLS13:
		return "1.3"
	case tls.VersionTLS12:
		return "1.2"
	}
	return tls.VersionName(v)
}

// reach dials once, within the bound.
func (l *Link) reach(ctx context.Context, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, l.Bounds().Dial)
	defer cancel()
	began := time.Now()
	l.Event.Attempts++
	c, err := dial(ctx)
	if err != nil {
		return nil, Refusal(proxy.KindUpstream, "unreachable", "the service does not take connections")
	}
	l.Event.UpstreamTook = time.Since(began)
	if err := l.Hold(c); err != nil {
		return nil, Refusal(proxy.KindUpstream, "unreachable", "the connection was cut meanwhile")
	}
	return c, nil
}
