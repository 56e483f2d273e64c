package policy

import (
	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/palisade-security/palisade/model"
)

// Scopes tells of each file which services and routes its policies can concern at most: by the scopes of their resources alone,
// as the index of a Set picks the candidates of a route. What else they say is not looked at, so a file that is left out where
// it concerns nothing changes no decision. A file that cannot be read concerns everybody, who will say so.
func Scopes(files []model.PolicyFile) []model.PolicyScope {
	out := make([]model.PolicyScope, len(files))
	for i := range files {
		out[i] = scopeOf(&files[i])
	}
	return out
}

func scopeOf(f *model.PolicyFile) (s model.PolicyScope) {
	if outOfBounds(f.Text) != "" {
		return model.PolicyScope{Everywhere: true}
	}
	list, err := cedar.NewPolicyListFromBytes(f.Name, []byte(f.Text))
	if err != nil {
		return model.PolicyScope{Everywhere: true}
	}
	for _, p := range list {
		uid, named := resourceOf((*xast.Policy)(p.AST()).Resource)
		switch {
		case named && uid.Type == typeService:
			s.Services = append(s.Services, string(uid.ID))
		case named && uid.Type == typeRoute:
			s.Routes = append(s.Routes, string(uid.ID))
		default:
			return model.PolicyScope{Everywhere: true}
		}
	}
	return s
}

// resourceOf is the entity that a scope names; whatever else a resource is, it is that entity or in it.
func resourceOf(scope xast.IsResourceScopeNode) (uid cedar.EntityUID, named bool) {
	switch s := scope.(type) {
	case xast.ScopeTypeEq:
		return s.Entity, true
	case xast.ScopeTypeIn:
		return s.Entity, true
	case xast.ScopeTypeIsIn:
		return s.Entity, true
	}
	return uid, false
}
