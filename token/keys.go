package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// maxPublished bounds the keys of one issuer: the one it signs with, and some before and after it.
const maxPublished = 4

// published is the one form in which a key of transaction tokens is published. Its id is its thumbprint (RFC 7638), so
// that two keys never share one.
func published(key crypto.PublicKey) (jose.JSONWebKey, error) {
	public := jose.JSONWebKey{Key: key, Algorithm: string(jose.ES256), Use: "sig"}
	thumbprint, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return public, fmt.Errorf("naming the key of transaction tokens: %w", err)
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	return public, nil
}

// PublishedKeys reads the key set that another process publishes as Transactions.JWKS, and returns its keys as JSON Web Keys in
// the one form that verifiers take. What a taken process says must not reach those who would stumble over it.
func PublishedKeys(jwks []byte) ([]json.RawMessage, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		return nil, errors.New("reading keys of transaction tokens: it is no key set")
	}
	if len(set.Keys) > maxPublished {
		return nil, fmt.Errorf("reading keys of transaction tokens: there are %d, expected at most %d", len(set.Keys), maxPublished)
	}
	out := make([]json.RawMessage, 0, len(set.Keys))
	for i, raw := range set.Keys {
		var read jose.JSONWebKey
		if err := json.Unmarshal(raw, &read); err != nil {
			return nil, fmt.Errorf("reading keys of transaction tokens: key %d cannot be read", i)
		}
		key, ok := read.Key.(*ecdsa.PublicKey)
		if !ok || key.Curve != elliptic.P256() {
			return nil, fmt.Errorf("reading keys of transaction tokens: key %d is no public ECDSA key on P-256", i)
		}
		public, err := published(key)
		if err != nil {
			return nil, err
		}
		data, err := json.Marshal(public)
		if err != nil {
			return nil, fmt.Errorf("writing a key of transaction tokens: %w", err)
		}
		out = append(out, data)
	}
	return out, nil
}
