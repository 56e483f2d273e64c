package mesh

import (
	"time"

	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/token"
)

// bearer is the key under which a user's transaction token is kept for reuse; see exchange.Issue.
type bearer struct {
	user     *proxy.User
	workload string
}

// issue makes the transaction token with which a user goes on into the mesh.
func (m *Mesh) issue(u *proxy.User, workload string, now time.Time) (string, error) {
	return m.users.For(bearer{u, workload}, &token.Transaction{
		Subject: u.Subject, Provider: u.Provider, Issuer: u.Issuer, Roles: u.Roles, Claims: u.Claims, Scopes: u.Scopes,
		ClientID: u.ClientID, TokenID: u.TokenID, ACR: u.ACR, AMR: u.AMR, AuthTime: u.AuthTime, Workload: workload, Expires: u.Expires,
	}, now)
}
