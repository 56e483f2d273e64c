// Package jwt authenticates users by JWT access tokens (RFC 9068, RFC 7519, RFC 8725) that come as bearer
// tokens (RFC 6750), and between services by the transaction tokens that the edge makes of them. It finds who the user is and never what the user may do; it issues nothing. Signature
// algorithms are golang-jwt's, everything that surrounds them is stricter than a general library can be.
package jwt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/field"
)

// Options are what an Authenticator is built from. The first group comes from the snapshot, defaults filled in.
type Options struct {
	Fleet     string // realm in WWW-Authenticate
	Providers []model.ResolvedProvider
	Roles     []model.ResolvedRole

	// Development honours development providers: set under "palisade up" alone (Snapshot.Development). Else
	// they are ignored and their tokens refused.
	Development     bool
	DevelopmentKeys []byte // JWKS of development providers that bring none

	Client       *http.Client     // for key sets; default: one with its own timeouts
	LoopbackHTTP bool             // also fetch key sets over plain HTTP from loopback addresses
	Now          func() time.Time // default time.Now
	CacheSize    int              // verified tokens remembered; default 16384, negative: none
	Log          *slog.Logger     // default: discard

	// Previous is the Authenticator of the snapshot before. Key sets of sources that did not change are
	// taken over, so that a reload needs no network.
	Previous *Authenticator
}

const defaultCacheSize = 16384

// Authenticator verifies tokens for all routes of one snapshot. It is safe for concurrent use.
type Authenticator struct {
	providers map[string]*provider // by exact issuer
	sources   []*source            // those that fetch
	cache     *cache               // nil: none
	epoch     atomic.Uint64
	now       func() time.Time

	anonymous        []event.Reason // of a request without a token where none is needed
	challengeNone    field.List
	challengeInvalid field.List
}

// New checks the providers and builds an Authenticator. Key sets given as files must be usable; those behind
// a URL are fetched by Run. The error names every provider at fault.
func New(o Options) (*Authenticator, error) {
	a := &Authenticator{providers: map[string]*provider{}, now: o.Now}
	if a.now == nil {
		a.now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a.anonymous = []event.Reason{{Code: CodeAnonymous, Text: "no token was sent; the route lets anyone in"}}
	realm := `Bearer realm="` + quote(o.Fleet) + `"`
	a.challengeNone = field.List{{Name: "Www-Authenticate", Value: realm}}
	a.challengeInvalid = field.List{{Name: "Www-Authenticate", Value: realm + `, error="invalid_token"`}}
	if o.CacheSize == 0 {
		o.CacheSize = defaultCacheSize
	}
	if o.CacheSize > 0 {
		a.cache = newCache(o.CacheSize)
	}
	var errs []error
	for i := range o.Providers {
		p, err := newProvider(&o, &o.Providers[i])
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("provider %q: %w", o.Providers[i].Name, err))
		case p == nil: // a development provider where none is honoured
		case a.providers[p.issuer] != nil:
			errs = append(errs, fmt.Errorf("provider %q: issuer %q is also that of provider %q", p.name, p.issuer, a.providers[p.issuer].name))
		default:
			a.providers[p.issuer] = p
			if p.source != nil {
				a.sources = append(a.sources, p.source)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("building authentication: %w", err)
	}
	return a, nil
}

// Run keeps the key sets fresh until ctx ends. It returns nil then, and at once if there is nothing to fetch.
func (a *Authenticator) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range a.sources {
		g.Go(func() error { s.run(ctx); return nil })
	}
	return g.Wait()
}

// Ready tells which providers have no keys yet; nil means that every token can be decided.
func (a *Authenticator) Ready() error {
	var errs []error
	for _, p := range a.providers {
		if p.keys() == nil {
			errs = append(errs, fmt.Errorf("provider %q has no keys yet: %w", p.name, p.source.lastError()))
		}
	}
	return errors.Join(errs...)
}

// Forget makes the Authenticator look anew at every token it has verified: a revocation calls it.
func (a *Authenticator) Forget() { a.epoch.Add(1) }

// ForRoute returns the filter for one route: only the route's providers are believed, and a missing token is
// refused unless the route is anonymous. The *proxy.User it sets is shared between requests and is not to be changed.
func (a *Authenticator) ForRoute(route model.ResolvedRoute) proxy.Filter {
	f := &filter{a: a, anonymous: route.Anonymous}
	if len(route.Providers) > 0 {
		f.allowed = slices.Clone(route.Providers)
	}
	return f
}

// filter is an Authenticator on one route.
type filter struct {
	a         *Authenticator
	allowed   []string // provider names; nil: all
	anonymous bool
}

// Filter sets r.User from the bearer token or refuses.
func (f *filter) Filter(ctx context.Context, r *proxy.Request) error {
	token, found, err := bearer(r.Header)
	if err == nil && !found {
		return f.missing(r)
	}
	var v *verified
	if err == nil {
		v, err = f.a.authenticate(ctx, token)
	}
	if err == nil && f.allowed != nil && !slices.Contains(f.allowed, v.provider.name) {
		err = refuse(CodeWrongIssuer, "the route does not accept this provider")
	}
	if err != nil {
		return f.a.denial(err)
	}
	r.User = v.user
	r.NoteShared(v.provider.accepted)
	return nil
}

// missing decides about a request without a token.
func (f *filter) missing(r *proxy.Request) error {
	if f.anonymous {
		r.NoteShared(f.a.anonymous)
		return nil
	}
	return &proxy.Denial{
		Kind:    proxy.KindUnauthenticated,
		Detail:  "Send an access token as: Authorization: Bearer TOKEN.",
		Reasons: []event.Reason{{Code: CodeMissing, Text: "no bearer token was sent"}},
		Header:  f.a.challengeNone.Clone(),
	}
}

// denial turns a refused token into an answer that does not tell the client why, and lets any other error
// through: it means that nothing could be decided.
func (a *Authenticator) denial(err error) error {
	refused, ok := errors.AsType[*tokenError](err)
	if !ok {
		return fmt.Errorf("authenticating: %w", err)
	}
	return &proxy.Denial{
		Kind:    proxy.KindInvalidToken,
		Detail:  "The access token is malformed, expired or not accepted here.",
		Reasons: []event.Reason{{Code: refused.code, Text: refused.text}},
		Header:  a.challengeInvalid.Clone(),
	}
}
