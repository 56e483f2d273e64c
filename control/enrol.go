package control

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/attest"
	"github.com/palisade-security/palisade/store/table"
)

const (
	maxQuestions = 1 << 16 // that wait; more than a thousand are asked in a second only by who wants to be a nuisance
	questionLife = time.Minute
	maxNodeName  = 255
)

// questions are challenges that wait for their answer. They live in the control that asked: who comes to another one
// begins anew.
type questions struct {
	mu    sync.Mutex
	all   map[string]question
	order []string // their names, the oldest first, and names of those that are answered
}

type question struct {
	*attest.Challenge
	expires time.Time
}

// ask makes a challenge. If there are too many the oldest is forgotten: whoever floods us would have to do so in the moment that
// others need for their answer.
func (q *questions) ask(now time.Time) wire.Challenge {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.all == nil {
		q.all = map[string]question{}
	}
	for len(q.order) > 0 {
		oldest, waits := q.all[q.order[0]]
		if waits && len(q.all) < maxQuestions && !now.After(oldest.expires) {
			break
		}
		delete(q.all, q.order[0])
		q.order = q.order[1:]
	}
	name, c := rand.Text(), attest.NewChallenge()
	q.all[name] = question{c, now.Add(questionLife)}
	q.order = append(q.order, name)
	return wire.Challenge{Name: name, Bytes: c.Bytes()}
}

// take returns a challenge, once.
func (q *questions) take(name string, now time.Time) *attest.Challenge {
	q.mu.Lock()
	defer q.mu.Unlock()
	c, ok := q.all[name]
	delete(q.all, name)
	if !ok || now.After(c.expires) {
		return nil
	}
	return c.Challenge
}

// enrol gives a first SVID to whoever proves to be what it says. It signs before it uses a join token up, so that a token
// is not lost to trouble of our own; nothing leaves before the proof holds.
func (c *Control) enrol(ctx context.Context, q wire.EnrolRequest) (wire.EnrolAnswer, error) {
	if c.o.Issuer != nil {
		return wire.EnrolAnswer{}, errIssuedElsewhere
	}
	if len(q.Name) > maxNodeName || len(q.Node) > maxNodeName {
		return wire.EnrolAnswer{}, fmt.Errorf("%w: the name, or that of the node, is too long", errWrong)
	}
	id, err := c.identity(q.Name)
	if err != nil {
		return wire.EnrolAnswer{}, fmt.Errorf("%w: %w", errWrong, err)
	}
	node, err := c.prove(ctx, id, q)
	if err != nil {
		return wire.EnrolAnswer{}, err
	}
	chain, err := c.sign(ctx, id, node, q.CSR)
	if err != nil {
		return wire.EnrolAnswer{}, err
	}
	e := table.Enrolment{ID: id, Kind: kindOf(c.fleet.Load(), id), Node: node, Attested: string(q.Proof.Kind), Since: time.Now()}
	if q.Proof.Kind == wire.ByJoinToken {
		err = c.proveJoin(ctx, q.Proof, e)
	} else {
		err = c.o.Store.Write(ctx, func(t *table.Tx) error { return t.Enrol(ctx, e) })
	}
	if err != nil {
		return wire.EnrolAnswer{}, err
	}
	c.counts.enrolled.Add(1)
	c.record(ctx, Event{Kind: "enrolled", Who: id, Object: node, Outcome: outcomeDone, Text: "by " + string(q.Proof.Kind)})
	return c.welcome(chain)
}

func kindOf(f *fleet, id string) string {
	if f == nil {
		return ""
	}
	return f.kind(id)
}

// welcome is what a proxy needs beside its SVID.
func (c *Control) welcome(chain [][]byte) (wire.EnrolAnswer, error) {
	bundle, err := c.bundle().Marshal()
	if err != nil {
		return wire.EnrolAnswer{}, fmt.Errorf("writing the bundle: %w", err)
	}
	return wire.EnrolAnswer{Chain: chain, Bundle: bundle, Keys: c.keys, Bus: c.busURLs}, nil
}

// prove holds that an asker is what it wants to be, but for join tokens, and returns the node that it runs on: as the proof says,
// since a revoked node must not get away by calling itself another. A join token says nothing of it, nor do older API servers.
func (c *Control) prove(ctx context.Context, id string, q wire.EnrolRequest) (node string, err error) {
	switch q.Proof.Kind {
	case wire.ByLapsed:
		return c.proveLapsed(id, q)
	case wire.ByJoinToken:
		return q.Node, nil // see proveJoin
	case wire.ByCertificate:
		return c.proveCertificate(q)
	case wire.ByKubernetes:
		return c.proveKubernetes(ctx, id, q)
	}
	return "", fmt.Errorf("%w: %q is no kind of proof", errWrong, q.Proof.Kind)
}

