// Package egress lets a service reach the hosts outside the fleet that it declares, and no others. A host over TLS is
// recognised by the name in the client's first message, one over plain HTTP by the Host of its first request, which
// every later one must name too, any other by its address; bytes pass unchanged. The name is resolved here, every address
// is checked, and the connection goes to the address that was checked. Requests that policies decide about, or that must be
// looked into further than to their Host, go through package engine.
package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/listen/h1"
	"github.com/palisade-security/palisade/proxy/stream"
)

// The ways to recognise a host, as in the model.
const (
	byTLS  = "tls"
	byHTTP = "http"
	byTCP  = "tcp"
)

// Wanted is where a client meant to connect.
type Wanted struct {
	Host string // a declared name, or the address that it dialled; empty: not known
	Port int
}

// Fixed is for a listener of one destination.
func Fixed(host string, port int) func(net.Conn) (Wanted, error) {
	return func(net.Conn) (Wanted, error) { return Wanted{Host: host, Port: port}, nil }
}

// Options describe the way out of one service.
type Options struct {
	Self   *proxy.Workload                  // the service behind this sidecar
	Wanted func(c net.Conn) (Wanted, error) // of a connection that was captured: its original destination
	Names  *Names                           // nil: the operating system's resolver
	Dial   func(ctx context.Context, address string) (net.Conn, error)
}

// Egress is the Carrier of connections to the outside. It is safe for concurrent use.
type Egress struct {
	o     Options
	hosts atomic.Pointer[[]model.Egress]
}

// New returns an Egress that lets nothing out until Declare.
func New(o Options) *Egress {
	if o.Names == nil {
		o.Names = NewNames(nil)
	}
	if o.Dial == nil {
		var d net.Dialer
		d.SetMultipathTCP(false) // MPTCP sockets escape eBPF socket maps
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
	}
	e := &Egress{o: o}
	e.hosts.Store(&[]model.Egress{})
	return e
}

// Declare makes hosts, with their defaults filled in, those that may be reached. Server.Recheck cuts connections to
// others.
func (e *Egress) Declare(hosts []model.Egress) { e.hosts.Store(&hosts) }

// declares returns the host that goes by that name, port and protocol; an empty name or protocol is any.
func (e *Egress) declares(name string, port int, protocol string) *model.Egress {
	for i := range *e.hosts.Load() {
		h := &(*e.hosts.Load())[i]
		if h.Port == port && (name == "" || h.Host == name) && (protocol == "" || h.Protocol == protocol) {
			return h
		}
	}
	return nil
}

// Carry is that of stream.Carrier.
func (e *Egress) Carry(ctx context.Context, l *stream.Link) error {
	if e.o.Self != nil {
		l.Event.Workload = e.o.Self.SPIFFEID
	}
	l.Is(event.SideEgress, byTCP)
	wanted, err := e.o.Wanted(l.Client)
	if err != nil {
		return fmt.Errorf("finding where it was meant to go: %w", err)
	}
	wanted.Host = strings.ToLower(wanted.Host)
	l.Event.Host = net.JoinHostPort(wanted.Host, strconv.Itoa(wanted.Port))
	m, err := e.recognise(ctx, l, wanted)
	if err != nil {
		return err
	}
	host := m.host
	l.Depend(func(*stream.Rules) bool { return e.declares(host.Host, host.Port, host.Protocol) != nil })
	if err := l.Count(e.o.Self); err != nil {
		return err
	}
	addresses, err := e.resolve(ctx, l, host, wanted)
	if err != nil {
		return err
	}
	if err := l.Record(); err != nil {
		return err
	}
	var far net.Conn
	err = l.Stage(event.StageForward, func() (err error) {
		far, err = e.reach(ctx, l, addresses, m.said)
		return err
	})
	if err != nil {
		return err
	}
	if m.first == nil {
		return l.Join(l.Client, far)
	}
	near := &asked{half: half{l.Client}, ctx: ctx, follow: h1.NewFollower(mostHead), held: m.heard, check: func(h *h1.Head) error { return e.ask(l, &host, h) }}
	if asksSwitch(m.first) {
		near.answer = newSwitching(far)
		far = near.answer
	}
	near.judge()
	return l.Join(near, far)
}

// meant is what a connection is for, and what its client has said until that was clear.
type meant struct {
	host  model.Egress
	said  []byte   // goes on as it is
	first *h1.Head // over HTTP: the first request
	heard []byte   // and all that was read with it
}

// ask decides about a request on a connection to a host, which must be for that host like the first one.
func (e *Egress) ask(l *stream.Link, host *model.Egress, h *h1.Head) error {
	path, query, _ := strings.Cut(h.Target, "?")
	a := &stream.Asked{Method: h.Method, Host: l.Event.Host, Path: path, Query: query, Proto: h.Proto, UserAgent: h.Header.Get("User-Agent")}
	name, err := requestHost(h, host.Port)
	if err == nil && name != host.Host {
		a.Host = net.JoinHostPort(name, strconv.Itoa(host.Port))
	}
	return l.Ask(a, func() ([]event.Reason, error) {
		on := []event.Reason{{Code: "declared-host", Text: "the connection is for this host", Data: map[string]string{"connection": l.Event.ID}}}
		switch {
		case err != nil:
			return nil, unclear(err)
		case name == host.Host:
			return on, nil
		case e.declares(name, host.Port, byHTTP) == nil:
			return nil, undeclared()
		}
		return nil, stream.Refusal(proxy.KindForbidden, "host-mismatch", "the request is for another host than the connection")
	})
}

func undeclared() *proxy.Denial {
	return stream.Refusal(proxy.KindForbidden, "call-not-declared", "the model declares no such host outside the fleet")
}

