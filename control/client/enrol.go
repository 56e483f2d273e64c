package client

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/attest"
	"github.com/palisade-security/palisade/identity/federation"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/model"
)

// enrol proves what we are, by one way after the other. Without is true if control denies the identity that we have, so
// that this proves nothing any more.
func (c *Client) enrol(ctx context.Context, csr []byte, without bool) (*wire.EnrolAnswer, error) {
	if err := c.meetControl(ctx); err != nil {
		return nil, fmt.Errorf("enrolling: %w", err)
	}
	var problems []error
	for _, prove := range c.proofs(without) {
		proof, err := prove(ctx, csr)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		var got wire.EnrolAnswer
		err = c.post(ctx, wire.EnrolPath, wire.EnrolRequest{Name: c.o.Name, Node: c.o.Node, CSR: csr, Proof: proof}, &got)
		if err == nil {
			if proof.Kind == wire.ByJoinToken {
				c.mu.Lock()
				c.joined = true
				c.mu.Unlock()
			}
			c.note(ctx, "enrolled", "by "+string(proof.Kind))
			return &got, nil
		}
		problems = append(problems, fmt.Errorf("by %s: %w", proof.Kind, err))
	}
	if len(problems) == 0 {
		err := errNoProof
		if without || c.used() { // and what there was is denied, or gone
			err = fmt.Errorf("%w: %w", workload.ErrDenied, err)
		}
		problems = append(problems, err)
	}
	return nil, fmt.Errorf("enrolling: %w", errors.Join(problems...))
}

// Provable tells why this proxy can never enrol with what it was given, if so: nothing says how to recognise control, or
// nothing proves what we are. Who has been somebody before may still be, and is not asked.
func (c *Client) Provable() error {
	if c.foreign != nil { // its Workload API says what it is
		return nil
	}
	if c.own.Load() != nil {
		return nil
	}
	_, fingerprint, err := admin.SplitJoinToken(c.o.JoinToken)
	switch t := c.verifier.Trust(); {
	case err != nil:
		return err
	case len(c.proofs(true)) == 0:
		return errNoProof
	case fingerprint == nil && (t == nil || !t.Knows(c.id.TrustDomain())):
		return errStranger
	}
	return nil
}

var (
	errNoProof  = errors.New("there is nothing to prove it with: a join token, a node certificate or a service account")
	errStranger = errors.New("nothing says how to recognise control: a bundle, or a join token as palisade join prints it")
)

// trouble notes why we are not enrolled, once for each reason.
func (c *Client) trouble(ctx context.Context, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	c.mu.Lock()
	known := c.last == text
	c.last = text
	c.mu.Unlock()
	if !known && text != "" {
		c.note(ctx, "not-enrolled", text)
	}
}

// used tells whether the join token has given us an identity, and gives no other.
func (c *Client) used() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.joined
}

type prover func(ctx context.Context, csr []byte) (wire.Proof, error)

// proofs are the ways to prove what we are that may succeed.
func (c *Client) proofs(without bool) []prover {
	var out []prover
	if own := c.own.Load(); own != nil && !without {
		out = append(out, func(ctx context.Context, csr []byte) (wire.Proof, error) {
			return c.answerChallenge(ctx, wire.ByLapsed, own.Chain, func(challenge []byte) ([]byte, error) {
				return wire.Respond(own.Key, challenge, csr)
			})
		})
	}
	if secret, _, err := admin.SplitJoinToken(c.o.JoinToken); err == nil && secret != "" && !c.used() {
		out = append(out, func(context.Context, []byte) (wire.Proof, error) {
			return wire.Proof{Kind: wire.ByJoinToken, Token: secret, Process: c.process}, nil
		})
	}
	if cert := c.o.Certificate; cert != nil {
		out = append(out, func(ctx context.Context, _ []byte) (wire.Proof, error) { return c.byCertificate(ctx, cert) })
	}
	if path := c.o.Kubernetes; path != "" {
		out = append(out, func(context.Context, []byte) (wire.Proof, error) {
			token, err := os.ReadFile(path) // it is renewed by the kubelet
			return wire.Proof{Kind: wire.ByKubernetes, Token: strings.TrimSpace(string(token))}, err
		})
	}
	return out
}

// byCertificate signs a challenge with the key of a node certificate.
func (c *Client) byCertificate(ctx context.Context, cert *tls.Certificate) (wire.Proof, error) {
	var chain []*x509.Certificate
	for _, raw := range cert.Certificate {
		one, err := x509.ParseCertificate(raw)
		if err != nil {
			return wire.Proof{}, fmt.Errorf("reading the node certificate: %w", err)
		}
		chain = append(chain, one)
	}
	key, ok := cert.PrivateKey.(crypto.Signer)
	if !ok || len(chain) == 0 {
		return wire.Proof{}, errors.New("the node certificate has no key that signs")
	}
	return c.answerChallenge(ctx, wire.ByCertificate, chain, func(challenge []byte) ([]byte, error) {
		return attest.Respond(key, chain[0], challenge)
	})
}

