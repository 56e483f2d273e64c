// Package token issues tokens: those of the development issuer behind "palisade token", short-lived access tokens for a
// laptop, believed only by gateways that "palisade up" started; and the transaction tokens that carry users from the edge
// through the mesh. It verifies nothing; that is proxy/filter/jwt.
package token

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/go-jose/go-jose/v4"

	"github.com/palisade-security/palisade/keyring"
)

const keyFile = "development-key.pem"

// ErrNoDevelopment tells that no development issuer exists yet.
var ErrNoDevelopment = errors.New("no development issuer found; run palisade up first")

// Development is the development issuer. It is safe for concurrent use.
type Development struct {
	signer jose.Signer
	jwks   []byte
}

// OpenDevelopment opens the issuer that "palisade up" made in dir. The error wraps ErrNoDevelopment if it did
// not, and keyring.ErrExposed if others may read the key.
func OpenDevelopment(dir string) (*Development, error) {
	key, err := keyring.LoadSigningKey(filepath.Join(dir, keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking in %s: %w", dir, ErrNoDevelopment)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the development issuer: %w", err)
	}
	return newDevelopment(key)
}

// CreateDevelopment opens the issuer in dir and makes it if there is none.
func CreateDevelopment(dir string) (*Development, error) {
	key, err := keyring.OpenSigningKey(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, fmt.Errorf("opening the development issuer: %w", err)
	}
	return newDevelopment(key)
}

// newDevelopment prepares the signer and the public key set.
func newDevelopment(key *ecdsa.PrivateKey) (*Development, error) {
	public := jose.JSONWebKey{Key: &key.PublicKey, Algorithm: string(jose.ES256), Use: "sig"}
	thumbprint, err := public.Thumbprint(crypto.SHA256) // RFC 7638
	if err != nil {
		return nil, fmt.Errorf("naming the development key: %w", err)
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: public.KeyID}},
		(&jose.SignerOptions{}).WithType("at+jwt"), // RFC 9068, section 2.1
	)
	if err != nil {
		return nil, fmt.Errorf("preparing to sign: %w", err)
	}
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}})
	if err != nil {
		return nil, fmt.Errorf("encoding the public key: %w", err)
	}
	return &Development{signer: signer, jwks: jwks}, nil
}

// PublicJWKS returns the public key as a JSON Web Key Set (RFC 7517). The caller must not change it.
func (d *Development) PublicJWKS() []byte { return d.jwks }
