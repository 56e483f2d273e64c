package control

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
)

// keyOf is a public key.
type keyOf = crypto.PublicKey

const queue = "control" // of all controls, one answers

// errDenied refuses an identity for good.
var errDenied = errors.New("denied")

// sign certifies a key for an identity of the fleet.
func (c *Control) sign(ctx context.Context, id, node string, csr []byte) ([][]byte, error) {
	if c.o.Issuer != nil {
		return nil, errIssuedElsewhere
	}
	public, err := wire.CheckCSR(csr)
	if err != nil {
		return nil, err
	}
	f := c.fleet.Load()
	if f == nil || !f.has(id) {
		return nil, fmt.Errorf("%w: the model in force does not know %q", errDenied, id)
	}
	parsed, err := workload.ParseID(id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDenied, err)
	}
	svid, err := c.authority.SignX509(ctx, authority.X509Request{ID: parsed, Public: public, TTL: f.ttl(), Node: node})
	switch {
	case errors.Is(err, authority.ErrRevoked):
		return nil, fmt.Errorf("%w: %w", errDenied, err)
	case err != nil:
		return nil, err
	}
	return svid.Chain, nil
}

// renew certifies another key for a proxy that has proven what it is by the SVID it has.
func (c *Control) renew(ctx context.Context, p peer.Peer, csr []byte) ([][]byte, error) {
	chain, err := c.sign(ctx, p.ID.String(), p.Node, csr)
	if err == nil {
		c.counts.renewed.Add(1)
	}
	return chain, err
}

// jwt issues a JWT-SVID for an identity of the fleet.
func (c *Control) jwt(ctx context.Context, id string, audience []string) (string, error) {
	if c.o.Issuer != nil {
		return "", errIssuedElsewhere
	}
	f := c.fleet.Load()
	if f == nil || !f.has(id) {
		return "", fmt.Errorf("%w: the model in force does not know %q", errDenied, id)
	}
	parsed, err := workload.ParseID(id)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errDenied, err)
	}
	svid, err := c.authority.SignJWT(ctx, authority.JWTRequest{ID: parsed, Audiences: audience, TTL: f.snap.Mesh.SVID.JWTLifetime.Std()})
	switch {
	case errors.Is(err, authority.ErrRevoked):
		return "", fmt.Errorf("%w: %w", errDenied, err)
	case err != nil:
		return "", err
	}
	return svid.Token, nil
}

// refusal is what the asker is told over the bus.
func (c *Control) refusal(ctx context.Context, asker string, err error) error {
	switch {
	case errors.Is(err, errDenied):
		c.counts.refused.Add(1)
		if c.desk.may(asker, time.Now()) {
			c.record(ctx, Event{Kind: "identity-denied", Who: asker, Object: asker, Outcome: outcomeDenied, Text: err.Error()})
		}
		return &bus.Refusal{Code: bus.Denied}
	case errors.Is(err, authority.ErrNoIssuer):
		return &bus.Refusal{Code: bus.Busy, Text: "no issuer"}
	}
	c.log.WarnContext(ctx, "request of a proxy failed", "asker", asker, "error", err)
	return err
}

func options(subject string) bus.ServeOptions {
	return bus.ServeOptions{Subject: subject + "*", Queue: queue, From: wire.AskerToken, MaxData: wire.MaxRequest}
}

// answering reads a request, has it handled and writes the answer.
func answering[Q, A any](c *Control, handle func(context.Context, bus.Asked, Q) (A, error)) func(context.Context, bus.Asked) ([]byte, error) {
	return func(ctx context.Context, asked bus.Asked) ([]byte, error) {
		var q Q
		if err := json.Unmarshal(asked.Data, &q); err != nil {
			return nil, &bus.Refusal{Code: bus.Wrong, Text: "the request cannot be read"}
		}
		a, err := handle(ctx, asked, q)
		if err != nil {
			return nil, c.refusal(ctx, asked.From, err)
		}
		return json.Marshal(a)
	}
}

// holds verifies that whoever asks has the key of an SVID that was valid at a time and is not revoked.
func (c *Control) holds(der [][]byte, challenge, csr, response []byte, at time.Time) (peer.Peer, error) {
	chain := make([]*x509.Certificate, 0, len(der))
	for _, raw := range der {
		cert, err := x509.ParseCertificate(raw)
		if err != nil {
			return peer.Peer{}, fmt.Errorf("%w: a certificate cannot be read", errDenied)
		}
		chain = append(chain, cert)
	}
	p, err := c.verifier.Verify(chain, peer.AsClient, at)
	if err != nil {
		return peer.Peer{}, fmt.Errorf("%w: %w", errDenied, err)
	}
	if !wire.CheckResponse(chain[0].PublicKey, challenge, csr, response) {
		return peer.Peer{}, fmt.Errorf("%w: the key of the SVID of %s is not proven", errDenied, p.ID)
	}
	return p, nil
}

// serveSign renews over the bus. The node of a proxy is that of its SVID, which it proved when it enrolled.
func (c *Control) serveSign(ctx context.Context) error {
	return c.bus.Serve(ctx, options(wire.SignSubject), answering(c, func(ctx context.Context, a bus.Asked, q wire.SignRequest) (wire.SignAnswer, error) {
		p, err := c.holds(q.Chain, nil, q.CSR, q.Response, time.Now())
		if err != nil {
			return wire.SignAnswer{}, err
		}
		if p.ID.String() != a.From {
			return wire.SignAnswer{}, fmt.Errorf("%w: %q shows an SVID of %q", errDenied, a.From, p.ID)
		}
		chain, err := c.renew(ctx, p, q.CSR)
		return wire.SignAnswer{Chain: chain}, err
	}))
}

func (c *Control) serveReports(ctx context.Context) error {
	return c.bus.Serve(ctx, options(wire.ReportSubject), answering(c, func(ctx context.Context, a bus.Asked, r wire.Report) (wire.ReportAnswer, error) {
		wanted := c.withoutKeys(a.From, &r)
		answer, err := c.hear(ctx, a.From, r)
		answer.Keys = wanted
		return answer, err
	}))
}

// withoutKeys puts the keys that we know in place of those in a report that came over the bus, and tells whether these are others. A
// server of the bus could have written it, and whoever has a key that signs for users speaks for all of them.
func (c *Control) withoutKeys(id string, r *wire.Report) (others bool) {
	var known json.RawMessage
	if old := c.desk.get(id, r.Instance); old != nil {
		known = old.Report.Keys
	}
	others = len(r.Keys) > 0 && !bytes.Equal(known, r.Keys)
	r.Keys = known
	return others
}

// hear takes a report and confirms its notes once they are recorded.
func (c *Control) hear(ctx context.Context, id string, r wire.Report) (wire.ReportAnswer, error) {
	if f := c.fleet.Load(); f == nil || !f.has(id) {
		return wire.ReportAnswer{}, fmt.Errorf("%w: the model in force does not know %q", errDenied, id)
	}
	fresh, noted, err := c.desk.receive(id, r, time.Now())
	if err != nil {
		return wire.ReportAnswer{}, &bus.Refusal{Code: bus.Wrong, Text: err.Error()}
	}
	for _, n := range fresh {
		c.record(ctx, Event{At: n.At, Kind: "proxy-" + n.Kind, Who: id, Object: r.Instance, Outcome: outcomeDone, Text: n.Text})
	}
	return wire.ReportAnswer{Noted: noted}, nil
}
