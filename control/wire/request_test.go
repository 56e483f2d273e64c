package wire

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
)

func TestCheckCSR(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := NewCSR(key)
	if err != nil {
		t.Fatal(err)
	}
	if public, err := CheckCSR(csr); err != nil || !key.PublicKey.Equal(public) {
		t.Errorf("%v, %v", public, err)
	}
	csr[len(csr)-1] ^= 1
	if _, err := CheckCSR(csr); err == nil {
		t.Error("a request whose signature is broken was taken")
	}
	if _, err := CheckCSR([]byte("none")); err == nil {
		t.Error("what is no request was taken")
	}
}

// TestCheckCSREndlessKey shows a key with which nobody should verify: it would take most of a minute.
func TestCheckCSREndlessKey(t *testing.T) {
	n := new(big.Int).Lsh(big.NewInt(1), 1<<20)
	key, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	type info struct { // RFC 2986, section 4.1
		Version    int
		Subject    pkix.RDNSequence
		Key        asn1.RawValue
		Attributes []asn1.RawValue `asn1:"tag:0"`
	}
	csr, err := asn1.Marshal(struct {
		Info      info
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{
		info{Key: asn1.RawValue{FullBytes: key}},
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, Parameters: asn1.NullRawValue},
		asn1.BitString{Bytes: make([]byte, 1<<17+1), BitLength: 8 * (1<<17 + 1)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CheckCSR(csr); err == nil || !strings.Contains(err.Error(), "8192 bits") {
		t.Errorf("a key of a million bits: %v", err)
	}
}
