package jwt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/field"
)

// The marks of transaction tokens (draft-ietf-oauth-transaction-tokens).
const (
	transactionField = "Txn-Token"
	transactionType  = "txntoken+jwt"
	transactionAlg   = "ES256"

	// maxTransaction bounds "exp" less "iat". A transaction token cannot be revoked; it is over soon instead.
	maxTransaction = 5 * time.Minute
)

// TransactionOptions are what Transactions are built from.
type TransactionOptions struct {
	Fleet       string // realm in WWW-Authenticate
	TrustDomain string // whose tokens are believed, and that must be their audience
	Providers   []model.ResolvedProvider
	Roles       []model.ResolvedRole
	JWKS        []byte // of the issuer (RFC 7517); empty: none is known yet

	Now       func() time.Time // default time.Now
	CacheSize int              // verified tokens remembered; default 16384, negative: none
}

// Transactions verify the transaction tokens of a trust domain, with which the edge tells services on whose behalf they
// are asked. It is safe for concurrent use.
type Transactions struct {
	a        *Authenticator
	issuer   *provider
	claims   map[string]providerClaims // by name of the provider that vouched for the user
	verified []event.Reason
	missing  []event.Reason
}

// providerClaims are the claims that a provider declares.
type providerClaims struct {
	names []string // sorted
	types map[string]string
}

// NewTransactions builds a verifier. The key set must be usable, or empty: then no token is good until SetKeys.
func NewTransactions(o TransactionOptions) (*Transactions, error) {
	if o.TrustDomain == "" {
		return nil, errors.New("building the verification of transaction tokens: a trust domain is needed")
	}
	a, err := New(Options{Fleet: o.Fleet, Now: o.Now, CacheSize: o.CacheSize})
	if err != nil {
		return nil, err
	}
	t := &Transactions{
		a: a, claims: map[string]providerClaims{},
		verified: []event.Reason{{Code: CodeTransaction, Text: "the transaction token is valid"}},
		missing:  []event.Reason{{Code: CodeNoTransaction, Text: "no transaction token was sent, so there is no end user"}},
	}
	for i := range o.Providers {
		p := &o.Providers[i]
		t.claims[p.Name] = providerClaims{slices.Sorted(maps.Keys(p.Claims)), p.Claims}
	}
	t.issuer = &provider{
		name: "transactions", issuer: "spiffe://" + o.TrustDomain, audience: []string{o.TrustDomain}, types: []string{transactionType},
		algorithms: map[string]*algorithm{transactionAlg: algorithms()[transactionAlg]},
		skew:       defaultSkew, roles: roleTable(nil, o.Roles), rolesClaim: defaultRoles, read: t.user,
	}
	if len(o.JWKS) > 0 {
		if err := t.SetKeys(o.JWKS); err != nil {
			return nil, err
		}
	}
	a.providers[t.issuer.issuer] = t.issuer
	a.challengeInvalid = field.List{{Name: "Www-Authenticate", Value: transactionField + ` realm="` + quote(o.Fleet) + `", error="invalid_token"`}}
	return t, nil
}

// SetKeys replaces the key set. Requests that are being decided go on with the keys they began with; every later one
// looks at the new keys, also for tokens verified before. So issuers that change keys publish the next one
// before they sign with it, and the last one until its tokens have ended. A set that is not usable changes nothing. One without
// keys is a set: then no token is good, since who signed the last ones was revoked.
func (t *Transactions) SetKeys(jwks []byte) error {
	if document, err := parseObject(jwks, documentBounds()); err == nil {
		if list, ok := document["keys"].([]any); ok && len(list) == 0 {
			t.issuer.fixed.Store(&keySet{})
			return nil
		}
	}
	if err := t.issuer.fix(jwks); err != nil {
		return fmt.Errorf("setting the keys of transaction tokens: %w", err)
	}
	return nil
}

// Forget makes every token that has been verified be looked at anew.
func (t *Transactions) Forget() { t.a.Forget() }

// ForRoute returns the filter for a route, which is the same for all: whether an end user is needed is for policies to
// say. The *proxy.User it sets is shared between requests and is not to be changed.
func (t *Transactions) ForRoute(model.ResolvedRoute) proxy.Filter { return proxy.FilterFunc(t.filter) }

// filter sets r.User from the transaction token, or refuses a token that is not good.
func (t *Transactions) filter(ctx context.Context, r *proxy.Request) error {
	token, found, err := transaction(r.Header)
	if err == nil && !found {
		r.NoteShared(t.missing)
		return nil
	}
	var v *verified
	if err == nil {
		v, err = t.a.authenticate(ctx, token)
	}
	if err != nil {
		err = t.a.denial(err)
		if denial, ok := errors.AsType[*proxy.Denial](err); ok {
			denial.Detail = "The transaction token is malformed, expired or not accepted here."
		}
		return err
	}
	r.User = v.user
	r.NoteShared(t.verified)
	return nil
}

