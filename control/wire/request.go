package wire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
)

// Paths of the HTTPS interface for proxies.
const (
	BundlePath    = "/v1/bundle"    // GET: the trust bundle, to whoever asks
	ChallengePath = "/v1/challenge" // POST: Challenge, to whoever asks
	EnrolPath     = "/v1/enrol"     // POST EnrolRequest: EnrolAnswer, to whoever proves what it is
	MeetPath      = "/v1/meet"      // POST MeetRequest: EnrolAnswer without a chain, over mTLS: to whom another issuer gives its SVID
	RenewPath     = "/v1/renew"     // POST SignRequest: EnrolAnswer, over mTLS
	JWTPath       = "/v1/jwt"       // POST JWTRequest: JWTAnswer, over mTLS
	ReportPath    = "/v1/report"    // POST Report: ReportAnswer, over mTLS
	LedgerPath    = "/v1/ledger/"   // GET: files of the ledger (C2SP tlog-tiles), to whoever asks, if they are published
)

// MaxRequest bounds a request of a proxy, in bytes.
const MaxRequest = 256 << 10

// SignRequest asks for another X.509-SVID for the asker's own identity. The SVID that it has proves which of several
// proxies of that identity it is, so that one that is revoked by serial number or node gets no other.
type SignRequest struct {
	CSR      []byte   `json:"csr"`      // PKCS #10, DER: proves that the asker has the new key
	Chain    [][]byte `json:"chain"`    // the SVID that it has, DER
	Response []byte   `json:"response"` // signature of the request with the key of that SVID: Respond without a challenge
}

// SignAnswer is an X.509-SVID.
type SignAnswer struct {
	Chain [][]byte `json:"chain"` // DER, the SVID first, without the root
}

// JWTRequest asks for a JWT-SVID for the asker's own identity.
type JWTRequest struct {
	Audience []string `json:"audience"`
}

// JWTAnswer is a JWT-SVID.
type JWTAnswer struct {
	Token string `json:"token"` // JWS in compact form
}

// ProofKind says how a proxy proves what it is.
type ProofKind string

// The proofs: all of them can be verified by control itself.
const (
	ByJoinToken   ProofKind = "join-token"  // used once, bound to a name
	ByCertificate ProofKind = "certificate" // a node certificate signs a challenge
	ByKubernetes  ProofKind = "kubernetes"  // a projected service account token, reviewed by the API server
	ByLapsed      ProofKind = "lapsed"      // the last SVID, expired not long ago, signs a challenge
)

// Proof proves what an asker is.
type Proof struct {
	Kind      ProofKind `json:"kind"`
	Token     string    `json:"token,omitempty"`     // join token, or service account token
	Process   string    `json:"process,omitempty"`   // with a join token: a secret of the asking process, which may use the token again if the answer was lost
	Chain     [][]byte  `json:"chain,omitempty"`     // DER, the leaf first
	Challenge string    `json:"challenge,omitempty"` // its name
	Response  []byte    `json:"response,omitempty"`  // signature
}

// EnrolRequest asks for a first SVID.
type EnrolRequest struct {
	Name  string `json:"name"`           // what it wants to be: "service/orders", "edge/edge"
	Node  string `json:"node,omitempty"` // host it runs on
	CSR   []byte `json:"csr"`
	Proof Proof  `json:"proof"`
}

// MeetRequest asks for what a proxy needs beside an SVID, which it has from another issuer and shows.
type MeetRequest struct {
	Node string `json:"node,omitempty"` // host it runs on
}

// EnrolAnswer is all that a proxy needs to begin.
type EnrolAnswer struct {
	Chain  [][]byte        `json:"chain,omitempty"`
	Bundle json.RawMessage `json:"bundle"` // of the trust domain (SPIFFE JSON)
	Keys   [][]byte        `json:"keys"`   // PKIX: those that sign statements
	Bus    []string        `json:"bus"`    // tls://host:port
}

// Challenge is to be signed, once, within a minute.
type Challenge struct {
	Name  string `json:"name"`
	Bytes []byte `json:"bytes"`
}

// renewalPurpose keeps a signature made for a new SVID from meaning anything elsewhere.
const renewalPurpose = "palisade renewal v1\x00"

func digestOf(challenge, csr []byte) []byte {
	sum := sha256.Sum256(csr)
	digest := sha256.Sum256(append(append([]byte(renewalPurpose), sum[:]...), challenge...))
	return digest[:]
}

// Respond signs a challenge and a certificate request with the key of the SVID that is to be replaced. While that
// one is valid there need not be a challenge: whoever repeats the answer gets a certificate for a key they do not have.
func Respond(key crypto.Signer, challenge, csr []byte) ([]byte, error) {
	return key.Sign(rand.Reader, digestOf(challenge, csr), crypto.SHA256)
}

// CheckResponse verifies what Respond signed.
func CheckResponse(public crypto.PublicKey, challenge, csr, response []byte) bool {
	key, ok := public.(*ecdsa.PublicKey)
	return ok && ecdsa.VerifyASN1(key, digestOf(challenge, csr), response)
}

// NewCSR makes a certificate request for a key. It names nothing: who the asker is, is proven otherwise.
func NewCSR(key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate request: %w", err)
	}
	return der, nil
}

const maxRSA = 8192 // bits, as the authority takes

// CheckCSR returns the key of a request whose signature proves that the asker has it.
func CheckCSR(der []byte) (crypto.PublicKey, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, errors.New("the certificate request cannot be read")
	}
	// To verify with a key of a million bits takes longer than whoever sends it should be given.
	if key, ok := csr.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSA {
		return nil, fmt.Errorf("the key of the certificate request has more than %d bits", maxRSA)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, errors.New("the certificate request is not signed by its key")
	}
	return csr.PublicKey, nil
}
