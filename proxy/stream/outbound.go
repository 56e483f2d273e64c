package stream

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/proxy"
)

// Outbound carries connections of the service behind this sidecar to one other service. Rules.Callers says whether it
// may: a sidecar asks about its own service, so that a call that nobody declared ends before it begins.
type Outbound struct {
	Service string          // that is called, as recorded
	Host    string          // what the service behind this sidecar calls it, as host:port
	Self    *proxy.Workload // the service behind this sidecar
	TLS     *tls.Config     // shows the own SVID, and takes that of the called service alone
	Peer    Peer            // asked about the sidecar that is reached; nil: the handshake says all
	Balance *Balance        // where its sidecars are
	Dial    func(ctx context.Context, address string) (net.Conn, error)
}

// Carry is that of Carrier.
func (out *Outbound) Carry(ctx context.Context, l *Link) error {
	e := &l.Event
	e.Service, e.Host = out.Service, out.Host
	l.Is(event.SideOutbound, "tcp")
	if err := l.Authorise(out.Self); err != nil {
		return err
	}
	if err := l.Record(); err != nil {
		return err
	}
	var far net.Conn
	err := l.Stage(event.StageForward, func() (err error) {
		far, err = out.reach(ctx, l)
		return err
	})
	if err != nil {
		return err
	}
	return l.Join(l.Client, far)
}

// mostAttempts is how many addresses are tried for one connection.
const mostAttempts = 8

// reach connects to one of the sidecars: the one with the fewest connections, then the others.
func (out *Outbound) reach(ctx context.Context, l *Link) (net.Conn, error) {
	var tried []string
	began := time.Now()
	last := Refusal(proxy.KindUpstream, "no-address", "no sidecar of the service is known")
	for len(tried) < mostAttempts {
		at, done := out.Balance.pick(tried)
		if done == nil {
			break
		}
		tried = append(tried, at)
		l.Event.Attempts++
		c, err := out.connect(ctx, l, at)
		done(err == nil)
		if err == nil {
			l.OnEnd(func() { out.Balance.leave(at) })
			l.Event.Upstream, l.Event.UpstreamTook = at, time.Since(began)
			return c, nil
		}
		last = err
		if ctx.Err() != nil {
			break
		}
	}
	return nil, last
}

func (out *Outbound) connect(ctx context.Context, l *Link, at string) (net.Conn, *proxy.Denial) {
	ctx, cancel := context.WithTimeout(ctx, l.Bounds().Dial)
	defer cancel()
	plain, err := out.Dial(ctx, at)
	if code := proxy.CodeOf(err); code != "" {
		return nil, Refusal(proxy.KindUpstream, code, err.Error())
	}
	if err != nil {
		return nil, Refusal(proxy.KindUpstream, "unreachable", "the sidecar does not take connections")
	}
	if l.Hold(plain) != nil {
		return nil, Refusal(proxy.KindUpstream, "unreachable", "the connection was cut meanwhile")
	}
	c, err := secure(ctx, plain, tls.Client, out.TLS)
	if err != nil {
		abort(plain)
		if code := proxy.CodeOf(err); code != "" {
			return nil, Refusal(proxy.KindUpstream, code, err.Error())
		}
		return nil, Refusal(proxy.KindUpstream, "handshake-failed", "the sidecar did not prove that it is the service's, or did not take our identity")
	}
	state := c.ConnectionState()
	l.note(&state)
	if out.Peer == nil {
		return c, nil
	}
	_, ended, err := out.Peer(&state, l.Closer(CutIdentity))
	if err != nil {
		abort(plain)
		return nil, Refusal(proxy.KindUpstream, cmp.Or(proxy.CodeOf(err), "peer-refused"), err.Error())
	}
	if ended != nil {
		l.OnEnd(ended)
	}
	return c, nil
}
