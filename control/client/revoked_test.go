package client

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/revocation"
)

// TestRestoredWithOldList holds that a list from before we were restored, kept on disk, does not take from us what control has
// signed since, and does take what it signed before.
func TestRestoredWithOldList(t *testing.T) {
	i, x := newIssuer(t), &told{}
	const name = "service/web"
	c, err := Open(t.Context(), x.options(name, i.kept(name)))
	must(t, err)
	svid := c.own.Load()
	signed := svid.Chain[0].NotBefore.Add(authority.Backdate)
	for _, row := range []struct {
		name  string
		since time.Time
		want  bool
	}{
		{"revoked after it was signed", signed.Add(2 * time.Second), true},
		{"revoked before it was signed", signed.Add(-2 * time.Second), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			list, err := revocation.New(c.id.TrustDomain(), c.live.Denied().Sequence()+1, []revocation.Entry{{Kind: revocation.Service, Value: name, Since: row.since}})
			must(t, err)
			_, err = c.live.Deny(list)
			must(t, err)
			if got := c.revoked(svid); got != row.want {
				t.Errorf("revoked: %t, want %t", got, row.want)
			}
		})
	}
}

// TestKeysRefused holds that keys of transaction tokens that cannot be taken keep no revocation from coming into force.
func TestKeysRefused(t *testing.T) {
	i, x := newIssuer(t), &told{}
	const name = "service/web"
	o := x.options(name, i.kept(name, slice(name, "v1", "stop", 1)))
	o.Keys = func([]byte) error { return errors.New("no such keys") }
	c, err := Open(t.Context(), o)
	must(t, err)
	bundle, err := i.authority.Bundle().Marshal()
	must(t, err)
	list, err := revocation.New(c.id.TrustDomain(), 7, []revocation.Entry{{Kind: revocation.Service, Value: "edge/edge", Since: time.Now()}})
	must(t, err)
	revoked, err := list.Encode()
	must(t, err)
	body, err := json.Marshal(wire.TrustBody{
		Bundles: map[string]json.RawMessage{domain: bundle}, Revoked: revoked, Keys: i.public, JWKS: json.RawMessage(`{"keys":[1]}`),
	})
	must(t, err)
	c.take(t.Context(), bus.Change{Entry: bus.Entry{Value: i.sign(wire.Statement{Kind: wire.Trust, Domain: domain, Order: wire.Order{Term: 1, Number: 2}, Body: body})}})
	if got := c.live.Denied().Sequence(); got != 7 {
		t.Errorf("revocation list %d is in force: %v", got, x.kinds())
	}
	if !slices.Contains(x.kinds(), "keys-refused") {
		t.Errorf("it is refused in silence: %v", x.kinds())
	}
}
