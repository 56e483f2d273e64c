package client

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/federation"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
)

// identity is what is kept of who we are and whom we know.
type identity struct {
	Key    []byte          `json:"key,omitempty"` // PKCS #8
	Chain  [][]byte        `json:"chain,omitempty"`
	Bundle json.RawMessage `json:"bundle"`
	Keys   [][]byte        `json:"keys"`
	Bus    []string        `json:"bus"`
}

const identityName = "identity"

// name is what something is kept under.
func (c *Client) name(what string) string {
	return "control." + strings.ReplaceAll(c.o.Name, "/", ".") + "." + what
}

// load takes over what was kept. What does not open or does not verify is left out, loudly: the proxy then begins as if
// it were new. A slice that no longer compiles is an error, since nothing else would be served.
func (c *Client) load(ctx context.Context) error {
	data, err := c.o.Keeper.Load(c.name(identityName))
	var kept identity
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c.pin()
	case err == nil:
		err = json.Unmarshal(data, &kept)
	}
	if err == nil {
		err = c.remember(&kept)
	}
	if err != nil {
		c.note(ctx, "state-lost", "the kept identity cannot be used: "+err.Error())
		return c.pin()
	}
	for _, kind := range []wire.Kind{wire.Trust, wire.Places, wire.Slice} {
		data, err := c.o.Keeper.Load(c.name(string(kind)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = c.accept(ctx, data, true)
		}
		if err != nil {
			c.note(ctx, "state-lost", "the kept "+string(kind)+" cannot be used: "+err.Error())
		}
	}
	return nil
}

// pin trusts the bundle that was given, if there was one.
func (c *Client) pin() error {
	if c.o.Bundle == nil {
		return nil
	}
	return c.trustOwn(c.o.Bundle)
}

// trustOwn trusts the roots of our own trust domain.
func (c *Client) trustOwn(bundle []byte) error {
	b, err := federation.Parse(c.id.TrustDomain(), bundle)
	if err != nil {
		return err
	}
	t, err := peer.NewTrust(b)
	if err != nil {
		return err
	}
	c.verifier.SetTrust(t)
	c.setBundles(workload.BundlesOf(b))
	return nil
}

func (c *Client) setBundles(b *workload.Bundles) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bundles = b
	close(c.changed)
	c.changed = make(chan struct{})
}

// remember takes over who we are and whom we know.
func (c *Client) remember(kept *identity) error {
	keys, err := wire.ParseKeys(kept.Keys)
	if err != nil {
		return err
	}
	if err := c.trustOwn(kept.Bundle); err != nil {
		return err
	}
	c.mu.Lock()
	c.keys, c.busURLs = keys, kept.Bus
	c.mu.Unlock()
	if kept.Key == nil || c.foreign != nil { // another issuer gives it again
		return nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(kept.Key)
	if err != nil {
		return errors.New("its key cannot be read")
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return errors.New("its key does not sign")
	}
	svid := &workload.SVID{ID: c.id, Key: key}
	for _, raw := range kept.Chain {
		cert, err := x509.ParseCertificate(raw)
		if err != nil {
			return fmt.Errorf("its SVID cannot be read: %w", err)
		}
		svid.Chain = append(svid.Chain, cert)
	}
	if len(svid.Chain) == 0 {
		return errors.New("it has no SVID")
	}
	c.wear(svid)
	if renewer, ok := c.source.(*workload.Renewer); ok {
		renewer.Seed(svid)
	}
	return nil
}

// keepIdentity writes who we are and whom we know. Losing it costs a new enrolment, which may need a person; so a failure
// is loud, but the SVID that was just given is used all the same. What another issuer gives is left to that one.
func (c *Client) keepIdentity(ctx context.Context, svid *workload.SVID, bundle json.RawMessage, keys [][]byte) {
	c.mu.Lock()
	out := identity{Bundle: bundle, Keys: keys, Bus: c.busURLs}
	c.mu.Unlock()
	var err error
	if svid != nil && c.foreign == nil {
		out.Key, err = x509.MarshalPKCS8PrivateKey(svid.Key)
		for _, cert := range svid.Chain {
			out.Chain = append(out.Chain, cert.Raw)
		}
	}
	var data []byte
	if err == nil {
		data, err = json.Marshal(out)
	}
	if err == nil {
		err = c.o.Keeper.Save(c.name(identityName), data)
	}
	if err != nil {
		c.note(ctx, "not-kept", "the identity is not on disk: "+err.Error())
	}
}

// keep writes a statement as it came.
func (c *Client) keep(ctx context.Context, kind wire.Kind, data []byte) {
	if err := c.o.Keeper.Save(c.name(string(kind)), data); err != nil {
		c.note(ctx, "not-kept", "the "+string(kind)+" is not on disk: "+err.Error())
	}
}

// take takes what control says on a watched key. Deleted and empty keys say nothing.
func (c *Client) take(ctx context.Context, change bus.Change) {
	if change.Deleted || len(change.Value) == 0 {
		return
	}
	if err := c.accept(ctx, change.Value, false); err != nil && !errors.Is(err, errNotForUs) && !errors.Is(err, errRejected) {
		c.note(ctx, "refused", "what control seems to say at revision "+fmt.Sprint(change.Revision)+" is refused: "+err.Error())
	}
	c.Report()
}
