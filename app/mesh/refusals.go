package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/identity/peer"
)

// The bounds of what strangers can bring into the record: for each reason and address one event in a while, for so many of
// those; all others share one.
const (
	refusalsEvery = time.Minute
	mostRefused   = 256
)

// Reasons for which a connection is refused beside those of peer.
const (
	reasonNoTLS     = "no_tls"           // what came is no handshake
	reasonDistrust  = "refused_by_peer"  // the other side does not want to talk to us, and says so
	reasonHandshake = "handshake_failed" // anything else
)

// refusals makes events of connections that a sidecar refuses, few enough that nobody can fill the record with them. It is
// safe for concurrent use.
type refusals struct {
	proxy  string
	record func(context.Context, *event.Event)

	mu   sync.Mutex
	seen map[refused]*lately
	left int64 // not recorded, and no longer in seen
}

// refused is what counts as the same.
type refused struct{ reason, client string }

type lately struct {
	recorded time.Time
	omitted  int64
}

// add takes a connection that was refused. It does not wait for the disk: acts of this kind are only handed over.
func (r *refusals) add(ctx context.Context, remote net.Addr, err error) {
	a := refusalOf(err)
	if a == nil {
		return
	}
	e := &event.Event{Client: "unix socket", Act: a}
	if at, ok := remote.(*net.TCPAddr); ok {
		e.Client, e.ClientPort = at.AddrPort().Addr().Unmap().WithZone("").String(), at.Port
	}
	now := time.Now()
	omitted, due := r.due(refused{a.Reason, e.Client}, now)
	if !due {
		return
	}
	e.Time = now
	a.Proxy, a.Omitted = r.proxy, omitted
	r.record(ctx, e)
}

// due tells whether the next of a sort is recorded, and how many were not since the last one that was.
func (r *refusals) due(of refused, now time.Time) (omitted int64, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[refused]*lately{}
	}
	if r.seen[of] == nil && len(r.seen) >= mostRefused {
		r.sweep(now)
		if len(r.seen) >= mostRefused {
			of = refused{}
		}
	}
	at := r.seen[of]
	switch {
	case at == nil:
		at = &lately{}
		r.seen[of] = at
	case now.Sub(at.recorded) < refusalsEvery:
		at.omitted++
		return 0, false
	}
	omitted = at.omitted + r.left
	at.recorded, at.omitted, r.left = now, 0, 0
	return omitted, true
}

// sweep forgets what was recorded long ago, but not how many have come since.
func (r *refusals) sweep(now time.Time) {
	for of, at := range r.seen {
		if now.Sub(at.recorded) >= refusalsEvery {
			r.left += at.omitted
			delete(r.seen, of)
		}
	}
}

// refusalOf says why a connection was refused; nil if it just ended, which says nothing about anybody.
func refusalOf(err error) *event.Act {
	a := &event.Act{Kind: event.KindRefused, Outcome: event.Denied, Text: err.Error()}
	var refusal *peer.Refusal
	var told *net.OpError
	switch {
	case errors.As(err, &refusal):
		a.Reason, a.Text = string(refusal.Reason), refusal.Text
		switch {
		case refusal.Reason == peer.Revoked || refusal.Reason == peer.Unexpected:
			a.Who = refusal.Peer
		case refusal.Peer != "":
			a.Text = "it claims to be " + refusal.Peer + ", which is not to be believed: " + refusal.Text
		}
	case strings.Contains(err.Error(), noCertificate):
		a.Reason = string(peer.NoCertificate)
	case errors.As(err, new(tls.RecordHeaderError)):
		a.Reason = reasonNoTLS
	case errors.As(err, &told) && told.Op == "remote error":
		a.Reason = reasonDistrust
	case strings.HasPrefix(err.Error(), "tls: "):
		a.Reason = reasonHandshake
	default:
		return nil
	}
	return a
}

// noCertificate is what crypto/tls says, in no other form, of a client that shows none.
const noCertificate = "client didn't provide a certificate"
