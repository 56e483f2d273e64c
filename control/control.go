// Package control holds a fleet's model and its authority. It enrols proxies, gives each the slice of the model that it
// needs, signed, over watched keys, with whom to trust, what is revoked and where its callees are; hears back what
// became of it; puts a changed model on a few proxies first and takes it back if they fare worse; and answers
// administrators. Several controls may run over one store: one of them leads. It sees no traffic: proxies go on
// without it (control/client).
package control

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/federation"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/revocation"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/model"
)

// Control is one of the controls of a fleet.
type Control struct {
	o         Options
	log       *slog.Logger
	domain    workload.TrustDomain
	self      workload.ID
	vault     vault
	authority *authority.Authority
	live      peer.Live
	verifier  *peer.Verifier
	own       own                              // our SVID
	issued    atomic.Pointer[workload.Bundles] // by another issuer
	sealer    *wire.Sealer
	keys      [][]byte // PKIX of the key that signs statements
	opener    []keyOf
	desk      *desk
	federated *federation.Poller // nil: with nobody
	questions questions
	strangers strangers
	denials   strangers // administrators without the role; their attempts are rows of the truth
	counts    counts

	fleet   atomic.Pointer[fleet] // in force; nil: no model yet
	leading atomic.Pointer[leader]
	news    nudge // something in the store has changed

	server    *bus.Server // nil with an external cluster
	bus       *bus.Client
	system    *bus.Client
	link      atomic.Pointer[bus.Client] // bus, once it has been reached
	busURLs   []string
	listening string
}

// New checks options and builds a control, which works while Run does.
func New(o Options) (*Control, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("making a control: %w", err)
	}
	self, err := workload.ParseID(model.ControlID(o.Domain))
	if err != nil {
		return nil, fmt.Errorf("making a control: %w", err)
	}
	c := &Control{
		o: o, log: o.Log.With("control", o.Name), domain: self.TrustDomain(), self: self,
		vault: vault{o.Store, o.Ring}, desk: newDesk(o.Store),
	}
	if c.o.Keys == nil {
		c.o.Keys = c.vault
	}
	c.verifier = peer.NewVerifier(&c.live)
	return c, nil
}

// Run serves until ctx ends and returns why it ended.
func (c *Control) Run(ctx context.Context) error {
	if err := c.open(ctx); err != nil {
		return fmt.Errorf("starting control: %w", err)
	}
	defer c.shut(context.WithoutCancel(ctx))
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.own.run(ctx) })
	failed := func(err error) error {
		stop()
		if late := g.Wait(); !errors.Is(late, context.Canceled) { // that is our stop, and must not hide why
			err = errors.Join(err, late)
		}
		return fmt.Errorf("starting control: %w", err)
	}
	err := c.own.wait(ctx, c.o.Issuer != nil)
	if err == nil {
		err = c.trust(ctx)
	}
	if err != nil {
		return failed(err)
	}
	g.Go(func() error { return c.followAuthority(ctx) })
	if c.federated != nil {
		g.Go(func() error { return c.federated.Run(ctx) })
	}
	if err := c.openBus(ctx, g); err != nil {
		return failed(err)
	}
	g.Go(func() error { return c.serveSign(ctx) })
	g.Go(func() error { return c.serveReports(ctx) })
	if c.o.Keep != nil {
		g.Go(func() error { return c.takeEvents(ctx) })
	}
	g.Go(func() error { return c.desk.run(ctx, c.several()) })
	g.Go(func() error { return c.followNews(ctx) })
	if err := c.listen(ctx, g); err != nil {
		return failed(err)
	}
	g.Go(func() error { return c.contend(ctx) }) // its name says where it listens
	if c.o.Ready != nil {
		c.o.Ready(c.listening)
	}
	err = g.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// several tells whether other controls may be there.
func (c *Control) several() bool { return len(c.o.Bus.URLs) > 0 }

// open brings keys, authority and model into memory.
func (c *Control) open(ctx context.Context) error {
	key, err := c.vault.Signer(ctx, "statements")
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encoding the key of statements: %w", err)
	}
	c.sealer, c.keys = wire.NewSealer(key), [][]byte{public}
	c.opener = []keyOf{key.Public()}
	if err := c.openAuthority(ctx); err != nil {
		return err
	}
	if c.o.Issuer != nil {
		c.own = newOwn(c.o.Issuer, c.self)
	} else {
		c.own = newOwn(workload.NewLocal(c.authority, ""), c.self)
	}
	if len(c.o.Federation) > 0 {
		c.federated, err = federation.NewPoller(federation.Config{
			Own: c.bundle, Relations: c.o.Federation, Keeper: c.o.Ring, Log: c.log,
		})
		if err != nil {
			return err
		}
	}
	if err := c.firstModel(ctx); err != nil {
		return err
	}
	c.o.Model = nil // the store has it; that of thousands of services is not kept twice
	return c.desk.load(ctx)
}

func (c *Control) openAuthority(ctx context.Context) (err error) {
	ttl := time.Duration(0)
	if m := c.o.Model; m != nil && m.Mesh != nil {
		ttl = m.Mesh.SVID.Lifetime.Std()
	}
	c.authority, err = authority.Open(ctx, authority.Config{
		TrustDomain: c.domain, Keys: c.o.Keys, Store: authorityStore{c.o.Store}, Parent: c.o.Parent, Log: c.log, X509TTL: ttl, Grace: c.o.Grace,
	})
	return err
}

