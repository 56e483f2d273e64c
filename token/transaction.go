package token

import (
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"
	"github.com/go-jose/go-jose/v4/jwt"
)

// The marks of a transaction token (draft-ietf-oauth-transaction-tokens).
const (
	TransactionHeader = "Txn-Token"    // the field it travels in
	TransactionType   = "txntoken+jwt" // its "typ"

	// TransactionLifetime covers the calls that one request from outside sets off, streams aside.
	TransactionLifetime = 2 * time.Minute
	// transactionReuse is how long one token serves further requests of the same user in the same circumstances, so that
	// neither the edge signs nor the sidecars verify a token for each.
	transactionReuse = 10 * time.Second
)

// Transaction is what a transaction token says: who asks from outside, and how they proved it.
type Transaction struct {
	Subject  string         // "sub"
	Provider string         // the declared provider that vouched; in "tctx"
	Issuer   string         // the provider's "iss"; in "tctx"
	Roles    []string       // declared roles; in "tctx"
	Claims   map[string]any // declared claims; in "tctx"
	Scopes   []string       // "scope"
	ClientID string         // in "rctx", with what follows
	TokenID  string         // "jti" of the outside token
	ACR      string
	AMR      []string
	AuthTime time.Time
	Workload string    // SPIFFE ID of who asks for the token: "req_wl"
	Expires  time.Time // of the outside token; the transaction token never outlives it. Zero: unknown
}

// Transactions issues transaction tokens of one trust domain. It is safe for concurrent use.
type Transactions struct {
	domain string
	signer jose.Signer
	jwks   []byte
	reuse  reuse
}

// NewTransactions signs with key, an ECDSA key on P-256. Tokens are for the trust domain alone.
func NewTransactions(domain string, key crypto.Signer) (*Transactions, error) {
	public, err := published(key.Public())
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: cryptosigner.Opaque(key), KeyID: public.KeyID}},
		(&jose.SignerOptions{}).WithType(TransactionType),
	)
	if err != nil {
		return nil, fmt.Errorf("preparing to sign transaction tokens: %w", err)
	}
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}})
	if err != nil {
		return nil, fmt.Errorf("encoding the key of transaction tokens: %w", err)
	}
	return &Transactions{domain: domain, signer: signer, jwks: jwks}, nil
}

// JWKS returns the public key as a JSON Web Key Set (RFC 7517). The caller must not change it.
func (t *Transactions) JWKS() []byte { return t.jwks }

// TransactionIssuer is the "iss" of a trust domain's transaction tokens.
func TransactionIssuer(domain string) string { return "spiffe://" + domain }

// For returns a token for x. Key stands for x: who calls For with the same key within ten seconds gets the same token.
// It must be comparable and name everything that x is made of; nil means that nothing is reused.
func (t *Transactions) For(key any, x *Transaction, now time.Time) (string, error) {
	if key != nil {
		if token := t.reuse.get(key, now); token != "" {
			return token, nil
		}
	}
	token, expires, err := t.issue(x, now)
	if err != nil {
		return "", fmt.Errorf("issuing a transaction token: %w", err)
	}
	if key != nil {
		t.reuse.put(key, token, now, expires)
	}
	return token, nil
}

func (t *Transactions) issue(x *Transaction, now time.Time) (string, time.Time, error) {
	if x.Subject == "" {
		return "", time.Time{}, errors.New("a subject is needed")
	}
	expires := now.Add(TransactionLifetime)
	if !x.Expires.IsZero() && x.Expires.Before(expires) {
		expires = x.Expires
	}
	if !expires.After(now) {
		return "", time.Time{}, errors.New("the outside token has expired")
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails (crypto/rand)
	body := transactionBody{
		Issuer: TransactionIssuer(t.domain), Audience: t.domain, Issued: now.Unix(), Expires: expires.Unix(),
		ID: base64.RawURLEncoding.EncodeToString(id), Subject: x.Subject, Scope: strings.Join(x.Scopes, " "), Workload: x.Workload,
		Context:   transactionContext{Provider: x.Provider, Issuer: x.Issuer, Roles: x.Roles, Claims: x.Claims},
		Requester: transactionRequester{ClientID: x.ClientID, TokenID: x.TokenID, ACR: x.ACR, AMR: x.AMR},
	}
	if !x.AuthTime.IsZero() {
		body.Requester.AuthTime = x.AuthTime.Unix()
	}
	out, err := jwt.Signed(t.signer).Claims(&body).Serialize()
	return out, expires, err
}

// transactionBody is the claims set (draft-ietf-oauth-transaction-tokens, section "Txn-Token Claims").
type transactionBody struct {
	Issuer    string               `json:"iss"`
	Audience  string               `json:"aud"` // the trust domain
	Issued    int64                `json:"iat"`
	Expires   int64                `json:"exp"`
	ID        string               `json:"txn"`
	Subject   string               `json:"sub"`
	Scope     string               `json:"scope,omitempty"`
	Workload  string               `json:"req_wl,omitempty"`
	Context   transactionContext   `json:"tctx"`
	Requester transactionRequester `json:"rctx"`
}

type transactionContext struct {
	Provider string         `json:"provider"`
	Issuer   string         `json:"iss"`
	Roles    []string       `json:"roles,omitempty"`
	Claims   map[string]any `json:"claims,omitempty"`
}

type transactionRequester struct {
	ClientID string   `json:"client_id,omitempty"`
	TokenID  string   `json:"jti,omitempty"`
	ACR      string   `json:"acr,omitempty"`
	AMR      []string `json:"amr,omitempty"`
	AuthTime int64    `json:"auth_time,omitempty"`
}
