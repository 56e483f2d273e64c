package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/proxy/listen"
)

// The bounds of what strangers can bring into the record: for each reason and address one event in a while, and one more that
// tells how many were left out, for so many of those; all others share one.
const (
	refusalsEvery = time.Minute
	refusalsQuiet = time.Second // after the last of a sort, what was left out of it is told
	mostRefused   = 256
)

// Reasons for which a connection is refused beside those of peer.
const (
	reasonNoTLS     = "no_tls"           // what came is no handshake
	reasonNoHTTP    = "no_http"          // the own service said something else, or nothing, where it calls one that speaks HTTP
	reasonDistrust  = "refused_by_peer"  // the other side does not want to talk to us, and says so
	reasonHandshake = "handshake_failed" // anything else
)

// refusals makes events of connections that a sidecar refuses, few enough that nobody can fill the record with them. It is
// safe for concurrent use.
type refusals struct {
	proxy  string
	record func(context.Context, *event.Event)
	more   chan struct{} // capacity 1: something was left out

	mu    sync.Mutex
	seen  map[refused]*lately
	swept time.Time
}

func newRefusals(proxy string, record func(context.Context, *event.Event)) *refusals {
	return &refusals{proxy: proxy, record: record, more: make(chan struct{}, 1), seen: map[refused]*lately{}}
}

// refused is what counts as the same.
type refused struct{ reason, client string }

// lately is what was refused of one sort.
type lately struct {
	recorded time.Time // the last that has an event of its own
	told     time.Time // how many have not
	omitted  int64     // since either
	last     event.Event
}

// add takes a connection that was refused. It does not wait for the disk: acts of this kind are only handed over.
func (r *refusals) add(ctx context.Context, remote net.Addr, err error) {
	a := refusalOf(err)
	if a == nil {
		return
	}
	a.Proxy = r.proxy
	e := &event.Event{Time: time.Now(), Client: "unix socket", Act: a}
	if at, ok := remote.(*net.TCPAddr); ok {
		e.Client, e.ClientPort = at.AddrPort().Addr().Unmap().WithZone("").String(), at.Port
	}
	if r.due(e) {
		r.record(ctx, e)
		return
	}
	select {
	case r.more <- struct{}{}:
	default: // it is known
	}
}

// due tells whether e is recorded, and writes into it how many like it were not.
func (r *refusals) due(e *event.Event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	of := refused{e.Act.Reason, e.Client}
	if r.seen[of] == nil && len(r.seen) >= mostRefused {
		if e.Time.Sub(r.swept) >= refusalsQuiet { // a flood does not pay for it each time
			r.swept = e.Time
			maps.DeleteFunc(r.seen, func(_ refused, at *lately) bool { return at.omitted == 0 && e.Time.Sub(at.recorded) >= refusalsEvery })
		}
		if len(r.seen) >= mostRefused {
			of = refused{}
		}
	}
	at := r.seen[of]
	switch {
	case at == nil:
		at = &lately{}
		r.seen[of] = at
	case e.Time.Sub(at.recorded) < refusalsEvery:
		at.omitted++
		at.last = *e
		return false
	}
	e.Act.Omitted, at.omitted, at.recorded = at.omitted, 0, e.Time
	return true
}

// run tells what was left out, once it is quiet, until ctx ends, and then what is left of it.
func (r *refusals) run(ctx context.Context) {
	for {
		select {
		case <-r.more:
		case <-ctx.Done():
			r.tell(ctx, true)
			return
		}
		for r.tell(ctx, false) && ctx.Err() == nil {
			wait := time.NewTimer(refusalsQuiet)
			select {
			case <-wait.C:
			case <-ctx.Done():
			}
			wait.Stop()
		}
	}
}

// tell records how many were left out of each sort that is quiet, or of all, and reports whether others are waiting.
func (r *refusals) tell(ctx context.Context, all bool) (left bool) {
	var due []event.Event
	r.mu.Lock()
	now := time.Now()
	for _, at := range r.seen {
		switch {
		case at.omitted == 0:
		case all || now.Sub(at.last.Time) >= refusalsQuiet && now.Sub(at.told) >= refusalsEvery:
			e := at.last // stands for itself and for the others
			e.Act.Omitted, at.omitted, at.told = at.omitted-1, 0, now
			due = append(due, e)
		default:
			left = true
		}
	}
	r.mu.Unlock()
	for i := range due {
		r.record(ctx, &due[i])
	}
	return left
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
	case errors.Is(err, listen.ErrNoRequest):
		a.Reason = reasonNoHTTP
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
