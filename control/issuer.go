package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/revocation"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/store/table"
)

// With another issuer (Options.Issuer) proxies have their SVIDs from a Workload API of their host, and control has its own from
// one. Our authority then signs nothing: it keeps what is revoked.

// issuerTime is how long another issuer may take at the start.
const issuerTime = 30 * time.Second

// errIssuedElsewhere refuses what needs an authority that signs.
var errIssuedElsewhere = &admin.Problem{
	Status: http.StatusConflict, Title: "another issuer",
	Detail: "another Workload API issues the identities of this fleet (mesh.issuer.workload_api): register the proxy there, and start it with --issuer unix:///PATH, the socket on its host",
}

// errIssuedHere refuses a proxy whose SVID is not ours to renew.
var errIssuedHere = &admin.Problem{
	Status: http.StatusConflict, Title: "no other issuer",
	Detail: "control issues the identities of this fleet itself: start the proxy without --issuer, with a join token; or declare mesh.issuer.workload_api",
}

// errNoNodes refuses to revoke by what SVIDs of others do not say.
var errNoNodes = fmt.Errorf("%w: SVIDs of another issuer (mesh.issuer.workload_api) do not name the node they are on; revoke service/NAME or serial/HEXADECIMAL", errWrong)

// bundle is what SVIDs of our trust domain are verified with. Nobody asks before there is one.
func (c *Control) bundle() *workload.SPIFFEBundle {
	if c.o.Issuer == nil {
		return c.authority.Bundle()
	}
	return c.issued.Load().OwnBundle()
}

// trust takes over the bundle of our trust domain and what is revoked.
func (c *Control) trust(ctx context.Context) error {
	if c.o.Issuer != nil {
		b, _, err := c.o.Issuer.Bundles(ctx)
		if err != nil {
			return err
		}
		c.issued.Store(b)
	}
	t, err := peer.NewTrust(c.bundle())
	if err != nil {
		return err
	}
	c.verifier.SetTrust(t)
	if _, err := c.live.Deny(c.authority.Revoked()); err != nil && !errors.Is(err, peer.ErrOld) {
		return err
	}
	return nil
}

// replaced is closed when another issuer has something new; nil: there is none.
func (c *Control) replaced(ctx context.Context) <-chan struct{} {
	if c.o.Issuer == nil {
		return nil
	}
	_, changed, _ := c.o.Issuer.Bundles(ctx) // whoever takes it over says what is wrong
	return changed
}

// followAuthority keeps trust up to date.
func (c *Control) followAuthority(ctx context.Context) error {
	for {
		changed, replaced := c.authority.Watch(), c.replaced(ctx)
		if err := c.trust(ctx); err != nil && ctx.Err() == nil {
			c.log.ErrorContext(ctx, "trust goes on with what it has", "error", err)
		}
		select {
		case <-changed:
		case <-replaced:
		case <-ctx.Done():
			return nil
		}
	}
}

// meet tells a proxy that has its SVID from another issuer what it needs beside that. P has been verified.
func (c *Control) meet(ctx context.Context, p peer.Peer, q wire.MeetRequest) (wire.EnrolAnswer, error) {
	id := p.ID.String()
	switch f := c.fleet.Load(); {
	case c.o.Issuer == nil:
		return wire.EnrolAnswer{}, errIssuedHere
	case len(q.Node) > maxNodeName:
		return wire.EnrolAnswer{}, fmt.Errorf("%w: the node's name is too long", errWrong)
	case f == nil || !f.has(id):
		return wire.EnrolAnswer{}, fmt.Errorf("%w: the model in force does not know %q", errDenied, id)
	}
	err := c.o.Store.Write(ctx, func(t *table.Tx) error {
		return t.Enrol(ctx, table.Enrolment{ID: id, Kind: kindOf(c.fleet.Load(), id), Node: q.Node, Attested: byIssuer, Since: time.Now()})
	})
	if err != nil {
		return wire.EnrolAnswer{}, err
	}
	c.counts.enrolled.Add(1)
	c.record(ctx, Event{Kind: "enrolled", Who: id, Object: q.Node, Outcome: outcomeDone, Text: "by an SVID of another issuer, serial number " + p.Serial})
	return c.welcome(nil)
}

const byIssuer = "issuer"

// revocable holds that a revocation would be one.
func (c *Control) revocable(kind revocation.Kind) error {
	if c.o.Issuer != nil && kind == revocation.Node {
		return errNoNodes
	}
	return nil
}
