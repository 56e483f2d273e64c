package replay

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/filter/authz"
	"github.com/palisade-security/palisade/proxy/filter/jwt"
)

// record is the record that is being decided again, on its way through the filters.
type record struct {
	*event.Event
	unknown string // what is not recorded and would be needed
}

type recordKey struct{}

func recordOf(ctx context.Context) *record {
	r, _ := ctx.Value(recordKey{}).(*record)
	return r
}

// errUnknown ends a decision for which something is not recorded.
var errUnknown = errors.New("not recorded")

func (r *record) lacks(what string) error {
	r.unknown = what
	return errUnknown
}

// stage returns what a stage decided, nil if the request did not get there.
func (r *record) stage(name string) *event.Stage {
	for i := range r.Trail {
		if r.Trail[i].Name == name {
			return &r.Trail[i]
		}
	}
	return nil
}

// again decides what a stage decided.
func again(s *event.Stage) error {
	switch s.Outcome {
	case event.OutcomeDeny:
		return &proxy.Denial{Kind: proxy.KindForbidden, Reasons: s.Reasons}
	case event.OutcomeError:
		return &proxy.Denial{Kind: proxy.KindUndecided, Reasons: s.Reasons}
	case event.OutcomePass, event.OutcomeSkip:
	}
	return nil
}

// asRecorded is a filter that decides what the stage decided then. What never came to the stage passes.
func asRecorded(stage string) proxy.Filter {
	return proxy.FilterFunc(func(ctx context.Context, _ *proxy.Request) error {
		if s := recordOf(ctx).stage(stage); s != nil {
			return again(s)
		}
		return nil
	})
}

// recordedUsers finds in the record who asked.
type recordedUsers struct {
	side engine.Side
	snap *model.Snapshot
}

// ForRoute implements gate.Authenticator.
func (u *recordedUsers) ForRoute(route model.ResolvedRoute) proxy.Filter {
	if u.side == engine.Outbound {
		return nil // a sidecar does not ask its own service who its users are
	}
	return proxy.FilterFunc(func(ctx context.Context, r *proxy.Request) error { return u.find(recordOf(ctx), r, &route) })
}

func (u *recordedUsers) find(rec *record, r *proxy.Request, route *model.ResolvedRoute) error {
	s := rec.stage(event.StageAuthenticate)
	switch {
	case s == nil:
		return rec.lacks("user: the request was refused before anybody looked at who asked")
	case rec.User != nil:
		return u.signedIn(rec, r, route)
	case s.Outcome != event.OutcomePass && s.Cause().Code != jwt.CodeMissing:
		return again(s) // the token was not good then
	case u.side == engine.Edge && !route.Anonymous:
		return &proxy.Denial{Kind: proxy.KindUnauthenticated, Reasons: []event.Reason{{Code: jwt.CodeMissing, Text: "no bearer token was sent"}}}
	}
	return nil
}

// signedIn takes over who signed in, as the providers and roles of the model see him.
func (u *recordedUsers) signedIn(rec *record, r *proxy.Request, route *model.ResolvedRoute) error {
	i := slices.IndexFunc(u.snap.Providers, func(p model.ResolvedProvider) bool {
		return p.Name == rec.User.Provider && p.Issuer == rec.User.Issuer
	})
	var claims map[string]string
	if i >= 0 {
		claims = u.snap.Providers[i].Claims
	}
	if u.side == engine.Edge && (i < 0 || len(route.Providers) > 0 && !slices.Contains(route.Providers, rec.User.Provider)) {
		return &proxy.Denial{Kind: proxy.KindInvalidToken, Reasons: []event.Reason{{Code: jwt.CodeWrongIssuer, Text: "the route does not accept this provider"}}}
	}
	if a := rec.User.Attributes; a != nil {
		r.User = &proxy.User{Scopes: a.Scopes, ACR: a.ACR, AMR: a.AMR, AuthTime: a.AuthTime, Claims: map[string]any{}}
		for _, c := range a.Claims {
			if _, declared := claims[c.Name]; declared && c.Value != nil {
				r.User.Claims[c.Name] = c.Value
			}
		}
	} else {
		r.User = &proxy.User{}
	}
	r.User.Provider, r.User.Issuer, r.User.Subject = rec.User.Provider, rec.User.Issuer, rec.User.Subject
	r.User.ClientID, r.User.TokenID, r.User.Roles = rec.User.ClientID, rec.User.TokenID, u.roles(rec.User.Roles)
	return nil
}

// roles are those of the recorded ones that are declared, with all that they include now.
func (u *recordedUsers) roles(recorded []string) []string {
	var out []string
	for i := range u.snap.Roles {
		if slices.Contains(recorded, u.snap.Roles[i].Name) {
			out = append(append(out, u.snap.Roles[i].Name), u.snap.Roles[i].Includes...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// known reports what policies would read of the user and the record does not have.
func (st *station) known(ctx context.Context, r *proxy.Request) error {
	if r.User == nil || r.Route == nil {
		return nil
	}
	q := authz.Query(r)
	if _, ok := st.policies.DecideByRoles(q.Method, q.Route, q.Workload, true, q.User.Roles); ok {
		return nil
	}
	rec := recordOf(ctx)
	reads := st.policies.Reads(q)
	a := rec.User.Attributes
	if a == nil {
		if reads.Scopes || reads.ACR || reads.AMR || reads.AuthTime || len(reads.Claims) > 0 {
			return rec.lacks("attributes of users: recorded by a version that did not keep them")
		}
		return nil
	}
	for _, one := range []struct {
		name string
		read bool
	}{{"scopes", reads.Scopes}, {"acr", reads.ACR}, {"amr", reads.AMR}} {
		if one.read && slices.Contains(a.Cut, one.name) {
			return rec.lacks(one.name + ": too long to be recorded")
		}
	}
	for _, name := range reads.Claims {
		i := slices.IndexFunc(a.Claims, func(c event.Claim) bool { return c.Name == name })
		switch {
		case slices.Contains(a.Cut, "claims."+name):
			return rec.lacks("claim " + name + ": too long to be recorded")
		case i < 0:
			return rec.lacks("claim " + name + ": no policy read it then")
		case redacted(a.Claims[i].Value):
			return rec.lacks("claim " + name + ": redacted")
		}
	}
	return nil
}

// redacted reports whether something was taken out of a recorded value.
func redacted(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, event.Redacted)
	case []string:
		return slices.ContainsFunc(v, func(s string) bool { return strings.Contains(s, event.Redacted) })
	}
	return false
}
