package jwt

import (
	"slices"
	"strings"

	"github.com/palisade-security/palisade/model"
)

// roleTable maps each accepted value of the roles claim to the declared roles it stands for. With a role map
// only its values count; without one a value is the name of a role. What is not declared stands for nothing.
func roleTable(mapped map[string]string, declared []model.ResolvedRole) map[string][]string {
	closure := make(map[string][]string, len(declared))
	for _, role := range declared {
		all := append([]string{role.Name}, role.Includes...)
		slices.Sort(all)
		closure[role.Name] = slices.Compact(all)
	}
	if len(mapped) == 0 {
		return closure
	}
	out := make(map[string][]string, len(mapped))
	for value, role := range mapped {
		if all, ok := closure[role]; ok {
			out[value] = all
		}
	}
	return out
}

// rolesOf returns the declared roles that the claims name, sorted.
func (p *provider) rolesOf(claims map[string]any) []string {
	v, ok := lookup(claims, p.rolesClaim)
	if !ok {
		return nil
	}
	var out []string
	switch v := v.(type) {
	case string:
		out = append(out, p.roles[v]...)
	case []any:
		for _, item := range v {
			if s, ok := item.(string); ok {
				out = append(out, p.roles[s]...)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// lookup finds a claim: by its whole name first, since namespaced claims are URLs with dots, then as a dotted
// path through objects.
func lookup(claims map[string]any, path string) (any, bool) {
	if v, ok := claims[path]; ok {
		return v, true
	}
	for {
		name, rest, more := strings.Cut(path, ".")
		v, ok := claims[name]
		if !more || !ok {
			return v, ok
		}
		if claims, ok = v.(map[string]any); !ok {
			return nil, false
		}
		path = rest
	}
}
