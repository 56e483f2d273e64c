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
	i := slices.IndexFunc(s.snap.Providers, func(p model.ResolvedProvider) bool { return p.Name == a.Provider })
	if i < 0 {
		return fmt.Errorf("%s.provider: no provider is named %q", key, a.Provider)
	}
	provider := s.snap.Providers[i]
	provider.Audience = a.Audience
	users, err := jwt.New(jwt.Options{
		Fleet: s.snap.Fleet, Providers: []model.ResolvedProvider{provider}, Roles: s.snap.Roles, Log: slog.Default(),
	})
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	s.users = users
	filter := users.ForRoute(model.ResolvedRoute{Providers: []string{a.Provider}})
	o.Authenticate = func(ctx context.Context, token string) (control.User, error) {
		q := &proxy.Request{Header: field.List{{Name: "Authorization", Value: "Bearer " + token}}}
		if err := filter.Filter(ctx, q); err != nil {
			return control.User{}, err
		}
		if q.User == nil {
			return control.User{}, errors.New("the token names nobody")
		}
		return control.User{Name: q.User.Provider + ":" + q.User.Subject, Roles: q.User.Roles}, nil
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
