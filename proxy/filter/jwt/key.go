package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// key is a public key that a provider signs with.
type key struct {
	id     string
	alg    string // "" or the only algorithm it may be used with (RFC 7517, section 4.4)
	public crypto.PublicKey
}

// The bounds of RSA keys, in bits. Larger ones take milliseconds for each token.
const (
	minModulus = 2048
	maxModulus = 8192
	minPublicE = 65537 // FIPS 186-5, section 5.1
)

// errNotForSigning marks keys that are skipped in silence: symmetric ones, of other types, for encryption.
var errNotForSigning = errors.New("not a public key for signatures")

// parseKey reads one JSON Web Key (RFC 7517, section 4; RFC 7518, section 6; RFC 8037, section 2).
func parseKey(jwk map[string]any) (*key, error) {
	if use, ok := jwk["use"]; ok && use != "sig" {
		return nil, errNotForSigning
	}
	if ops, ok := jwk["key_ops"]; ok {
		list, isList := ops.([]any)
		if !isList || !slices.Contains(list, any("verify")) {
			return nil, errNotForSigning
		}
	}
	k := &key{id: stringMember(jwk, "kid"), alg: stringMember(jwk, "alg")}
	if len(k.id) > maxKeyID {
		return nil, errors.New("the key id is longer than 256 bytes")
	}
	var err error
	switch stringMember(jwk, "kty") {
	case "EC":
		k.public, err = parseEC(jwk)
	case "RSA":
		k.public, err = parseRSA(jwk)
	case "OKP":
		k.public, err = parseOKP(jwk)
	default: // "oct" above all: a secret has no place in a published set
		return nil, errNotForSigning
	}
	if err != nil {
		return nil, err
	}
	if k.alg != "" {
		alg := algorithms()[k.alg]
		if alg == nil {
			return nil, errNotForSigning
		}
		if !alg.fits(k.public) {
			return nil, fmt.Errorf("the key does not fit its algorithm %s", alg.name)
		}
	}
	return k, nil
}

// parseEC reads a point and checks that it lies on its curve.
func parseEC(jwk map[string]any) (crypto.PublicKey, error) {
	var curve elliptic.Curve
	switch stringMember(jwk, "crv") {
	case "P-256":
		curve = elliptic.P256()
	case "P-384":
		curve = elliptic.P384()
	case "P-521":
		curve = elliptic.P521()
	default:
		return nil, errNotForSigning
	}
	size := (curve.Params().BitSize + 7) / 8
	x, errX := bytesMember(jwk, "x")
	y, errY := bytesMember(jwk, "y")
	if err := errors.Join(errX, errY); err != nil {
		return nil, err
	}
	if len(x) != size || len(y) != size {
		return nil, errors.New("a coordinate does not have its curve's size")
	}
	point := slices.Concat([]byte{4}, x, y)
	public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, fmt.Errorf("the point is not on its curve: %w", err)
	}
	return public, nil
}

// parseRSA reads modulus and exponent and refuses weak and oversized ones.
func parseRSA(jwk map[string]any) (crypto.PublicKey, error) {
	n, errN := bytesMember(jwk, "n")
	e, errE := bytesMember(jwk, "e")
	if err := errors.Join(errN, errE); err != nil {
		return nil, err
	}
	modulus := new(big.Int).SetBytes(n)
	if bits := modulus.BitLen(); bits < minModulus || bits > maxModulus || modulus.Bit(0) == 0 {
		return nil, fmt.Errorf("an RSA modulus of %d bits is not accepted", bits)
	}
	exponent := new(big.Int).SetBytes(e)
	if exponent.BitLen() > 31 || exponent.Int64() < minPublicE || exponent.Bit(0) == 0 {
		return nil, errors.New("the RSA exponent is not accepted")
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, nil
}

// parseOKP reads an Ed25519 key. Ed448 and the key agreement curves are not for us.
func parseOKP(jwk map[string]any) (crypto.PublicKey, error) {
	if stringMember(jwk, "crv") != "Ed25519" {
		return nil, errNotForSigning
	}
	x, err := bytesMember(jwk, "x")
	if err != nil {
		return nil, err
	}
	if len(x) != ed25519.PublicKeySize {
		return nil, errors.New("an Ed25519 key does not have 32 bytes")
	}
	return ed25519.PublicKey(x), nil
}

// stringMember returns a string member or "".
func stringMember(object map[string]any, name string) string {
	s, _ := object[name].(string)
	return s
}

// bytesMember decodes a base64url member.
func bytesMember(object map[string]any, name string) ([]byte, error) {
	s := stringMember(object, name)
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("the key's member %q is missing or not base64url", name)
	}
	return b, nil
}
