package attest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"testing/synctest"
	"time"
)

// authority is a certificate authority of a node fleet that existed before us.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nodes"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	a := &authority{key: key, pool: x509.NewCertPool()}
	a.cert = a.sign(t, tmpl, tmpl, key.Public())
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) sign(t *testing.T, tmpl, parent *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// node issues a certificate for a node; change may spoil it.
func (a *authority) node(t *testing.T, key crypto.Signer, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"node-1.example"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if change != nil {
		change(tmpl)
	}
	return a.sign(t, tmpl, a.cert, key.Public())
}

func keys(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"P-256": p256, "Ed25519": ed, "RSA": rsaKey}
}

func TestProofOfPossession(t *testing.T) {
	a := newAuthority(t)
	for name, key := range keys(t) {
		t.Run(name, func(t *testing.T) {
			leaf := a.node(t, key, nil)
			c := NewChallenge()
			response, err := Respond(key, leaf, c.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			proven, err := c.Prove(a.pool, [][]byte{leaf.Raw}, response)
			if err != nil || len(proven) != 2 || proven[1] != (Selector{Kind: X509DNS, Value: "node-1.example"}) {
				t.Fatalf("proven %v, %v", proven, err)
			}
			if _, err := c.Prove(a.pool, [][]byte{leaf.Raw}, response); !errors.Is(err, ErrPossession) {
				t.Errorf("a second time: %v", err)
			}
			if _, err := NewChallenge().Prove(a.pool, [][]byte{leaf.Raw}, response); !errors.Is(err, ErrPossession) {
				t.Errorf("in answer to another challenge: %v", err)
			}
		})
	}
}

func TestProofOfPossessionRefuses(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	all := keys(t)
	key, other := all["P-256"], all["Ed25519"]
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skipf("no small RSA keys here: %v", err)
	}
	for name, c := range map[string]struct {
		cert, signs *x509.Certificate
		key         crypto.Signer
		roots       *x509.CertPool
	}{
		"other root":        {cert: stranger.node(t, key, nil), key: key, roots: a.pool},
		"no roots":          {cert: a.node(t, key, nil), key: key},
		"expired":           {cert: a.node(t, key, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), key: key, roots: a.pool},
		"an authority":      {cert: a.cert, key: a.key, roots: a.pool},
		"server only":       {cert: a.node(t, key, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), key: key, roots: a.pool},
		"may not sign":      {cert: a.node(t, key, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), key: key, roots: a.pool},
		"signed as another": {cert: a.node(t, key, nil), signs: a.node(t, key, nil), key: key, roots: a.pool},
		"key of another":    {cert: a.node(t, key, nil), signs: a.node(t, other, nil), key: other, roots: a.pool},
		"short RSA key":     {cert: a.node(t, small, nil), signs: a.node(t, key, nil), key: key, roots: a.pool},
	} {
		t.Run(name, func(t *testing.T) {
			signs := c.signs
			if signs == nil {
				signs = c.cert
			}
			challenge := NewChallenge()
			response, err := Respond(c.key, signs, challenge.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if proven, err := challenge.Prove(c.roots, [][]byte{c.cert.Raw}, response); err == nil {
				t.Errorf("proven %v", proven)
			}
		})
	}
}

func TestChallengeExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		key := keys(t)["P-256"]
		leaf := a.node(t, key, nil)
		c := NewChallenge()
		response, err := Respond(key, leaf, c.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(challengeLife)
		if _, err := c.Prove(a.pool, [][]byte{leaf.Raw}, response); !errors.Is(err, ErrPossession) {
			t.Errorf("late: %v", err)
		}
	})
}

func FuzzChain(f *testing.F) {
	f.Add([]byte{0x30, 0x03, 0x02, 0x01, 0x01}, []byte{})
	pool := x509.NewCertPool()
	f.Fuzz(func(t *testing.T, leaf, intermediate []byte) {
		if proven, err := NewChallenge().Prove(pool, [][]byte{leaf, intermediate}, nil); err == nil {
			t.Errorf("proven %v", proven)
		}
	})
}
