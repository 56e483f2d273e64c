package attest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// ErrPossession refuses a proof of possession: the signature or the challenge is not right.
var ErrPossession = errors.New("the certificate's key has not been proven")

const (
	challengeLife = time.Minute
	maxChain      = 8
	// minRSA is the least modulus accepted, in bits (NIST SP 800-57: 112 bits of security).
	minRSA = 2048
	// purpose keeps a signature made here from meaning anything elsewhere.
	purpose = "palisade node attestation x509 v1\x00"
)

// Challenge is one question to the holder of a node certificate: sign these 32 random bytes. It can be answered
// once, within a minute, and lives where the exchange lives.
type Challenge struct {
	nonce   [32]byte
	expires time.Time
	used    atomic.Bool
}

// NewChallenge asks a new question.
func NewChallenge() *Challenge {
	c := &Challenge{expires: time.Now().Add(challengeLife)}
	_, _ = rand.Read(c.nonce[:]) // never fails (crypto/rand)
	return c
}

// Bytes is what the other side has to sign with Respond.
func (c *Challenge) Bytes() []byte { return c.nonce[:] }

// statement is what is signed: what for, by which certificate, in answer to what.
func statement(leaf *x509.Certificate, nonce []byte) []byte {
	sum := sha256.Sum256(leaf.Raw)
	return append(append([]byte(purpose), sum[:]...), nonce...)
}

// Respond signs a challenge with the key of leaf: the side of the node.
func Respond(key crypto.Signer, leaf *x509.Certificate, challenge []byte) ([]byte, error) {
	if len(challenge) != len(Challenge{}.nonce) {
		return nil, fmt.Errorf("answering a challenge: it has %d bytes", len(challenge))
	}
	algorithm, err := signature(leaf)
	if err != nil {
		return nil, fmt.Errorf("answering a challenge: %w", err)
	}
	message := statement(leaf, challenge)
	if algorithm == x509.PureEd25519 {
		return key.Sign(rand.Reader, message, crypto.Hash(0))
	}
	digest := sha256.Sum256(message)
	var opts crypto.SignerOpts = crypto.SHA256
	if algorithm == x509.SHA256WithRSAPSS {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	}
	return key.Sign(rand.Reader, digest[:], opts)
}

// signature is the one algorithm for a kind of key.
func signature(leaf *x509.Certificate) (x509.SignatureAlgorithm, error) {
	switch key := leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return x509.ECDSAWithSHA256, nil
	case ed25519.PublicKey:
		return x509.PureEd25519, nil
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSA {
			return 0, fmt.Errorf("an RSA key of %d bits is too short", key.N.BitLen())
		}
		return x509.SHA256WithRSAPSS, nil
	}
	return 0, fmt.Errorf("keys of type %T cannot prove anything", leaf.PublicKey)
}

// Prove checks that der, a chain with its leaf first, leads to roots, and that response was made for this
// challenge with the leaf's key. It uses the challenge up, whatever comes out.
func (c *Challenge) Prove(roots *x509.CertPool, der [][]byte, response []byte) ([]Selector, error) {
	if c.used.Swap(true) || !time.Now().Before(c.expires) {
		return nil, ErrPossession
	}
	leaf, err := verifyChain(roots, der)
	if err != nil {
		return nil, fmt.Errorf("attesting by certificate: %w", err)
	}
	algorithm, err := signature(leaf)
	if err != nil {
		return nil, fmt.Errorf("attesting by certificate: %w", err)
	}
	if err := leaf.CheckSignature(algorithm, statement(leaf, c.nonce[:]), response); err != nil {
		return nil, ErrPossession
	}
	sum := sha256.Sum256(leaf.Raw)
	out := []Selector{{Kind: X509Fingerprint, Value: hex.EncodeToString(sum[:])}}
	for _, name := range leaf.DNSNames {
		out = append(out, Selector{Kind: X509DNS, Value: name})
	}
	return out, nil
}

// verifyChain returns the leaf of a chain that leads to roots (RFC 5280, section 6) and may sign for itself.
func verifyChain(roots *x509.CertPool, der [][]byte) (*x509.Certificate, error) {
	// A nil pool would mean the operating system's roots: half the world's certificates.
	if roots == nil || len(der) == 0 || len(der) > maxChain {
		return nil, fmt.Errorf("no roots, or a chain of %d certificates", len(der))
	}
	chain := make([]*x509.Certificate, len(der))
	intermediates := x509.NewCertPool()
	for i, raw := range der {
		cert, err := x509.ParseCertificate(raw)
		if err != nil {
			return nil, err
		}
		chain[i] = cert
		if i > 0 {
			intermediates.AddCert(cert)
		}
	}
	leaf := chain[0]
	if leaf.IsCA || leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, errors.New("the certificate is not for signatures of a node")
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return leaf, err
}
