package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

const (
	issuer   = "https://issuer.example"
	audience = "bench"
	keyID    = "bench-1"
)

// keys are what a run makes for itself: a certificate for all proxies, and the tokens of an issuer.
type keys struct {
	roots  *x509.CertPool
	tokens []string // one per connection, each of another user
}

// makeKeys writes cert.pem, key.pem and jwks.json into dir.
func makeKeys(dir string, users int) (*keys, error) {
	k := &keys{roots: x509.NewCertPool()}
	if err := k.certificate(dir); err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	if err := k.issue(dir, users); err != nil {
		return nil, fmt.Errorf("making tokens: %w", err)
	}
	return k, nil
}

func (k *keys) certificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	k.roots.AppendCertsFromPEM(cert)
	if err := os.WriteFile(filepath.Join(dir, "cert.pem"), cert, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
}

func (k *keys) issue(dir string, users int) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	point, err := key.PublicKey.Bytes() // 4, x, y: 1 + 32 + 32 bytes
	if err != nil {
		return err
	}
	enc := base64.RawURLEncoding
	jwks := fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":%q,"x":%q,"y":%q}]}`,
		keyID, enc.EncodeToString(point[1:33]), enc.EncodeToString(point[33:65]))
	if err := os.WriteFile(filepath.Join(dir, "jwks.json"), []byte(jwks), 0o644); err != nil {
		return err
	}
	head := enc.EncodeToString(fmt.Appendf(nil, `{"alg":"ES256","typ":"at+jwt","kid":%q}`, keyID))
	for i := range users {
		t, err := sign(key, head, i)
		if err != nil {
			return err
		}
		k.tokens = append(k.tokens, t)
	}
	return nil
}

// sign makes an access token (RFC 9068) signed with ES256 (RFC 7518, section 3.4).
func sign(key *ecdsa.PrivateKey, head string, user int) (string, error) {
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": issuer, "aud": audience, "sub": fmt.Sprintf("user-%d", user), "client_id": "bench", "jti": fmt.Sprintf("t-%d", user),
		"iat": now.Unix(), "exp": now.Add(12 * time.Hour).Unix(), "roles": []string{"customer"}, "tenant": "north",
	})
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding
	input := head + "." + enc.EncodeToString(claims)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return "", err
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + enc.EncodeToString(signature[:]), nil
}
