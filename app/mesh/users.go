package mesh

import (
	"time"

	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/filter/exchange"
	"github.com/palisade-security/palisade/token"
)

// bearer is the key under which a user's transaction token is kept for reuse; see exchange.Issue.
type bearer struct {
	user     *proxy.User
	workload string
}

// Issue makes the transaction tokens with which users go on into the mesh.
func Issue(tokens *token.Transactions) exchange.Issue {
	return func(u *proxy.User, workload string, now time.Time) (string, error) {
		return tokens.For(bearer{u, workload}, &token.Transaction{
			Subject: u.Subject, Provider: u.Provider, Issuer: u.Issuer, Roles: u.Roles, Claims: u.Claims, Scopes: u.Scopes,
			ClientID: u.ClientID, TokenID: u.TokenID, ACR: u.ACR, AMR: u.AMR, AuthTime: u.AuthTime, Workload: workload, Expires: u.Expires,
		}, now)
	}
}