// openBus starts our own server or finds the cluster's, and lets identities in.
func (c *Control) openBus(ctx context.Context, g *errgroup.Group) error {
	keys, err := c.vault.busKeys(ctx)
	if err != nil {
		return err
	}
	config := peer.ServerConfig(c.own.certificate, c.verifier, peer.AnyIn(c.domain))
	if !c.several() {
		c.server, err = bus.StartServer(ctx, bus.ServerOptions{
			Dir: c.o.Bus.Dir, Listen: c.o.Bus.Listen, TLS: config, Keys: keys, Log: c.log,
		})
		if errors.Is(err, bus.ErrListen) {
			return fmt.Errorf("mesh.control.bus.listen: %w; stop what listens there, or choose another port", err)
		}
		if err != nil {
			return err
		}
	}
	connect := func(role bus.Role) (*bus.Client, error) {
		o := bus.Options{Name: c.o.Name + "/" + string(role), Keys: keys, Role: role, Log: c.log}
		if c.server != nil {
			o.Server = c.server
		} else {
			o.URLs = c.o.Bus.URLs
			o.TLS = peer.ClientConfig(c.own.certificate, c.verifier, func(id workload.ID) bool { return wire.IsBus(c.o.Domain, id.String()) })
		}
		return bus.Connect(ctx, o)
	}
	callout, err := connect(bus.Callout)
	if err != nil {
		return err
	}
	if err := c.callout(ctx, g, keys, callout); err != nil {
		return err
	}
	if c.bus, err = connect(bus.Control); err != nil {
		return err
	}
	c.link.Store(c.bus)
	if c.system, err = connect(bus.System); err != nil {
		return err
	}
	if c.several() {
		operator := bus.NewOperator(c.system)
		if err := operator.CheckSync(ctx); errors.Is(err, bus.ErrUnsafe) {
			return err
		}
		g.Go(func() error { return operator.GuardSync(ctx) }) // of those that did not answer yet, too
	}
	g.Go(func() error { return bus.NewOperator(c.system).Guard(ctx, c.refused) })
	if c.busURLs = c.o.Bus.Advertise; len(c.busURLs) == 0 {
		if c.busURLs = c.o.Bus.URLs; c.server != nil {
			c.busURLs = []string{c.server.URL()}
		}
	}
	if _, err = c.bus.MakeBucket(ctx, bus.BucketOptions{Name: wire.Bucket, Replicas: c.o.Bus.Replicas}); err != nil {
		return err
	}
	g.Go(func() error { return bus.NewOperator(c.system).GuardWatches(ctx, c.bus, wire.Bucket) })
	return nil
}

// callout answers who may connect to the bus.
func (c *Control) callout(ctx context.Context, g *errgroup.Group, keys *bus.Keys, client *bus.Client) error {
	a, err := bus.NewAuthorizer(bus.CalloutOptions{
		Keys: keys, Log: c.log, Permit: c.permit,
		Certificate: func(chain []*x509.Certificate) (id, mark string, err error) {
			p, err := c.verifier.Verify(chain, peer.AsClient, time.Now())
			return p.ID.String(), markOf(p), err
		},
	})
	if err != nil {
		return err
	}
	g.Go(func() error {
		defer client.Close(context.WithoutCancel(ctx))
		return a.Run(ctx, client)
	})
	return nil
}

const closing = 2 * time.Second

// shut closes what Run opened.
func (c *Control) shut(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, closing)
	defer cancel()
	for _, client := range []*bus.Client{c.bus, c.system} {
		if client != nil {
			client.Close(ctx)
		}
	}
	if c.server != nil {
		c.server.Close()
	}
}

// permit says what an identity may do on the bus: nothing if the model does not know it, or if it is revoked.
func (c *Control) permit(id string) (bus.Permissions, bool) {
	f := c.fleet.Load()
	if f == nil || !f.has(id) || c.barred(id) {
		return bus.Permissions{}, false
	}
	p := wire.Permissions(id)
	if c.o.Permit != nil {
		p = p.Add(c.o.Permit(id))
	}
	return p, true
}

// barred tells whether an identity as a whole is revoked.
func (c *Control) barred(id string) bool {
	parsed, err := workload.ParseID(id)
	if err != nil {
		return false // a role of control
	}
	_, barred := c.authority.Revoked().Bars(parsed, "")
	return barred
}

// markOf is what connections to the bus bear of the SVID that they were made with: what a proxy reports of itself may be a lie.
func markOf(p peer.Peer) string { return fmt.Sprintf("%s/%d/%s", p.Serial, p.Begins.Unix(), p.Node) }

// refused tells whether a connection to the bus was made by what is revoked.
func (c *Control) refused(conn bus.Connection) bool {
	id, err := workload.ParseID(conn.ID)
	if err != nil {
		return false // a role of control
	}
	serial, rest, _ := strings.Cut(conn.Mark, "/")
	begins, node, _ := strings.Cut(rest, "/")
	seconds, err := strconv.ParseInt(begins, 10, 64)
	if err != nil {
		return true // none of ours
	}
	_, refused := c.authority.Revoked().Refuses(revocation.Subject{ID: id, Serial: serial, Node: node, Begins: time.Unix(seconds, 0)})
	return refused
}

// nudge wakes all who wait, without saying why.
type nudge struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait returns a channel that is closed at the next wake. Take it first, then look.
func (n *nudge) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *nudge) wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}

// Model returns the model in force; nil if there is none yet.
func (c *Control) Model() *model.Snapshot {
	if f := c.fleet.Load(); f != nil {
		return f.snap
	}
	return nil
}

// BusURLs are where proxies find the bus, once it answers (Options.Ready).
func (c *Control) BusURLs() []string { return c.busURLs }
