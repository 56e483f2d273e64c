package control

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"log/slog"
	"time"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/store/table"
)

// IssuerKey finds the key of an intermediate, so that tests can sign what the authority would not.
func IssuerKey(ctx context.Context, store *table.Store, ring *keyring.Ring, issuer *x509.Certificate) (crypto.Signer, error) {
	public, ok := issuer.PublicKey.(*ecdsa.PublicKey)
	for n := range 9 {
		for _, kind := range []string{"x509", "intermediate"} {
			key, err := vault{store, ring}.Lookup(ctx, fmt.Sprintf("%s-%d", kind, n))
			if err == nil && ok && public.Equal(key.Public()) {
				return key, nil
			}
		}
	}
	return nil, fmt.Errorf("no key of %s", issuer.Subject)
}

// Authority opens the authority of a control that is not there yet.
func Authority(ctx context.Context, store *table.Store, ring *keyring.Ring, domain string) (*authority.Authority, error) {
	id, err := workload.ParseID("spiffe://" + domain + "/control")
	if err != nil {
		return nil, err
	}
	return authority.Open(ctx, authority.Config{
		TrustDomain: id.TrustDomain(), Keys: vault{store, ring}, Store: authorityStore{store}, Log: slog.New(slog.DiscardHandler),
	})
}

// BusKeys are the keys of the bus, for a server that tests run themselves.
func BusKeys(ctx context.Context, store *table.Store, ring *keyring.Ring) (*bus.Keys, error) {
	return vault{store, ring}.busKeys(ctx)
}

// Credible tells why a proxy cannot have made an event.
func Credible(domain, id string, e *event.Event, now time.Time) error {
	return credible(domain, id, e, now)
}
