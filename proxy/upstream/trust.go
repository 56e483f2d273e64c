package upstream

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
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
// rules too. It is asked once about all connections of one transport whose peers have shown the same chain: it costs a quarter
// of a millisecond.
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
	asked := map[chain]error{}
	for _, g := range all {
		state := g.secure.ConnectionState()
		key := chain{g.dialer, digest(state.PeerCertificates)}
		err, known := asked[key]
		if !known {
			err = g.verify(state)
			asked[key] = err
		}
		if err != nil {
			g.cause.Store(&err)
			_ = g.Close() // cutting it is all that matters
			cut++
		}
	}
	return cut
}

// chain is what the answer of VerifyConnection depends on: whose it is, and what the peer has shown.
type chain struct {
	dialer *dialer
	digest [sha256.Size]byte
}

func digest(shown []*x509.Certificate) [sha256.Size]byte {
	h := sha256.New()
	for _, c := range shown { // DER says where each ends
		h.Write(c.Raw)
	}
	return [sha256.Size]byte(h.Sum(nil))
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
func (t *Trust) admit(bottom net.Conn, secure *tls.Conn, d *dialer, begun uint64) error {
	verify := d.tls.VerifyConnection
	g, ok := bottom.(*guarded)
	if !ok || verify == nil {
		return nil
	}
	g.secure, g.verify, g.dialer = secure, verify, d
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
	dialer *dialer
	cause  atomic.Pointer[error] // why it was cut
}

// Read tells what the connection was cut for to whoever waits for an answer on it.
func (g *guarded) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if err != nil {
		if cause := g.cause.Load(); cause != nil {
			err = *cause
		}
	}
	return n, err
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
