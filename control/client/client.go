// Package client is the proxies' side of control: it enrols, renews the proxy's identity, takes what control says after
// verifying it, reports what became of it, and keeps all of it sealed on disk, so that a proxy starts and serves with
// control away. It decides nothing about calls; what it is given to compile does.
package client

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
)

// Client is one proxy's way to control. It is safe for concurrent use.
type Client struct {
	o          Options
	log        *slog.Logger
	id         workload.ID
	instance   string
	process    string // secret: proves to control that it is this process which asks again
	started    time.Time
	live       peer.Live
	verifier   *peer.Verifier
	source     Source
	foreign    *foreign // source, if another issuer gives our identity; else nil
	own        atomic.Pointer[workload.SVID]
	refused    atomic.Bool  // our identity is revoked, as far as we know
	contact    atomic.Int64 // when control was last heard of, in nanoseconds since 1970
	link       atomic.Pointer[bus.Client]
	report     chan struct{} // capacity 1: report now
	reconsider chan struct{} // capacity 1: look now whether the SVID has expired

	taking sync.Mutex // held while something control says is taken

	mu      sync.Mutex // guards what follows
	keys    []crypto.PublicKey
	bundles *workload.Bundles
	changed chan struct{} // closed when bundles are replaced
	busURLs []string
	moved   chan struct{} // closed when busURLs are replaced
	orders  map[wire.Kind]wire.Order
	in      state // of the slice
	stale   string
	cut     uint64
	notes   []wire.Note
	noted   uint64
	number  uint64
	last    string // why we are not enrolled
	joined  bool   // the join token has been used
	lost    time.Time
	back    time.Time // when control was heard of again, after an absence that began when it was lost
}

// state is how the proxy stands with its slice.
type state struct {
	version  string // in force
	made     time.Time
	mode     string // mesh.stale
	accepted bool
	reason   string
}

// Open is New and Load.
func Open(ctx context.Context, o Options) (*Client, error) {
	c, err := New(o)
	if err != nil {
		return nil, err
	}
	return c, c.Load(ctx)
}

// New builds a client, to be loaded and then run.
func New(o Options) (*Client, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("opening the way to control: %w", err)
	}
	id, err := workload.ParseID("spiffe://" + o.Domain + "/" + o.Name)
	if err != nil {
		return nil, fmt.Errorf("opening the way to control: %w", err)
	}
	c := &Client{
		o: o, log: o.Log.With("proxy", id.String()), id: id, instance: o.instance(), process: rand.Text(), started: time.Now(),
		report: make(chan struct{}, 1), reconsider: make(chan struct{}, 1),
		changed: make(chan struct{}), moved: make(chan struct{}), orders: map[wire.Kind]wire.Order{},
	}
	c.in.mode = staleStop
	c.verifier = peer.NewVerifier(&c.live)
	if o.Issuer != nil {
		c.foreign = newForeign(c, o.Issuer)
		c.source = c.foreign
	} else {
		c.source = workload.NewRenewer(signer{c})
	}
	return c, nil
}

// Load loads what was kept, and puts the last good slice in force before it returns. That there is nothing yet is no
// error: Run enrols.
func (c *Client) Load(ctx context.Context) error {
	if err := c.load(ctx); err != nil {
		return fmt.Errorf("opening the way to control: %w", err)
	}
	return nil
}

// ID is the proxy's SPIFFE ID.
func (c *Client) ID() workload.ID { return c.id }

// Instance is the name of this process among those of its identity.
func (c *Client) Instance() string { return c.instance }

// Live holds the connections that a revocation must cut: track them there.
func (c *Client) Live() *peer.Live { return &c.live }

// Verifier verifies peers by what control says.
func (c *Client) Verifier() *peer.Verifier { return c.verifier }

// Source gives the proxy's identity to it and, through a workload.Server, to its service.
func (c *Client) Source() Source { return c.source }

// Certificate is the identity that TLS shows (peer.Identity): also one that has expired, if the model says to serve on.
func (c *Client) Certificate() (*tls.Certificate, error) {
	svid := c.own.Load()
	switch {
	case c.refused.Load():
		return nil, errRevoked
	case svid == nil:
		return nil, errNoIdentity
	}
	if !time.Now().Before(svid.Chain[0].NotAfter) && c.mode() != staleServe {
		return nil, errExpired
	}
	return shown(svid), nil
}

