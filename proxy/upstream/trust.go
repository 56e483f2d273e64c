package upstream

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
)

// Trust tells the transports that share it, all of one identity, that what their connections over TLS rest on has
// changed. It is safe for concurrent use; the zero value is ready. Methods of a nil Trust do nothing.
type Trust struct {
	renewals atomic.Uint64

	mu     sync.Mutex
	checks uint64 // counts Recheck
	live   map[*guarded]struct{}
}

// Renew says that the client certificate was replaced. No further request is sent on connections that were made
// with the one before, and no session of them is resumed; those in flight end as they would have.
func (t *Trust) Renew() {
	if t != nil {
		t.renewals.Add(1)
	}
}

// Recheck says that VerifyConnection decides by other rules now, as when a peer was revoked. It is asked again about
// every connection, and those that it refuses are cut at once, whatever runs on them: also those whose peer has shown a
// certificate that has expired since. Recheck returns how many. Handshakes under way are checked by the new
// rules too.
func (t *Trust) Recheck() int {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	t.checks++
	all := make([]*guarded, 0, len(t.live))
	for g := range t.live {
		all = append(all, g)
	}
	t.mu.Unlock()
	cut := 0
	for _, g := range all {
		if g.verify(g.secure.ConnectionState()) != nil {
			_ = g.Close() // cutting it is all that matters
			cut++
		}
	}
	return cut
}

// renewal counts the certificates so far.
func (t *Trust) renewal() uint64 {
	if t == nil {
		return 0
	}
	return t.renewals.Load()
}

// begun counts the checks before a handshake.
func (t *Trust) begun() uint64 {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.checks
}

// guard makes c a connection that admit can take in.
func (t *Trust) guard(c net.Conn) net.Conn {
	if t == nil {
		return c
	}
	return &guarded{Conn: c, trust: t}
}

// admit takes a connection in whose handshake began after so many checks. It leaves at Close.
func (t *Trust) admit(bottom net.Conn, secure *tls.Conn, verify func(tls.ConnectionState) error, begun uint64) error {
	g, ok := bottom.(*guarded)
	if !ok || verify == nil {
		return nil
	}
	g.secure, g.verify = secure, verify
	t.mu.Lock()
	if t.live == nil {
		t.live = map[*guarded]struct{}{}
	}
	t.live[g] = struct{}{}
	missed := t.checks != begun
	t.mu.Unlock()
	if !missed {
		return nil
	}
	if err := verify(secure.ConnectionState()); err != nil {
		return fmt.Errorf("checking the service again: %w", err)
	}
	return nil
}

// guarded is a connection below TLS that its Trust can cut.
type guarded struct {
	net.Conn
	trust  *Trust
	secure *tls.Conn // set by admit
	verify func(tls.ConnectionState) error
}

func (g *guarded) Close() error {
	g.trust.mu.Lock()
	delete(g.trust.live, g)
	g.trust.mu.Unlock()
	return g.Conn.Close()
}

// SyscallConn lets the pool ask the socket whether it is silent.
func (g *guarded) SyscallConn() (syscall.RawConn, error) {
	if s, ok := g.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// sessionConfig resumes sessions of one certificate only: the server goes by the certificate that a session began
// with. A ticket may come on an old connection when there is a new certificate already, so that the connection
// must say whose it is.
type sessionConfig struct {
	renewal uint64
	conf    *tls.Config
}

func (d *dialer) config(renewal uint64) *tls.Config {
	if d.tls.ClientSessionCache == nil {
		return d.tls
	}
	if s := d.sessions.Load(); s != nil && s.renewal == renewal {
		return s.conf
	}
	s := &sessionConfig{renewal: renewal, conf: d.tls.Clone()}
	s.conf.ClientSessionCache = sessionsOf{d.tls.ClientSessionCache, strconv.FormatUint(renewal, 10) + " "}
	d.sessions.Store(s)
	return s.conf
}

// sessionsOf are the sessions of one certificate in a cache of many.
type sessionsOf struct {
	cache  tls.ClientSessionCache
	prefix string
}

func (s sessionsOf) Get(key string) (*tls.ClientSessionState, bool) {
	return s.cache.Get(s.prefix + key)
}

func (s sessionsOf) Put(key string, state *tls.ClientSessionState) { s.cache.Put(s.prefix+key, state) }
