package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/palisade-security/palisade/console"
	"github.com/palisade-security/palisade/console/oidc"
	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/filter/jwt"
)

// signInPath is where the provider sends people back; see console.
const signInPath = "/sign-in/callback"

// openConsole has administrators sign in to a console that is served over the network, at the provider that vouches for them
// elsewhere, too. Their ID tokens are verified as access tokens are, but for the console as their audience.
func (s *stand) openConsole(_ context.Context, o *control.Options) error {
	d := s.mesh.Server.Console
	if d == nil {
		return nil
	}
	const key = "mesh.control.console"
	provider, err := s.administratorsOf()
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	provider.Audience, provider.Types, provider.Claims = []string{d.ClientID}, []string{"JWT", ""}, map[string]string{"nonce": "string", "azp": "string"}
	s.people, err = jwt.New(jwt.Options{Fleet: s.snap.Fleet, Providers: []model.ResolvedProvider{provider}, Roles: s.snap.Roles, Log: slog.Default()})
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	who := userOf(s.people, provider.Name)
	options := oidc.Options{
		Issuer: provider.Issuer, ClientID: d.ClientID, Redirect: d.URL + signInPath, Scopes: d.Scopes,
		Verify: func(ctx context.Context, token string) (*oidc.Identity, error) {
			u, err := who(ctx, token)
			if err != nil {
				return nil, err
			}
			out := &oidc.Identity{Subject: u.Subject, Roles: u.Roles, Expires: u.Expires}
			out.Nonce, _ = u.Claims["nonce"].(string)
			out.Party, _ = u.Claims["azp"].(string)
			return out, nil
		},
	}
	if d.ClientSecret != (model.Value{}) {
		options.Secret = func() (string, error) { return d.ClientSecret.Resolve(os.LookupEnv) }
		if _, err := options.Secret(); err != nil {
			return fmt.Errorf("%s.client_secret: %w", key, err)
		}
	}
	s.door = &signIn{name: provider.Name, provider: oidc.New(options), roles: o.Roles}
	return nil
}

// signIn is a provider as the console asks it.
type signIn struct {
	name     string
	provider *oidc.Provider
	roles    map[string]admin.Role // the provider's roles to ours
}

// Name is that of the provider in the model.
func (s *signIn) Name() string { return s.name }

// Begin sends somebody to the provider.
func (s *signIn) Begin(ctx context.Context) (flow, address string, err error) {
	return s.provider.Begin(ctx, time.Now())
}

// Leave is where somebody signs out of the provider, too.
func (s *signIn) Leave() string { return s.provider.Leave() }

// Finish says who came back, under the name and with the role that control knows administrators by.
func (s *signIn) Finish(ctx context.Context, flow string, answer url.Values) (console.Person, time.Time, error) {
	who, err := s.provider.Finish(ctx, flow, answer, time.Now())
	if errors.Is(err, oidc.ErrFlow) {
		return console.Person{}, time.Time{}, &console.Refusal{Text: "This sign-in was not begun in this browser, or more than ten minutes ago. Try again."}
	}
	if err != nil {
		return console.Person{}, time.Time{}, err
	}
	by := console.Person{Name: s.name + ":" + who.Subject, Role: console.Role(roleOf(s.roles, who.Roles))}
	if by.Role == "" {
		return by, time.Time{}, &console.Refusal{Text: "You are signed in at " + s.name + " as " + who.Subject + ", but none of your roles there may look here."}
	}
	return by, who.Expires, nil
}

// roleOf is the highest of our roles that somebody's roles bring.
func roleOf(ours map[string]admin.Role, theirs []string) (best admin.Role) {
	for _, name := range theirs {
		if role := ours[name]; role.Permits(admin.Viewer) && (best == "" || role.Permits(best)) {
			best = role
		}
	}
	return best
}
