// Package kms opens keepers that wrap a ring's key with a key management service: AWS KMS, Google Cloud KMS,
// Azure Key Vault or Vault's transit engine. It stands apart from keyring because the clouds' clients are heavy.
// It does not sign: signing keys that never leave a device are keyring/pkcs11's.
package kms

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"gocloud.dev/secrets"
	"gocloud.dev/secrets/awskms"
	"gocloud.dev/secrets/azurekeyvault"
	"gocloud.dev/secrets/gcpkms"
	"gocloud.dev/secrets/hashivault"

	"github.com/palisade-security/palisade/keyring"
)

// Schemes returns the URL schemes that Open knows.
func Schemes() []string {
	return []string{awskms.Scheme, azurekeyvault.Scheme, gcpkms.Scheme, hashivault.Scheme}
}

// Keeper is a keyring.Keeper that holds connections; Close ends them.
type Keeper interface {
	keyring.Keeper
	Close() error
}

// Open opens the key that a URL names, in the form of gocloud.dev/secrets:
//
//	awskms://alias/palisade?region=eu-central-1
//	gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K
//	azurekeyvault://VAULT.vault.azure.net/keys/K
//	hashivault://palisade                  (a key of the transit engine)
//
// Credentials come from where each cloud's client looks for them; Vault's from VAULT_ADDR and VAULT_TOKEN. They
// never stand in the URL: one with a user or a password is refused, and errors do not repeat it.
func Open(ctx context.Context, keyURL string) (Keeper, error) {
	if err := Check(keyURL); err != nil {
		return nil, err
	}
	keeper, err := secrets.OpenKeeper(ctx, keyURL)
	if err != nil {
		return nil, fmt.Errorf("opening the key %s: %w", keyURL, err)
	}
	return keeper, nil
}

// Check tells why Open would refuse a URL without asking anybody, or nil.
func Check(keyURL string) error {
	u, err := url.Parse(keyURL)
	if err != nil {
		return errors.New("opening a key: it is not a URL") // what does not parse may hold a secret
	}
	if !slices.Contains(Schemes(), u.Scheme) {
		return fmt.Errorf("opening a key: no key service has the scheme %q; known are %s", u.Scheme, strings.Join(Schemes(), ", "))
	}
	if u.User != nil {
		return errors.New("opening a key: credentials do not belong into its URL")
	}
	if u.Host == "" {
		return fmt.Errorf("opening a key: %s:// names no key", u.Scheme)
	}
	return nil
}