func (c *Client) answerChallenge(ctx context.Context, kind wire.ProofKind, chain []*x509.Certificate, respond func([]byte) ([]byte, error)) (wire.Proof, error) {
	var challenge wire.Challenge
	if err := c.post(ctx, wire.ChallengePath, struct{}{}, &challenge); err != nil {
		return wire.Proof{}, err
	}
	proof := wire.Proof{Kind: kind, Challenge: challenge.Name}
	for _, cert := range chain {
		proof.Chain = append(proof.Chain, cert.Raw)
	}
	var err error
	proof.Response, err = respond(challenge.Bytes)
	return proof, err
}

// meetControl learns the root of control by its fingerprint in the join token, if nothing better is known. The bundle
// that it is picked from may be anybody's; the one root that has the fingerprint is not.
func (c *Client) meetControl(ctx context.Context) error {
	if t := c.verifier.Trust(); t != nil && t.Knows(c.id.TrustDomain()) {
		return nil
	}
	_, fingerprint, err := admin.SplitJoinToken(c.o.JoinToken)
	if err != nil {
		return err
	}
	if fingerprint == nil {
		return errStranger
	}
	//nolint:gosec // nothing is believed that comes over this connection but for what the fingerprint names
	anybody := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
	var data json.RawMessage
	if err := c.exchange(ctx, anybody, http.MethodGet, wire.BundlePath, nil, &data); err != nil {
		return err
	}
	b, err := federation.Parse(c.id.TrustDomain(), data)
	if err != nil {
		return err
	}
	roots := b.X509Authorities()
	roots = slices.DeleteFunc(slices.Clone(roots), func(root *x509.Certificate) bool {
		sum := sha256.Sum256(root.Raw)
		return !bytes.Equal(sum[:], fingerprint)
	})
	if len(roots) == 0 {
		return errors.New("the control that answers is not the one that the join token names")
	}
	if in := roots[0].URIs; len(in) == 1 && in[0].Host != c.o.Domain { // the root is genuine, and so is what it says
		return fmt.Errorf("%w: the join token is of the trust domain %q, and not of %q", workload.ErrDenied, in[0].Host, c.o.Domain)
	}
	b.SetX509Authorities(roots)
	t, err := peer.NewTrust(b)
	if err != nil {
		return err
	}
	c.verifier.SetTrust(t)
	return nil
}

// post asks a control over HTTPS. We show our SVID if it is valid.
func (c *Client) post(ctx context.Context, path string, q, a any) error {
	return c.postAs(ctx, c.own.Load(), path, q, a)
}

// postAs asks a control over HTTPS, which must prove to be one, and shows an SVID if it is valid.
func (c *Client) postAs(ctx context.Context, svid *workload.SVID, path string, q, a any) error {
	own := &tls.Certificate{} // shows none
	if svid != nil && time.Now().Before(svid.Chain[0].NotAfter) {
		own = shown(svid)
	}
	control, err := workload.ParseID(model.ControlID(c.o.Domain))
	if err != nil {
		return err
	}
	config := peer.ClientConfig(func() (*tls.Certificate, error) { return own, nil }, c.verifier, peer.OneOf(control))
	if err := c.exchange(ctx, config, http.MethodPost, path, q, a); err != nil {
		return err
	}
	c.heard()
	return nil
}

const (
	maxAnswer = 8 << 20
	maxAfter  = 60 // seconds that control may have us wait
)

// exchange asks one control after the other until one answers.
func (c *Client) exchange(ctx context.Context, config *tls.Config, method, path string, q, a any) error {
	data, err := json.Marshal(q)
	if err != nil {
		return err
	}
	problems := []error{}
	for _, address := range c.o.Control {
		err := c.once(ctx, config, method, "https://"+address+path, data, a)
		var told *admin.Problem
		switch {
		case err == nil:
			return nil
		case errors.As(err, &told) && denied(told):
			return fmt.Errorf("%w: %w", workload.ErrDenied, err)
		}
		problems = append(problems, fmt.Errorf("control at %s: %w", address, err))
	}
	if len(problems) == 0 {
		return errors.New("no control is known")
	}
	return errors.Join(problems...)
}

func (c *Client) once(ctx context.Context, config *tls.Config, method, url string, data []byte, a any) error {
	ctx, cancel := context.WithTimeout(ctx, postTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(data))
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: dialTime}).DialContext}
	answer, err := transport.RoundTrip(r)
	if _, plain := errors.AsType[tls.RecordHeaderError](err); plain {
		return errors.New("what answers there does not speak TLS as control does; is it the address and port of mesh.control.address?")
	}
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		p := &admin.Problem{Title: http.StatusText(answer.StatusCode)}
		_ = json.Unmarshal(body, p) // what is no problem document has a status all the same
		p.Status = answer.StatusCode
		if after, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && answer.StatusCode == http.StatusServiceUnavailable {
			p.After = time.Duration(min(max(after, 0), maxAfter)) * time.Second
		}
		return p
	}
	return json.Unmarshal(body, a)
}
