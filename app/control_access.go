package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/field"
	"github.com/palisade-security/palisade/proxy/filter/jwt"
)

// openAdministrators verifies access tokens of administrators as the edge verifies those of users, but for another
// audience: a token for the edge, which services may get to see, opens nothing here.
func (s *stand) openAdministrators(_ context.Context, o *control.Options) error {
	a := s.mesh.Server.Administrators
	if a == nil {
		return nil
	}
	const key = "mesh.control.administrators"
	provider, err := s.administratorsOf()
	if err != nil {
		return err
	}
	provider.Audience = a.Audience
	users, err := jwt.New(jwt.Options{
		Fleet: s.snap.Fleet, Providers: []model.ResolvedProvider{provider}, Roles: s.snap.Roles, Log: slog.Default(),
	})
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	s.users = users
	who := userOf(users, a.Provider)
	o.Authenticate = func(ctx context.Context, token string) (control.User, error) {
		u, err := who(ctx, token)
		if err != nil {
			return control.User{}, err
		}
		return control.User{Name: u.Provider + ":" + u.Subject, Roles: u.Roles}, nil
	}
	o.Roles = map[string]admin.Role{}
	for _, list := range []struct {
		roles []string
		role  admin.Role
	}{{a.Viewer, admin.Viewer}, {a.Operator, admin.Operator}, {a.Admin, admin.Admin}} {
		for _, name := range list.roles {
			o.Roles[name] = list.role
		}
	}
	return nil
}

// administratorsOf is the provider that vouches for administrators.
func (s *stand) administratorsOf() (model.ResolvedProvider, error) {
	name := s.mesh.Server.Administrators.Provider
	i := slices.IndexFunc(s.snap.Providers, func(p model.ResolvedProvider) bool { return p.Name == name })
	if i < 0 {
		return model.ResolvedProvider{}, fmt.Errorf("mesh.control.administrators.provider: no provider is named %q", name)
	}
	return s.snap.Providers[i], nil
}

// userOf says whom a token of a provider names.
func userOf(users *jwt.Authenticator, provider string) func(ctx context.Context, token string) (*proxy.User, error) {
	filter := users.ForRoute(model.ResolvedRoute{Providers: []string{provider}})
	return func(ctx context.Context, token string) (*proxy.User, error) {
		q := &proxy.Request{Header: field.List{{Name: "Authorization", Value: "Bearer " + token}}}
		if err := filter.Filter(ctx, q); err != nil {
			return nil, err
		}
		if q.User == nil {
			return nil, errors.New("the token names nobody")
		}
		return q.User, nil
	}
}