// shown is an SVID as TLS shows it.
func shown(svid *workload.SVID) *tls.Certificate {
	cert := &tls.Certificate{PrivateKey: svid.Key, Leaf: svid.Chain[0]}
	for _, one := range svid.Chain {
		cert.Certificate = append(cert.Certificate, one.Raw)
	}
	return cert
}

// An unidentified proxy cannot connect to others. ReasonCode is how the record of a call says why.
type unidentified struct{ code, text string }

func (e *unidentified) Error() string      { return e.text }
func (e *unidentified) ReasonCode() string { return e.code }

var (
	errNoIdentity error = &unidentified{"own-identity-missing", "no identity yet"}
	errExpired    error = &unidentified{"own-identity-expired", "our own identity has expired"}
	errRevoked    error = &unidentified{"own-identity-revoked", "our own identity is revoked"}
)

// wear takes an SVID into use.
func (c *Client) wear(svid *workload.SVID) {
	lapsed := c.expired()
	c.own.Store(svid)
	c.refused.Store(false)
	if link := c.link.Load(); link != nil && lapsed {
		link.Hurry()
	}
}

// shed gives our SVID up: it is denied.
func (c *Client) shed() {
	c.refused.Store(true)
	c.own.Store(nil)
}

// Ready tells why the proxy should get no calls, if so.
func (c *Client) Ready() error {
	if c.own.Load() == nil {
		return errNoIdentity
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.in.version == "":
		return errors.New("control has not said yet what to serve")
	case c.stale == staleStop:
		return errExpired
	}
	return nil
}

