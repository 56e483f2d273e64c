package policy

import (
	"github.com/cedar-policy/cedar-go"

	"github.com/palisade-security/palisade/model"
)

// staticEntities builds everything that does not depend on a request: roles, services, routes, methods.
func staticEntities(snap *model.Snapshot, routes []declared, methods []string) cedar.EntityMap {
	all := cedar.EntityMap{
		anyone:      {UID: anyone},
		actionRead:  {UID: actionRead},
		actionWrite: {UID: actionWrite},
	}
	for _, m := range methods {
		uid := cedar.NewEntityUID(typeAction, cedar.String(m))
		all[uid] = cedar.Entity{UID: uid, Parents: cedar.NewEntityUIDSet(groupOf(m))}
	}
	for i := range snap.Roles {
		uid := roleUID(snap.Roles[i].Name)
		var parents []cedar.EntityUID
		for _, name := range snap.Roles[i].Includes {
			if name != snap.Roles[i].Name {
				parents = append(parents, roleUID(name))
			}
		}
		all[uid] = cedar.Entity{UID: uid, Parents: cedar.NewEntityUIDSet(parents...)}
	}
	services := map[string]*model.ResolvedService{}
	for i := range snap.Services {
		s := &snap.Services[i]
		services[s.Name] = s
		all[serviceUID(s.Name)] = serviceEntity(s.Name, s.Owner, s.ID, s.Data)
	}
	for i := range snap.Callers {
		s := &snap.Callers[i]
		all[serviceUID(s.Name)] = serviceEntity(s.Name, s.Owner, s.ID, s.Data)
	}
	for _, r := range routes {
		uid := routeUID(r.ID)
		attributes := cedar.RecordMap{
			"service": cedar.String(r.Service), "host": cedar.String(r.Host), "path": cedar.String(r.Path),
			"data": stringSet(nil),
		}
		if s := services[r.Service]; s != nil {
			attributes["data"] = stringSet(s.Data)
			if s.Owner != "" {
				attributes["owner"] = cedar.String(s.Owner)
			}
		}
		all[uid] = cedar.Entity{
			UID: uid, Parents: cedar.NewEntityUIDSet(serviceUID(r.Service)), Attributes: cedar.NewRecord(attributes),
		}
	}
	return all
}

// serviceEntity builds a service. Outside a mesh it has no id.
func serviceEntity(name, owner, id string, data []string) cedar.Entity {
	attributes := cedar.RecordMap{"name": cedar.String(name), "data": stringSet(data)}
	if owner != "" {
		attributes["owner"] = cedar.String(owner)
	}
	if id != "" {
		attributes["id"] = cedar.String(id)
	}
	return cedar.Entity{UID: serviceUID(name), Attributes: cedar.NewRecord(attributes)}
}

func roleUID(name string) cedar.EntityUID { return cedar.NewEntityUID(typeRole, cedar.String(name)) }

func serviceUID(name string) cedar.EntityUID {
	return cedar.NewEntityUID(typeService, cedar.String(name))
}

func routeUID(id string) cedar.EntityUID { return cedar.NewEntityUID(typeRoute, cedar.String(id)) }

// userUID names a user across providers, since a subject is unique within its provider only.
func userUID(u *User) cedar.EntityUID {
	return cedar.NewEntityUID(typeUser, cedar.String(u.Provider+"|"+u.Subject))
}

func stringSet(values []string) cedar.Set {
	out := make([]cedar.Value, len(values))
	for i, v := range values {
		out[i] = cedar.String(v)
	}
	return cedar.NewSet(out...)
}
