package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/federation"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/revocation"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/model"
)

// errNotForUs leaves out what is for other instances, or known already.
var errNotForUs = errors.New("it is not for this proxy")

// errRejected is that of a slice that does not compile; it has been noted.
var errRejected = errors.New("the slice does not compile")

// ErrReplayed refuses a statement that is older than the last of its kind.
var ErrReplayed = errors.New("it is older than what control said before")

// accept verifies a statement and does what it says. Kept ones come from our own disk at the start: they are not written
// again.
func (c *Client) accept(ctx context.Context, data []byte, kept bool) error {
	c.taking.Lock()
	defer c.taking.Unlock()
	c.mu.Lock()
	keys := c.keys
	c.mu.Unlock()
	st, err := wire.Open(data, keys)
	if err != nil {
		return err
	}
	if err := c.concerns(st); err != nil {
		return err
	}
	switch st.Kind {
	case wire.Slice:
		err = c.acceptSlice(ctx, st, kept)
	case wire.Trust:
		err = c.acceptTrust(ctx, st)
	case wire.Places:
		err = c.acceptPlaces(st)
	default:
		err = fmt.Errorf("%q is no kind of statement", st.Kind)
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.orders[st.Kind] = st.Order
	c.mu.Unlock()
	if !kept {
		c.keep(ctx, st.Kind, data)
	}
	return nil
}

// concerns holds that a statement is for us and newer than the last of its kind.
func (c *Client) concerns(st *wire.Statement) error {
	switch {
	case st.Domain != c.o.Domain:
		return fmt.Errorf("it is for the trust domain %q", st.Domain)
	case st.For == "" && st.Kind != wire.Trust, st.For != "" && st.For != c.id.String():
		return fmt.Errorf("it is for %q", st.For)
	case len(st.Only) > 0 && !slices.Contains(st.Only, c.instance):
		return errNotForUs
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.orders[st.Kind]
	if st.Order == last && st.Order != (wire.Order{}) {
		return errNotForUs // again
	}
	if !st.Order.After(last) {
		return fmt.Errorf("%w: term %d number %d after term %d number %d", ErrReplayed, st.Order.Term, st.Order.Number, last.Term, last.Number)
	}
	return nil
}

// acceptSlice compiles a slice and puts it in force. Whatever comes of it, nothing older will be taken.
func (c *Client) acceptSlice(ctx context.Context, st *wire.Statement, kept bool) error {
	c.mu.Lock()
	same := c.in.version == st.Version && st.Version != ""
	c.mu.Unlock()
	var snap model.Snapshot
	err := json.Unmarshal(st.Body, &snap)
	if err == nil && (snap.Self != c.id.String() || snap.TrustDomain != c.o.Domain || snap.Version != st.Version) {
		err = errors.New("the slice is another's, or of another version than the statement says")
	}
	var apply func()
	if err == nil && !same {
		apply, err = c.o.Compile(ctx, &snap)
	}
	if err != nil {
		c.reject(ctx, st, err)
		return errRejected
	}
	if apply != nil {
		apply()
	}
	mode := staleStop
	if snap.Mesh != nil && snap.Mesh.Stale == staleServe {
		mode = staleServe
	}
	c.mu.Lock()
	c.in = state{version: st.Version, mode: mode, accepted: true}
	if !kept && st.Made.After(c.started) { // what was there before us has not travelled, and says nothing about lag
		c.in.made = st.Made
	}
	c.mu.Unlock()
	c.beLenient(mode)
	if !same && !kept {
		c.note(ctx, "accepted", "serves "+st.Version[:min(len(st.Version), shortVersion)])
	}
	return nil
}

// shortVersion is how much of a version people are shown.
const shortVersion = 12

// reject notes that the newest slice is not in force, and why.
func (c *Client) reject(ctx context.Context, st *wire.Statement, err error) {
	reason := err.Error()
	c.mu.Lock()
	c.orders[wire.Slice] = st.Order
	c.in.accepted, c.in.reason = false, reason[:min(len(reason), maxReason)]
	serving := c.in.version
	c.mu.Unlock()
	if serving == "" {
		serving = "nothing"
	}
	c.note(ctx, "rejected", st.Version+": "+reason+"; serves "+serving)
}

const maxReason = 2 << 10

// acceptTrust takes over roots, what is revoked, and who signs statements: all of it or nothing. Then who signs tokens: keys come
// from proxies at the edge, and nothing that one of those says may keep a revocation from coming into force.
func (c *Client) acceptTrust(ctx context.Context, st *wire.Statement) error {
	var body wire.TrustBody
	if err := json.Unmarshal(st.Body, &body); err != nil {
		return err
	}
	keys, err := wire.ParseKeys(body.Keys)
	if err != nil {
		return err
	}
	list, err := revocation.Parse(body.Revoked)
	if err != nil {
		return err
	}
	trust, bundles, err := c.readBundles(body.Bundles)
	if err != nil {
		return err
	}
	cut, err := c.live.Deny(list)
	if errors.Is(err, peer.ErrOld) { // control was restored from a copy; what was revoked since stays refused
		c.note(ctx, "old-list", fmt.Sprintf("control says revocation list %d; the newer one, %d, stays in force", list.Sequence(), c.live.Denied().Sequence()))
	} else if err != nil {
		return err
	}
	c.verifier.SetTrust(trust)
	c.setBundles(bundles)
	if c.o.Keys != nil && body.JWKS != nil {
		if err := c.o.Keys(body.JWKS); err != nil {
			c.note(ctx, "keys-refused", "the keys of transaction tokens stay what they were: "+err.Error())
		}
	}
	elsewhere := 0
	if c.o.Trust != nil {
		elsewhere = c.o.Trust()
	}
	c.mu.Lock()
	c.keys = keys
	c.cut += uint64(len(cut) + max(elsewhere, 0))
	c.mu.Unlock()
	if n := len(cut) + elsewhere; n > 0 {
		c.note(ctx, "cut", fmt.Sprintf("%d connections are cut by revocation list %d", n, list.Sequence()))
	}
	if svid := c.own.Load(); svid != nil {
		if c.revoked(svid) {
			c.refused.Store(true)
			c.note(ctx, "revoked", fmt.Sprintf("our own identity is revoked by list %d", list.Sequence()))
			c.source.Renew(c.id)
		}
		c.keepIdentity(ctx, svid, body.Bundles[c.o.Domain], body.Keys)
	}
	return nil
}

// readBundles reads our own bundle and those federated with.
func (c *Client) readBundles(all map[string]json.RawMessage) (*peer.Trust, *workload.Bundles, error) {
	own, others, err := federation.ParseAll(c.id.TrustDomain(), all)
	if err != nil {
		return nil, nil, err
	}
	bundles := workload.BundlesOf(own, others...)
	if c.foreign != nil {
		bundles = c.foreign.add(bundles)
	}
	trust, err := trustOf(bundles)
	return trust, bundles, err
}

func (c *Client) acceptPlaces(st *wire.Statement) error {
	var body wire.PlacesBody
	if err := json.Unmarshal(st.Body, &body); err != nil {
		return err
	}
	if c.o.Places != nil {
		c.o.Places(body)
	}
	return nil
}