// transaction finds the one transaction token. One among the credentials of Authorization is refused: a service might
// believe there what nobody has verified.
func transaction(header field.List) (token string, found bool, err error) {
	for i := range header {
		switch name := header[i].Name; {
		case len(name) == len(transactionField) && strings.EqualFold(name, transactionField):
			if found {
				return "", true, refuse(CodeDuplicateTransaction, "more than one Txn-Token field was sent")
			}
			token, found = header[i].Value, true
		case len(name) == len("Authorization") && strings.EqualFold(name, "Authorization"):
			if holdsTransaction(header[i].Value) {
				return "", true, refuse(CodeMisplaced, "a transaction token was sent in Authorization")
			}
		}
	}
	switch {
	case found && token == "":
		return "", true, refuse(CodeMalformed, "the Txn-Token field is empty")
	case len(token) > maxToken:
		return "", true, refuse(CodeTooLarge, "the token is larger than 8 KiB")
	}
	return token, found, nil
}

// holdsTransaction reports whether credentials hold a token of the type of transaction tokens, whatever its scheme.
// Other credentials are between the services.
func holdsTransaction(credentials string) bool {
	for word := range strings.FieldsFuncSeq(credentials, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' || r == '"' || r == '=' }) {
		segment, _, isToken := strings.Cut(word, ".")
		if !isToken || len(segment) > maxToken {
			continue
		}
		if h, err := parseHead(segment); err == nil && mediaType(h.typ) == transactionType {
			return true
		}
	}
	return false
}

// user reads who a transaction token is about: "sub" and "scope" of the token itself, who vouched for the user with
// what in "tctx", and how the user asked at the edge in "rctx".
func (t *Transactions) user(c claimSet, expires time.Time) (*proxy.User, error) {
	if aud, err := c.list("aud"); err != nil || len(aud) != 1 {
		return nil, refuse(CodeWrongAudience, "the token is meant for others, too")
	}
	if err := t.checkBegin(c, expires); err != nil {
		return nil, err
	}
	about, err := c.object("tctx")
	if err != nil {
		return nil, err
	}
	requester, err := c.object("rctx")
	if err != nil {
		return nil, err
	}
	u := &proxy.User{Expires: expires, Roles: t.issuer.rolesOf(about)}
	id := ""
	for _, m := range []struct {
		from     claimSet
		name     string
		to       *string
		required bool
	}{
		{c, "txn", &id, true},
		{c, "sub", &u.Subject, true},
		{about, "provider", &u.Provider, true},
		{about, "iss", &u.Issuer, true},
		{requester, "jti", &u.TokenID, false},
		{requester, "client_id", &u.ClientID, false},
		{requester, "acr", &u.ACR, false},
	} {
		if *m.to, err = m.from.text(m.name); err != nil {
			return nil, err
		}
		if m.required && *m.to == "" {
			return nil, refuse(CodeMissingClaim, "the token has no "+m.name)
		}
	}
	if strings.Contains(u.Provider, "|") {
		return nil, refuse(CodeMalformed, "a provider's name does not hold |") // it ends the name in a principal
	}
	if u.AMR, err = requester.list("amr"); err != nil {
		return nil, err
	}
	if u.AuthTime, _, err = requester.date("auth_time"); err != nil {
		return nil, err
	}
	if u.Scopes, err = c.scopes(); err != nil {
		return nil, err
	}
	claims, err := about.object("claims")
	if err != nil {
		return nil, err
	}
	of := t.claims[u.Provider]
	u.Claims, err = declared(claims, of.names, of.types)
	return u, err
}

// checkBegin bounds how long a token may live.
func (t *Transactions) checkBegin(c claimSet, expires time.Time) error {
	begins, ok, err := c.date("iat")
	switch {
	case err != nil:
		return err
	case !ok:
		return refuse(CodeMissingClaim, "the token has no iat")
	case expires.Sub(begins) > maxTransaction:
		return refuse(CodeTooLong, "the token lives longer than a transaction token may")
	}
	return nil
}

// object returns a claim that is an object, an empty one where it is absent.
func (c claimSet) object(name string) (claimSet, error) {
	switch v := c[name].(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return v, nil
	default:
		return nil, refuse(CodeWrongClaim, "a claim is not an object: "+name)
	}
}
