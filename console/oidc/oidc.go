// Package oidc has people sign in at an OpenID provider: the authorization code flow with PKCE (OpenID Connect Core 1.0,
// section 3.1; RFC 7636) as RFC 9700 wants it. What it keeps of a browser that is on its way is in that browser's cookie.
//
// It verifies no tokens by itself: proxy/filter/jwt does, by the rules that hold for all tokens. It is not for services, which get
// transaction tokens.
package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// FlowLife is how long somebody may take to sign in.
const FlowLife = 10 * time.Minute

// Options say which provider, and who we are there.
type Options struct {
	Issuer   string // https://login.shop.example
	ClientID string
	Secret   func() (string, error) // nil: a public client, by PKCE alone
	Redirect string                 // where the provider sends browsers back, exactly as it knows it
	Scopes   []string               // beside openid
	// Verify checks signature, issuer, audience and times of an ID token and returns what it says.
	Verify func(ctx context.Context, token string) (*Identity, error)
	Client *http.Client // default one that follows no redirects and waits ten seconds
}

// Identity is what an ID token says.
type Identity struct {
	Subject string
	Roles   []string
	Expires time.Time
	Nonce   string // "nonce"
	Party   string // "azp"; empty: not told
}

// Provider is an OpenID provider. It is safe for concurrent use.
type Provider struct {
	o    Options
	key  [sha256.Size]byte // of this process: what browsers hold is good here alone
	turn chan struct{}     // asks the provider: so many at once

	mu    sync.Mutex
	known *metadata
	tried time.Time // when it was last read
	wrong error     // that time
}

// mostAsks is how many codes are redeemed at once; others wait.
const mostAsks = 8

// New makes a Provider. It asks nothing before somebody signs in.
func New(o Options) *Provider {
	if o.Client == nil {
		o.Client = &http.Client{Timeout: answerTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	p := &Provider{o: o, turn: make(chan struct{}, mostAsks)}
	rand.Read(p.key[:])
	return p
}

// ErrFlow says that an answer belongs to nobody who set out from here: another browser's, too old, or made up.
var ErrFlow = errors.New("this sign-in was not begun in this browser, or too long ago")

// Begin returns what the browser holds meanwhile, and where it is sent.
func (p *Provider) Begin(ctx context.Context, now time.Time) (flow, address string, err error) {
	m, err := p.metadata(ctx, now)
	if err != nil {
		return "", "", fmt.Errorf("asking the provider who it is: %w", err)
	}
	flow = rand.Text() + "." + strconv.FormatInt(now.Unix(), 10)
	challenge := sha256.Sum256([]byte(p.derive("verifier", flow)))
	q := m.authorize.Query()
	for name, value := range map[string]string{
		"response_type": "code", "client_id": p.o.ClientID, "redirect_uri": p.o.Redirect, "scope": strings.Join(append([]string{"openid"}, p.o.Scopes...), " "),
		"state": p.derive("state", flow), "nonce": p.derive("nonce", flow),
		"code_challenge": base64.RawURLEncoding.EncodeToString(challenge[:]), "code_challenge_method": "S256",
	} {
		q.Set(name, value)
	}
	to := *m.authorize
	to.RawQuery = q.Encode()
	return flow, to.String(), nil
}

// derive makes of what a browser holds what it must not make itself: without the key, a browser can neither prolong its flow nor
// choose the state of another.
func (p *Provider) derive(what, flow string) string {
	h := hmac.New(sha256.New, p.key[:])
	h.Write([]byte(what + "\x00" + flow))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// Finish takes the answer of the provider that a browser brings, and returns who that is.
func (p *Provider) Finish(ctx context.Context, flow string, answer url.Values, now time.Time) (*Identity, error) {
	_, text, _ := strings.Cut(flow, ".")
	begun, err := strconv.ParseInt(text, 10, 64)
	age := now.Sub(time.Unix(begun, 0))
	if err != nil || age < 0 || age >= FlowLife || !same(one(answer, "state"), p.derive("state", flow)) {
		return nil, ErrFlow
	}
	m, err := p.metadata(ctx, now)
	if err != nil {
		return nil, fmt.Errorf("asking the provider who it is: %w", err)
	}
	// An answer of another provider is not brought to this one (RFC 9207).
	if from := one(answer, "iss"); from != p.o.Issuer && (answer.Has("iss") || m.NamesItself) {
		return nil, errors.New("the answer is of another issuer")
	}
	if answer.Has("error") {
		return nil, fmt.Errorf("the provider refuses: %s", known(one(answer, "error")))
	}
	code := one(answer, "code")
	if code == "" {
		return nil, errors.New("the answer has no code")
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	token, err := p.redeem(ctx, m, code, p.derive("verifier", flow))
	if err != nil {
		return nil, err
	}
	who, err := p.o.Verify(ctx, token)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the ID token is not good: %w", err)
	case !same(who.Nonce, p.derive("nonce", flow)):
		return nil, errors.New("the ID token was made for another sign-in")
	case who.Party != "" && who.Party != p.o.ClientID:
		return nil, errors.New("the ID token was made for another client")
	}
	return who, nil
}

// one is the value of a parameter that must not be there twice.
func one(v url.Values, name string) string {
	if len(v[name]) != 1 {
		return ""
	}
	return v.Get(name)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// known is the word for an error of the provider (RFC 6749, section 4.1.2.1; OpenID Connect Core 1.0, section 3.1.2.6), if it is one.
func known(code string) string {
	switch code {
	case "access_denied", "invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope", "server_error", "temporarily_unavailable",
		"interaction_required", "login_required", "account_selection_required", "consent_required", "invalid_client", "invalid_grant", "unsupported_grant_type":
		return code
	}
	return "for a reason of its own"
}

// Leave is where somebody ends the session at the provider, too (OpenID Connect RP-Initiated Logout 1.0); empty: it has no such
// place, or was not asked yet.
func (p *Provider) Leave() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || p.known.end == nil {
		return ""
	}
	to := *p.known.end
	q := to.Query()
	q.Set("client_id", p.o.ClientID)
	to.RawQuery = q.Encode()
	return to.String()
}
