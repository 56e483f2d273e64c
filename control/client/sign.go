package client

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
)

// signer asks control for identities: a workload.Signer and workload.Certifier for our own identity alone.
type signer struct{ c *Client }

// SignX509 is not to be had: control wants to see that the key is there.
func (s signer) SignX509(context.Context, workload.ID, crypto.PublicKey) ([]*x509.Certificate, error) {
	return nil, errors.New("control certifies keys whose holder proves them")
}

// Certify renews our SVID, or enrols if there is none that is valid. It tries the bus, then HTTPS.
func (s signer) Certify(ctx context.Context, id workload.ID, key crypto.Signer) ([]*x509.Certificate, error) {
	c := s.c
	if id != c.id {
		return nil, workload.ErrDenied
	}
	csr, err := wire.NewCSR(key)
	if err != nil {
		return nil, err
	}
	err = errNoIdentity
	var got *wire.EnrolAnswer
	if own := c.own.Load(); !c.expired() {
		if c.revoked(own) {
			err = fmt.Errorf("%w: it is revoked", workload.ErrDenied)
		} else if got, err = c.renew(ctx, own, csr); errors.Is(err, workload.ErrDenied) {
			c.note(ctx, "denied", "control denies another SVID: "+err.Error())
		}
	}
	if err != nil && (errors.Is(err, errNoIdentity) || errors.Is(err, workload.ErrDenied)) {
		denied := errors.Is(err, workload.ErrDenied)
		var enrolErr error
		if got, enrolErr = c.enrol(ctx, csr, denied); enrolErr != nil {
			c.trouble(ctx, enrolErr)
			if denied {
				c.shed()
				return nil, errors.Join(workload.ErrDenied, enrolErr)
			}
			return nil, enrolErr
		}
	} else if err != nil {
		return nil, err
	}
	return c.take509(ctx, key, got)
}

// revoked tells whether we know ourselves that an SVID of ours is refused everywhere. One that control signed after the revocation
// says that we are restored, and that our list is old.
func (c *Client) revoked(svid *workload.SVID) bool {
	_, err := c.verifier.Verify(svid.Chain, peer.AsClient, time.Now())
	refusal := denial(err)
	if refusal == nil || c.foreign != nil { // another issuer knows nothing of the list
		return refusal != nil
	}
	issued := svid.Chain[0].NotBefore.Add(authority.Backdate + time.Second) // or up to a second before
	return !issued.After(refusal.Since)
}

// denial is the refusal of a revoked identity, or nil.
func denial(err error) *peer.Refusal {
	var refusal *peer.Refusal
	if errors.As(err, &refusal) && refusal.Reason == peer.Revoked {
		return refusal
	}
	return nil
}

// take509 verifies what control has signed, and keeps it.
func (c *Client) take509(ctx context.Context, key crypto.Signer, got *wire.EnrolAnswer) ([]*x509.Certificate, error) {
	svid := &workload.SVID{ID: c.id, Key: key}
	for _, raw := range got.Chain {
		cert, err := x509.ParseCertificate(raw)
		if err != nil {
			return nil, fmt.Errorf("reading our SVID: %w", err)
		}
		svid.Chain = append(svid.Chain, cert)
	}
	if got.Bundle != nil { // it came over HTTPS, from a control that has proven itself
		if err := c.trustOwn(got.Bundle); err != nil {
			return nil, err
		}
		if err := c.meet(got); err != nil {
			return nil, err
		}
	}
	p, err := c.verifier.Verify(svid.Chain, peer.AsClient, time.Now())
	switch {
	case err != nil && denial(err) == nil: // control, which has signed it, knows a newer list than we may
		return nil, fmt.Errorf("verifying our SVID: %w", err)
	case err == nil && p.ID != c.id:
		return nil, fmt.Errorf("verifying our SVID: it is that of %q", p.ID)
	}
	c.heard()
	c.wear(svid)
	c.trouble(ctx, nil)
	bundle, keys := c.known(got)
	c.keepIdentity(ctx, svid, bundle, keys)
	return svid.Chain, nil
}

