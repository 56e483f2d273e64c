package policy

import (
	"math"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// circumstances is one request as Cedar sees it: the static entities, and the user once someone asks.
type circumstances struct {
	set   *Set
	query *Query
	needs needs
	uid   cedar.EntityUID // of the user, if there is one
	built bool
	user  cedar.Entity
}

var _ types.EntityGetter = (*circumstances)(nil)

// circumstances prepares for a request on a route. Beyond what expressions want, it leaves out what would make one
// policy mean different things at the edge and behind it: that the edge stands between.
func (s *Set) circumstances(q *Query, route *routeCells, want needs) *circumstances {
	if !s.meshed {
		want &^= needUser
	}
	if route.byID != nil && !route.between {
		want &^= needWorkload
	}
	c := &circumstances{set: s, query: q, needs: want}
	if q.User != nil {
		c.uid = userUID(q.User)
	}
	return c
}

// Get returns an entity; the user's is built on the first call.
func (c *circumstances) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	if c.query.User == nil || uid != c.uid {
		return c.set.entities.Get(uid)
	}
	if !c.built {
		c.user = c.set.userEntity(c.uid, c.query.User, c.needs)
		c.built = true
	}
	return c.user, true
}

// userEntity builds a user with the attributes in want, and with its roles if want asks for groups.
func (s *Set) userEntity(uid cedar.EntityUID, u *User, want needs) cedar.Entity {
	m := make(cedar.RecordMap, want.count())
	if want&needProvider != 0 {
		m["provider"] = cedar.String(u.Provider)
	}
	if want&needSubject != 0 {
		m["subject"] = cedar.String(u.Subject)
	}
	if want&needIssuer != 0 {
		m["issuer"] = cedar.String(u.Issuer)
	}
	if want&needClientID != 0 && u.ClientID != "" {
		m["client_id"] = cedar.String(u.ClientID)
	}
	if want&needRoles != 0 {
		m["roles"] = stringSet(u.Roles)
	}
	if want&needScopes != 0 {
		m["scopes"] = stringSet(u.Scopes)
	}
	if want&needACR != 0 && u.ACR != "" {
		m["acr"] = cedar.String(u.ACR)
	}
	if want&needAMR != 0 {
		m["amr"] = stringSet(u.AMR)
	}
	if want&needClaims != 0 {
		m["claims"] = s.claimsRecord(u.Claims)
	}
	user := cedar.Entity{UID: uid, Attributes: cedar.NewRecord(m)}
	if want&needGroups != 0 {
		parents := make([]cedar.EntityUID, 0, len(u.Roles))
		for _, name := range u.Roles {
			parents = append(parents, s.roles[name]...)
		}
		user.Parents = cedar.NewEntityUIDSet(parents...)
	}
	return user
}

// claimsRecord takes over the claims that have the type declared for them; any other is as if absent, so that
// no policy ever meets a value of a type it was not validated for.
func (s *Set) claimsRecord(claims map[string]any) cedar.Record {
	m := make(cedar.RecordMap, len(claims))
	for name, value := range claims {
		kind := s.claims[name]
		switch v := value.(type) {
		case string:
			if kind == "string" {
				m[cedar.String(name)] = cedar.String(v)
			}
		case int64:
			if kind == "long" {
				m[cedar.String(name)] = cedar.Long(v)
			}
		case bool:
			if kind == "bool" {
				m[cedar.String(name)] = cedar.Boolean(v)
			}
		case []string:
			if kind == "set" {
				m[cedar.String(name)] = stringSet(v)
			}
		}
	}
	return cedar.NewRecord(m)
}

// context builds the context record with the attributes in want.
func (q *Query) context(want needs) cedar.Record {
	m := make(cedar.RecordMap, want.count())
	q.contextTime(m, want)
	if want&needIP != 0 && q.Client.IsValid() {
		a := q.Client.Unmap().WithZone("")
		if p, err := a.Prefix(a.BitLen()); err == nil {
			m["ip"] = cedar.IPAddr(p)
		}
	}
	if want&needHost != 0 {
		m["host"] = cedar.String(q.Host)
	}
	if want&needPath != 0 {
		m["path"] = cedar.String(q.Path)
	}
	if want&needTLS != 0 && q.TLSVersion != "" {
		m["tls_version"] = cedar.String(q.TLSVersion)
	}
	if want&needWorkload != 0 && q.Workload != "" {
		m["workload"] = cedar.String(q.Workload)
	}
	if want&needParams != 0 {
		params := make(cedar.RecordMap, len(q.Params))
		for _, p := range q.Params {
			params[cedar.String(p.Name)] = cedar.String(p.Value)
		}
		m["params"] = cedar.NewRecord(params)
	}
	q.contextUser(m, want)
	return cedar.NewRecord(m)
}

func (q *Query) contextTime(m cedar.RecordMap, want needs) {
	if want&(needTime|needHour|needMinute|needWeekday) == 0 || q.Time.IsZero() {
		return
	}
	now := q.Time.UTC()
	if want&needTime != 0 {
		m["time"] = cedar.NewDatetime(now)
	}
	if want&needHour != 0 {
		m["hour"] = cedar.Long(now.Hour())
	}
	if want&needMinute != 0 {
		m["minute"] = cedar.Long(now.Minute())
	}
	if want&needWeekday != 0 {
		m["weekday"] = cedar.Long((now.Weekday()+6)%7 + 1)
	}
}

func (q *Query) contextUser(m cedar.RecordMap, want needs) {
	if want&needAuthenticated != 0 {
		m["authenticated"] = cedar.Boolean(q.User != nil)
	}
	if want&needAMR != 0 {
		m["amr"] = stringSet(nil)
	}
	if q.User == nil {
		return
	}
	if want&needUser != 0 {
		m["user"] = userUID(q.User)
	}
	if want&needACR != 0 && q.User.ACR != "" {
		m["acr"] = cedar.String(q.User.ACR)
	}
	if want&needAMR != 0 {
		m["amr"] = stringSet(q.User.AMR)
	}
	if want&needAuthAge != 0 && !q.User.AuthTime.IsZero() && !q.Time.IsZero() {
		// A clock ahead of ours makes a sign-in of the future; it is as fresh as can be.
		age := max(q.Time.Sub(q.User.AuthTime), 0)
		m["auth_age"] = cedar.Long(math.Ceil(float64(age) / float64(time.Second)))
	}
}