// Run keeps identity, trust and slice up to date until ctx ends, and then says goodbye.
func (c *Client) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.source.Run(ctx) })
	g.Go(func() error { return c.hold(ctx) })
	g.Go(func() error { return c.follow(ctx) })
	g.Go(func() error { return c.reports(ctx) })
	g.Go(func() error { return c.watchExpiry(ctx) })
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// hold keeps asking for our identity, so that it is renewed, and after a denial asks again.
func (c *Client) hold(ctx context.Context) error {
	pauses, said := time.Second, reminder{}
	for {
		_, changed, err := c.source.X509SVID(ctx, c.id)
		if err == nil {
			pauses, said = time.Second, reminder{}
			c.Report()
			c.poke(c.reconsider)
		} else if ctx.Err() == nil && said.due(err.Error(), time.Now()) { // for it is asked again and again
			c.log.WarnContext(ctx, "no identity", "error", err)
		}
		var again <-chan time.Time
		var timer *time.Timer
		if err != nil {
			timer = time.NewTimer(pauses)
			again, pauses = timer.C, min(2*pauses, maxPause)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-again:
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

const maxPause = time.Minute

// reminder says when something is to be logged that goes on: at once, and then after growing pauses.
type reminder struct {
	text  string
	next  time.Time
	pause time.Duration
}

const (
	firstReminder = time.Minute
	lastReminder  = time.Hour
)

// due tells whether a text is to be logged now. Another one always is.
func (r *reminder) due(text string, now time.Time) bool {
	if text == r.text && now.Before(r.next) {
		return false
	}
	if text != r.text {
		r.pause = firstReminder
	} else {
		r.pause = min(2*r.pause, lastReminder)
	}
	r.text, r.next = text, now.Add(r.pause)
	return true
}

func (c *Client) poke(flag chan struct{}) {
	select {
	case flag <- struct{}{}:
	default:
	}
}

// unpoke takes back a poke: what it was for is about to be done.
func (c *Client) unpoke(flag chan struct{}) {
	select {
	case <-flag:
	default:
	}
}

// heard notes that control has answered.
func (c *Client) heard() {
	now := time.Now()
	before := time.Unix(0, c.contact.Swap(now.UnixNano()))
	if before.Unix() == 0 || now.Sub(before) < absence {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost, c.back = before, now
}

const (
	absence    = time.Minute     // without a word, after which control was away
	comingBack = 5 * time.Minute // that it takes all to get another SVID when it is back
)

// forgiven is the moment at which the SVIDs of peers must have been valid that we take under stale: serve. When control is back, those
// who have asked for another sooner must not refuse those whom it has told to wait.
func (c *Client) forgiven() time.Time {
	last := c.lastContact()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.back.IsZero() && time.Since(c.back) < comingBack {
		return c.lost
	}
	return last
}

// lastContact is when the issuer was last heard of. Who was given an SVID has heard of it then.
func (c *Client) lastContact() time.Time {
	if c.foreign != nil {
		return c.dueFrom()
	}
	at := time.Unix(0, c.contact.Load())
	if svid := c.own.Load(); svid != nil {
		if issued := svid.Chain[0].NotBefore.Add(authority.Backdate); issued.After(at) {
			return issued
		}
	}
	return at
}

// dueFrom is when another issuer should have renewed our SVID, at half of its life. Until then we have heard of it all the time.
func (c *Client) dueFrom() time.Time {
	svid := c.own.Load()
	if svid == nil {
		return time.Time{}
	}
	begins, ends := svid.Chain[0].NotBefore, svid.Chain[0].NotAfter
	return begins.Add(ends.Sub(begins) / 2)
}

// introduced tells whether we know how control signs and where its bus is.
func (c *Client) introduced() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.keys) > 0 && len(c.busURLs) > 0
}

// connected tells whether control is heard over the bus.
func (c *Client) connected() bool {
	link := c.link.Load()
	return link != nil && link.Connected()
}

// follow holds a connection to the bus and takes what control says, until ctx ends.
func (c *Client) follow(ctx context.Context) error {
	for ctx.Err() == nil {
		c.mu.Lock()
		urls, moved := c.busURLs, c.moved
		c.mu.Unlock()
		if len(urls) == 0 || c.expired() {
			c.wait(ctx, moved)
			continue
		}
		if err := c.attend(ctx, urls, moved); ctx.Err() == nil {
			c.log.WarnContext(ctx, "bus not followed", "error", err)
		}
	}
	return nil
}

// wait returns at the next change, or after a while.
func (c *Client) wait(ctx context.Context, moved <-chan struct{}) {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-moved:
	case <-timer.C:
	}
}

// attend follows one bus until its addresses change.
func (c *Client) attend(ctx context.Context, urls []string, moved <-chan struct{}) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		select {
		case <-moved:
			return errMoved
		case <-ctx.Done():
			return nil
		}
	})
	g.Go(func() error {
		client, err := bus.Connect(ctx, bus.Options{
			Name: c.instance, URLs: urls, ID: c.id.String(), Log: c.log, Dial: c.dialBus,
			TLS: peer.ClientConfig(c.Certificate, c.verifier, func(id workload.ID) bool { return wire.IsBus(c.o.Domain, id.String()) }),
		})
		if err != nil {
			return err
		}
		c.link.Store(client)
		c.Report()
		defer func() {
			c.link.CompareAndSwap(client, nil)
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
			defer cancel()
			client.Close(ending)
		}()
		w, ctx := errgroup.WithContext(ctx)
		bucket := client.Bucket(wire.Bucket)
		for _, pattern := range []string{wire.ForAll, wire.ForOne(c.id.String())} {
			w.Go(func() error {
				return bucket.Watch(ctx, pattern, func(changes []bus.Change) {
					for _, change := range changes {
						c.take(ctx, change)
					}
				})
			})
		}
		return w.Wait()
	})
	return g.Wait()
}

// expired tells whether there is no SVID that is valid now.
func (c *Client) expired() bool {
	own := c.own.Load()
	return own == nil || !time.Now().Before(own.Chain[0].NotAfter)
}

// dialBus reaches a server of the bus. With an SVID that has ended it would be refused: thousands who tried all the same would keep it
// from those it can serve.
func (c *Client) dialBus(network, address string) (net.Conn, error) {
	if c.expired() {
		return nil, errExpired
	}
	return (&net.Dialer{Timeout: dialTime}).Dial(network, address)
}

var errMoved = errors.New("the bus is found elsewhere")

const closing = 2 * time.Second