// meet takes over how control signs and where its bus is.
func (c *Client) meet(got *wire.EnrolAnswer) error {
	keys, err := wire.ParseKeys(got.Keys)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys = keys
	if len(got.Bus) > 0 && !slices.Equal(c.busURLs, got.Bus) {
		c.busURLs = got.Bus
		close(c.moved)
		c.moved = make(chan struct{})
	}
	return nil
}

// known returns the bundle and keys to keep beside an SVID: those that came with it, or those in force.
func (c *Client) known(got *wire.EnrolAnswer) (json.RawMessage, [][]byte) {
	if got.Bundle != nil {
		return got.Bundle, got.Keys
	}
	var kept identity
	if data, err := c.o.Keeper.Load(c.name(identityName)); err == nil {
		_ = json.Unmarshal(data, &kept) // what does not read is written anew with the next trust
	}
	return kept.Bundle, kept.Keys
}

// How long one way of asking may take. Control turns away at once whom it cannot serve in time; a patience that ended before it has
// served all whom it let in would have it work for nobody.
const (
	askTime  = 8 * time.Second  // over the bus
	postTime = 15 * time.Second // over HTTPS
	dialTime = 5 * time.Second  // to reach a control
)

// renew asks for another SVID with the one that we have. That it is denied is believed of control itself, over mTLS: on the bus
// a server of it could say so.
func (c *Client) renew(ctx context.Context, own *workload.SVID, csr []byte) (*wire.EnrolAnswer, error) {
	q := wire.SignRequest{CSR: csr}
	for _, cert := range own.Chain {
		q.Chain = append(q.Chain, cert.Raw)
	}
	var err error
	if q.Response, err = wire.Respond(own.Key, nil, csr); err != nil {
		return nil, err
	}
	var signed wire.SignAnswer
	busErr := c.ask(ctx, wire.SignSubject, q, &signed)
	if busErr == nil {
		return &wire.EnrolAnswer{Chain: signed.Chain}, nil
	}
	if busy(busErr) && !pressing(own) {
		return nil, busErr
	}
	var got wire.EnrolAnswer
	if err := c.post(ctx, wire.RenewPath, q, &got); err != nil {
		return nil, fmt.Errorf("over the bus: %v; over HTTPS: %w", busErr, err) //nolint:errorlint // only the second is believed
	}
	return &got, nil
}

var errBusAway = errors.New("the bus is away")

// busy tells whether control is there and has too much to do: it gets no faster by being asked another way as well.
func busy(err error) bool {
	refusal, ok := errors.AsType[*bus.Refusal](err)
	return ok && refusal.Code == bus.Busy
}

// pressing tells whether an SVID ends soon: then we also ask another way, for a server of the bus could say busy for ever.
func pressing(own *workload.SVID) bool {
	leaf := own.Chain[0]
	return time.Until(leaf.NotAfter) < leaf.NotAfter.Sub(leaf.NotBefore)/4
}

// ask sends a request over the bus. Nobody but us may send to its subject.
func (c *Client) ask(ctx context.Context, subject string, q, a any) error {
	link := c.link.Load()
	if link == nil || !link.Connected() {
		return errBusAway
	}
	data, err := json.Marshal(q)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answer, err := link.Request(ctx, subject+bus.SubjectToken(c.id.String()), data)
	var refusal *bus.Refusal
	switch {
	case errors.As(err, &refusal) && refusal.Code == bus.Denied:
		return fmt.Errorf("%w: %w", workload.ErrDenied, err)
	case err != nil:
		return err
	}
	c.heard()
	return json.Unmarshal(answer, a)
}

// SignJWT asks for a JWT-SVID, over HTTPS alone: whoever reads one may use it.
func (s signer) SignJWT(ctx context.Context, id workload.ID, audience []string) (string, error) {
	if id != s.c.id {
		return "", workload.ErrDenied
	}
	var a wire.JWTAnswer
	err := s.c.post(ctx, wire.JWTPath, wire.JWTRequest{Audience: audience}, &a)
	return a.Token, err
}

// Bundles returns what control said last.
func (s signer) Bundles(context.Context) (*workload.Bundles, <-chan struct{}, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.c.bundles == nil {
		return nil, s.c.changed, errNoIdentity
	}
	return s.c.bundles, s.c.changed, nil
}

// denied tells whether control refuses for good.
func denied(p *admin.Problem) bool {
	return p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden
}