// proveJoin uses a token up and enrols in one transaction.
func (c *Control) proveJoin(ctx context.Context, p wire.Proof, e table.Enrolment) error {
	named := func(name string) bool {
		id, err := c.identity(name)
		return err == nil && id == e.ID
	}
	taken := func(ctx context.Context, t *table.Tx, name string) error {
		if !named(name) {
			return nil // it is used up all the same
		}
		return t.Enrol(ctx, e)
	}
	selectors, err := attest.RedeemJoinToken(ctx, joins{c.o.Store, p.Process, c.authority.Revoked().Sequence(), taken}, p.Token)
	if errors.Is(err, attest.ErrJoinToken) {
		return fmt.Errorf("%w: %w", errDenied, err)
	}
	if err != nil {
		return err
	}
	other := ""
	for _, s := range selectors {
		if s.Kind == attest.JoinName && named(s.Value) {
			return nil
		}
		other = s.Value
	}
	return fmt.Errorf("%w: the join token was for %s, and is used up now", errDenied, other)
}

func (c *Control) proveCertificate(q wire.EnrolRequest) (node string, err error) {
	if c.o.Certificates == nil {
		return "", fmt.Errorf("%w: node certificates prove nothing here", errDenied)
	}
	challenge := c.questions.take(q.Proof.Challenge, time.Now())
	if challenge == nil {
		return "", fmt.Errorf("%w: %w", errDenied, attest.ErrPossession)
	}
	selectors, err := challenge.Prove(c.o.Certificates.Roots, q.Proof.Chain, q.Proof.Response)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errDenied, err)
	}
	for _, s := range selectors {
		if s.Kind == attest.X509DNS && slices.Contains(c.o.Certificates.Names[s.Value], q.Name) {
			return s.Value, nil
		}
	}
	return "", fmt.Errorf("%w: the certificate is none for %q", errDenied, q.Name)
}

func (c *Control) proveKubernetes(ctx context.Context, id string, q wire.EnrolRequest) (node string, err error) {
	if c.o.Kubernetes == nil {
		return "", fmt.Errorf("%w: service accounts prove nothing here", errDenied)
	}
	f := c.fleet.Load()
	if f == nil || !f.has(id) {
		return "", fmt.Errorf("%w: the model in force does not know %q", errDenied, id)
	}
	selectors, err := c.o.Kubernetes.Prove(ctx, q.Proof.Token)
	if errors.Is(err, attest.ErrServiceAccount) {
		return "", fmt.Errorf("%w: %w", errDenied, err)
	}
	if err != nil {
		return "", err
	}
	name, err := f.matcher.Match(selectors)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errDenied, err)
	}
	if f.names[id] != name {
		return "", fmt.Errorf("%w: the service account is that of %q", errDenied, name)
	}
	for _, s := range selectors {
		if s.Kind == attest.KubernetesNode {
			return s.Value, nil
		}
	}
	return q.Node, nil
}

// proveLapsed takes an SVID that has ended, not too long ago, and whose key signs our challenge. It returns the node that
// the SVID names.
func (c *Control) proveLapsed(id string, q wire.EnrolRequest) (node string, err error) {
	challenge := c.questions.take(q.Proof.Challenge, time.Now())
	if challenge == nil || len(q.Proof.Chain) == 0 {
		return "", fmt.Errorf("%w: %w", errDenied, attest.ErrPossession)
	}
	leaf, err := x509.ParseCertificate(q.Proof.Chain[0])
	if err != nil {
		return "", fmt.Errorf("%w: the SVID cannot be read", errDenied)
	}
	now := time.Now()
	if now.Sub(leaf.NotAfter) > c.o.Grace {
		return "", fmt.Errorf("%w: the SVID has ended too long ago; it needs a new proof", errDenied)
	}
	at := now
	if at.After(leaf.NotAfter) {
		at = leaf.NotAfter
	}
	p, err := c.holds(q.Proof.Chain, challenge.Bytes(), q.CSR, q.Proof.Response, at)
	if err != nil {
		return "", err
	}
	if p.ID.String() != id {
		return "", fmt.Errorf("%w: the SVID is of %q", errDenied, p.ID)
	}
	return p.Node, nil
}
