// Package exchange is the edge's last stage before it forwards into a mesh: the access token from outside stays behind, and
// a short-lived transaction token goes on in its place (draft-ietf-oauth-transaction-tokens), so that services know
// on whose behalf they are asked. It verifies nothing and issues nothing. Without a mesh it has no use.
package exchange

import (
	"context"
	"fmt"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/filter/authz"
)

// Field is where the transaction token travels.
const Field = "Txn-Token"

// The codes of reasons in the decision trail. They are stable.
const (
	CodeExchanged = "token-exchanged"
	CodeExpired   = "token-expired"
)

// Issue returns a transaction token for a user, asked for by a workload (a SPIFFE ID). A user's address stands for all that
// is known of the user: authentication gives the same one to every request with the same access token, and
// nobody changes what it points to. So the two together may serve as the key under which a token is kept for reuse.
// It must be safe for concurrent use.
type Issue func(u *proxy.User, workload string, now time.Time) (string, error)

// Exchange exchanges tokens at one edge. It is safe for concurrent use.
type Exchange struct {
	issue     Issue
	workload  string
	exchanged []event.Reason
	challenge field.List
}

// New builds the stage for the proxy that has the SPIFFE ID self. Realm is what a 401 names, as in authz.New.
func New(issue Issue, self, realm string) *Exchange {
	return &Exchange{
		issue: issue, workload: self,
		exchanged: []event.Reason{{Code: CodeExchanged, Text: "a transaction token goes on for the user"}},
		challenge: field.List{{Name: "Www-Authenticate", Value: authz.Challenge(realm) + `, error="invalid_token"`}},
	}
}

// ForRoute returns the filter for one route. The access token goes on only where the route declares it.
func (x *Exchange) ForRoute(r model.ResolvedRoute) proxy.Filter {
	return &filter{x, r.ForwardToken}
}

type filter struct {
	*Exchange
	forward bool
}

// Filter replaces the credentials from outside. Where nobody signed in nothing takes their place.
func (f *filter) Filter(_ context.Context, r *proxy.Request) error {
	r.Header.Del(Field)
	if !f.forward {
		r.Header.Del("Authorization")
	}
	if r.User == nil {
		return nil
	}
	now := r.Now()
	if !r.User.Expires.IsZero() && !r.User.Expires.After(now) {
		// Authentication tolerates a difference of clocks; what the exchange makes must not outlive what it is made of.
		return &proxy.Denial{
			Kind: proxy.KindInvalidToken, Detail: "The access token has expired.", Header: f.challenge.Clone(),
			Reasons: []event.Reason{{Code: CodeExpired, Text: "the access token expired before it was exchanged"}},
		}
	}
	token, err := f.issue(r.User, f.workload, now)
	if err != nil {
		return fmt.Errorf("exchanging the access token: %w", err)
	}
	r.Header.Add(Field, token)
	r.NoteShared(f.exchanged)
	return nil
}