// recognise finds the declared host that a connection is for.
func (e *Egress) recognise(ctx context.Context, l *stream.Link, w Wanted) (m meant, err error) {
	name, protocol := "", byTCP
	declared := e.plain(ctx, w)
	if declared == nil && (e.declares("", w.Port, byTLS) != nil || e.declares("", w.Port, byHTTP) != nil) {
		err = l.Stage(event.StageCanonicalise, func() (err error) {
			name, protocol, err = e.peek(l, w, &m)
			return err
		})
		if err != nil {
			return m, err
		}
		l.Is(event.SideEgress, protocol)
		l.Event.Host = net.JoinHostPort(name, strconv.Itoa(w.Port))
		if protocol == byTLS {
			l.Event.TLSServer = name
		}
		declared = e.declares(name, w.Port, protocol)
	}
	err = l.Stage(event.StageAuthorise, func() error {
		switch {
		case declared == nil:
			return undeclared()
		case !mayMean(w.Host, declared.Host):
			return stream.Refusal(proxy.KindForbidden, "host-mismatch", "the client names another host than the one it connected to")
		}
		l.Note(event.Reason{Code: "declared-host", Text: "the model declares this host"})
		m.host = *declared
		return nil
	})
	return m, err
}

// mayMean reports whether who connected to wanted can mean the host: it is that name, or an address, which does not
// count, since the name is resolved again.
func mayMean(wanted, host string) bool {
	if wanted == "" || wanted == host {
		return true
	}
	_, err := netip.ParseAddr(wanted)
	return err == nil
}

// plain finds a host that is recognised by its address.
func (e *Egress) plain(ctx context.Context, w Wanted) *model.Egress {
	if w.Host == "" {
		return nil
	}
	if h := e.declares(w.Host, w.Port, byTCP); h != nil {
		return h
	}
	address, err := netip.ParseAddr(w.Host)
	if err != nil {
		return nil
	}
	for _, h := range *e.hosts.Load() {
		if h.Port != w.Port || h.Protocol != byTCP {
			continue
		}
		if found, err := e.o.Names.Lookup(ctx, h.Host); err == nil && contains(found, address) {
			return &h
		}
	}
	return nil
}

func contains(list []netip.Addr, a netip.Addr) bool {
	return slices.Contains(list, bare(a))
}

// peek reads what the client says first until it has named a host.
func (e *Egress) peek(l *stream.Link, w Wanted, m *meant) (name, protocol string, err error) {
	if err := l.Client.SetReadDeadline(time.Now().Add(l.Bounds().Handshake)); err != nil {
		return "", "", fmt.Errorf("bounding what is said first: %w", err)
	}
	tls, http := e.declares("", w.Port, byTLS) != nil, e.declares("", w.Port, byHTTP) != nil
	p := &peeker{src: l.Client}
	first, err := p.byte(0)
	switch {
	case err != nil:
	case tls && (first == recordHandshake || !http):
		protocol = byTLS
		name, err = serverName(p)
		m.said = p.buf
	default:
		protocol = byHTTP
		if m.first, err = firstHead(p); err == nil {
			name, err = requestHost(m.first, w.Port)
		}
		m.heard = p.buf
	}
	if err != nil {
		return "", "", unclear(err)
	}
	if err := l.Client.SetReadDeadline(time.Time{}); err != nil {
		return "", "", fmt.Errorf("ending the bound of what is said first: %w", err)
	}
	return name, protocol, nil
}

// unclear refuses a client that names no host in time, or not clearly.
func unclear(err error) error {
	if m, ok := errors.AsType[malformed](err); ok {
		return stream.Refusal(proxy.KindMalformed, "host-unclear", string(m))
	}
	return stream.Refusal(proxy.KindTimeout, "host-unsaid", "the client did not say which host it means")
}

// resolve returns the addresses that the connection may go to.
func (e *Egress) resolve(ctx context.Context, l *stream.Link, host model.Egress, w Wanted) (addresses []netip.AddrPort, err error) {
	err = l.Stage(event.StageResolve, func() error {
		ctx, cancel := context.WithTimeout(ctx, l.Bounds().Dial)
		defer cancel()
		found, err := e.o.Names.Lookup(ctx, host.Host)
		if err != nil {
			return err
		}
		dialled, err := netip.ParseAddr(w.Host)
		for _, a := range found {
			if host.Protocol == byTCP && err == nil && a != bare(dialled) {
				continue // it connected to one of several by itself
			}
			addresses = append(addresses, netip.AddrPortFrom(a, uint16(host.Port)))
		}
		return nil
	})
	return addresses, err
}

// reach connects to one of the addresses, and says what the client has said already.
func (e *Egress) reach(ctx context.Context, l *stream.Link, addresses []netip.AddrPort, said []byte) (net.Conn, error) {
	bound := l.Bounds().Dial
	began := time.Now()
	c, attempts := race(ctx, bound, addresses, e.o.Dial)
	l.Event.Attempts = attempts
	if c == nil {
		return nil, stream.Refusal(proxy.KindUpstream, "unreachable", "the host does not take connections")
	}
	l.Event.UpstreamTook, l.Event.Upstream = time.Since(began), c.at.String()
	if l.Hold(c.Conn) != nil {
		return nil, stream.Refusal(proxy.KindUpstream, "unreachable", "the connection was cut meanwhile")
	}
	if len(said) == 0 {
		return c.Conn, nil
	}
	err := c.SetWriteDeadline(time.Now().Add(bound))
	if err == nil {
		_, err = c.Write(said)
	}
	if err == nil {
		err = c.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		return nil, stream.Refusal(proxy.KindUpstream, "host-gone", "the host left before it heard anything")
	}
	l.Event.BytesIn = int64(len(said))
	return c.Conn, nil
}
