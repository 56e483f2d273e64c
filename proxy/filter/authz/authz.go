// Package authz is the stage that authorises: it asks the compiled policies whether the principal may do what
// the request asks for. It decides nothing by itself; what is allowed stands in the policies.
package authz

import (
	"context"
	"errors"
	"fmt"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/policy"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/field"
)

// Errors that mean: no decision was possible, so the engine refuses.
var (
	errNoRoute      = errors.New("authorising: the request has no route")
	errUnknownRoute = errors.New("authorising: the policies do not know this route or method")
)

// Filter authorises requests. It is safe for concurrent use.
type Filter struct {
	set       *policy.Set
	challenge field.List // of a 401
}

var _ proxy.Filter = (*Filter)(nil)

// New builds the filter. Realm is what a 401 names as the protection space; by custom the fleet's name.
func New(set *policy.Set, realm string) *Filter {
	return &Filter{set: set, challenge: field.List{{Name: "Www-Authenticate", Value: Challenge(realm)}}}
}

// Challenge is the WWW-Authenticate value for a request without a token: it names no error code (RFC 6750,
// section 3.1).
func Challenge(realm string) string {
	quoted := make([]byte, 0, len(realm))
	for i := range len(realm) {
		switch c := realm[i]; {
		case c == '"' || c == '\\':
			quoted = append(quoted, '\\', c)
		case c >= ' ' && c < 0x7f:
			quoted = append(quoted, c)
		}
	}
	return `Bearer realm="` + string(quoted) + `"`
}

// Filter lets r pass if the policies allow it, and notes which did. A refusal is 401 if nobody signed in and
// a user could be allowed, else 403. A policy that fails refuses, too.
func (f *Filter) Filter(_ context.Context, r *proxy.Request) error {
	if r.Route == nil {
		return errNoRoute
	}
	d := f.decide(r)
	if d.Undecided {
		return fmt.Errorf("%w: %s %q", errUnknownRoute, r.Method, r.Route.ID)
	}
	if d.Allow {
		r.NoteShared(d.Reasons)
		return nil
	}
	if r.User == nil && f.set.SignInMayHelp(Query(r)) {
		if f.set.Between(r.Route.ID) {
			// A service has nothing to sign in with; it forgot to hand on for whom it asks.
			return &proxy.Denial{
				Kind: proxy.KindForbidden, Detail: "This needs an end user: hand on the Txn-Token field of the request that you serve.",
				Reasons: d.Reasons,
			}
		}
		return &proxy.Denial{
			Kind: proxy.KindUnauthenticated, Detail: "Sign in and send an access token.",
			Reasons: d.Reasons, Header: f.challenge.Clone(),
		}
	}
	return &proxy.Denial{Kind: proxy.KindForbidden, Detail: detail(d.Reasons), Reasons: d.Reasons}
}

// decide asks the policies by role first and puts the whole question only where the answer depends on more.
func (f *Filter) decide(r *proxy.Request) policy.Decision {
	var roles []string
	if r.User != nil {
		roles = r.User.Roles
	}
	if d, ok := f.set.DecideByRoles(r.Method, r.Route.ID, workload(r), r.User != nil, roles); ok {
		return d
	}
	return f.set.Decide(Query(r))
}

// detail is what any client may know: the sort of refusal, not which policy.
func detail(reasons []event.Reason) string {
	if len(reasons) > 0 {
		switch reasons[0].Code {
		case policy.CodeForbid:
			return "A policy forbids this."
		case policy.CodeUndeclared:
			return "This call is not declared."
		}
	}
	return "No policy permits this."
}

// Callers is the part of f that no policy and no dry run may soften: that the route is declared for the workload that
// calls. A route that only records what authorisation would refuse needs it in front.
func (f *Filter) Callers() proxy.Filter { return proxy.FilterFunc(f.callers) }

func (f *Filter) callers(_ context.Context, r *proxy.Request) error {
	if r.Route == nil {
		return errNoRoute
	}
	d := f.set.Declared(r.Method, r.Route.ID, workload(r))
	switch {
	case d.Undecided:
		return fmt.Errorf("%w: %s %q", errUnknownRoute, r.Method, r.Route.ID)
	case d.Allow:
		return nil
	}
	return &proxy.Denial{Kind: proxy.KindForbidden, Detail: detail(d.Reasons), Reasons: d.Reasons}
}

// workload is the SPIFFE ID of who calls, or "".
func workload(r *proxy.Request) string {
	if r.Workload == nil {
		return ""
	}
	return r.Workload.SPIFFEID
}

// Query is the question that r puts to the policies. The engine's explanations use it, too.
func Query(r *proxy.Request) *policy.Query {
	q := &policy.Query{
		Workload: workload(r), Method: r.Method, Host: r.Host, Path: r.Path, Client: r.Client, Time: r.Received,
		TLSVersion: r.TLS.Version,
	}
	if r.Route != nil {
		q.Route = r.Route.ID
	}
	if len(r.Params) > 0 {
		q.Params = make([]policy.Param, len(r.Params))
		for i, p := range r.Params {
			q.Params[i] = policy.Param(p)
		}
	}
	if u := r.User; u != nil {
		q.User = &policy.User{
			Provider: u.Provider, Issuer: u.Issuer, Subject: u.Subject, Roles: u.Roles, Scopes: u.Scopes,
			Claims: u.Claims, ClientID: u.ClientID, ACR: u.ACR, AMR: u.AMR, AuthTime: u.AuthTime,
		}
	}
	return q
}
