package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go"

	"github.com/palisade-security/palisade/event"
)

// routeCells are the candidates of one route by method.
type routeCells struct {
	callers
	uid     cedar.EntityUID
	methods []string // that the route takes
	named   []*rule  // that name it or its service, whatever the method
	cells   map[string]*methodCell
}

// methodCell holds the rules of one method on one route. Those for every route are shared, since otherwise
// memory would grow with the product of policies and routes.
type methodCell struct {
	own    cell
	common *cell
	action cedar.EntityUID
}

// candidates appends to dst, which is empty, the rules whose whole scope matches, in order.
func (m *methodCell) candidates(dst []*rule, principal cedar.EntityUID, ancestors []cedar.EntityUID) []*rule {
	return m.own.candidates(m.common.candidates(dst, principal, ancestors), principal, ancestors)
}

// namesUsers reports whether any rule of the method is about one user by name.
func (m *methodCell) namesUsers() bool { return m.own.users || m.common.users }

// Decide answers q: denied unless some policy permits, no policy forbids and every policy that applies could
// be evaluated. It does not retain q.
func (s *Set) Decide(q *Query) Decision {
	mc, route := s.find(q.Method, q.Route)
	if mc == nil {
		return Decision{Errors: true, Undecided: true, Reasons: []event.Reason{{
			Code: CodeUnknownRoute, Text: "the policies know no such method on such a route",
			Data: map[string]string{"route": q.Route, "method": q.Method},
		}}}
	}
	service, ok := route.asks(q.Workload)
	if !ok {
		return route.undeclared(q.Method, q.Route, q.Workload)
	}
	var space [24]*rule
	o := s.run(q, mc, route, service, space[:0])
	return o.decision(q.Method, q.Route)
}

// DecideByRoles gives the decision that Decide would give if it depends on nothing but which workload calls, whether
// somebody signed in and his roles; else ok is false. Most requests need no more than that, and no Query to be
// made for them.
func (s *Set) DecideByRoles(method, route, workload string, signedIn bool, roles []string) (d Decision, ok bool) {
	mc, rc := s.find(method, route)
	if mc == nil {
		return Decision{}, false
	}
	service, declared := rc.asks(workload)
	switch {
	case !declared:
		return rc.undeclared(method, route, workload), true
	case service == cedar.EntityUID{} && mc.namesUsers():
		return Decision{}, false
	}
	user := cedar.EntityUID{}
	if signedIn {
		user.Type = typeUser // whom no policy asks for by name
	}
	var space [24]*rule
	_, candidates := s.candidates(space[:0], mc, service, user, roles)
	if _, some := conditional(candidates); some {
		return Decision{}, false
	}
	o := evaluate(candidates, nil, cedar.Request{})
	return o.decision(method, route), true
}

func (s *Set) find(method, route string) (*methodCell, *routeCells) {
	rc := s.routes[route]
	if rc == nil {
		return nil, nil
	}
	return rc.cells[method], rc
}

// Declared decides about the caller alone: whether the route is declared for this workload (a SPIFFE ID; "": none),
// which no policy can widen. Allowed, it has no reasons.
func (s *Set) Declared(method, route, workload string) Decision {
	rc := s.routes[route]
	if rc == nil {
		return Decision{Errors: true, Undecided: true}
	}
	if _, ok := rc.asks(workload); !ok {
		return rc.undeclared(method, route, workload)
	}
	return Decision{Allow: true}
}

// Between reports whether services ask on the route in their own name, and no user does.
func (s *Set) Between(route string) bool {
	rc := s.routes[route]
	return rc != nil && rc.between
}

// run collects the candidates in space and evaluates them. Service asks, or the user where it is empty.
func (s *Set) run(q *Query, mc *methodCell, route *routeCells, service cedar.EntityUID, space []*rule) outcome {
	user, roles := cedar.EntityUID{}, []string(nil)
	if q.User != nil {
		user, roles = userUID(q.User), q.User.Roles
	}
	principal, candidates := s.candidates(space, mc, service, user, roles)
	want, some := conditional(candidates)
	if !some {
		return evaluate(candidates, nil, cedar.Request{})
	}
	c := s.circumstances(q, route, want)
	return evaluate(candidates, c, cedar.Request{
		Principal: principal, Action: mc.action, Resource: route.uid, Context: q.context(c.needs),
	})
}

// candidates appends to dst the rules whose scope matches who asks, which is the service if there is one, else the
// user, and that ask for no other end user. An empty user is nobody.
func (s *Set) candidates(dst []*rule, mc *methodCell, service, user cedar.EntityUID, roles []string) (cedar.EntityUID, []*rule) {
	none := cedar.EntityUID{}
	var groups, one [16]cedar.EntityUID
	var of []cedar.EntityUID // what the user is in
	principal, in := anyone, append(one[:0], anyone)
	if user != none {
		of = s.principalIn(groups[:0], user, roles)
		principal, in = user, of
	}
	if service != none {
		principal, in = service, append(one[:0], service)
	}
	return principal, onBehalfOf(mc.candidates(dst, principal, in), of)
}

// principal returns who asks, and appends to dst all that it is in, itself first.
func (s *Set) principal(q *Query, service cedar.EntityUID, dst []cedar.EntityUID) (cedar.EntityUID, []cedar.EntityUID) {
	switch {
	case service != cedar.EntityUID{}:
		return service, append(dst, service)
	case q.User == nil:
		return anyone, append(dst, anyone)
	}
	user := userUID(q.User)
	return user, s.principalIn(dst, user, q.User.Roles)
}

// principalIn appends the user and all its roles to dst, with what they include.
func (s *Set) principalIn(dst []cedar.EntityUID, user cedar.EntityUID, roles []string) []cedar.EntityUID {
	dst = append(dst, user)
	for _, name := range roles {
		for i, role := range s.roles[name] {
			// The first is the role itself. What it includes normally stands in roles, too.
			if i > 0 && slices.Contains(roles, string(role.ID)) {
				continue
			}
			dst = append(dst, role)
		}
	}
	return dst
}

// decision turns an outcome into an answer.
func (o *outcome) decision(method, route string) Decision {
	switch {
	case len(o.failed) > 0:
		reasons := make([]event.Reason, 0, len(o.failed)+o.forbids)
		for _, f := range o.failed {
			reasons = append(reasons, event.Reason{
				Code: CodePolicyError, Text: "a policy could not be evaluated, which denies",
				Policy: f.rule.id, Position: f.rule.position,
			})
		}
		return Decision{Errors: true, Reasons: append(reasons, o.of(cedar.Forbid)...)}
	case o.forbids > 0:
		return Decision{Reasons: o.of(cedar.Forbid)}
	case len(o.matched) > 0:
		return Decision{Allow: true, Reasons: o.of(cedar.Permit)}
	}
	return Decision{Reasons: []event.Reason{{
		Code: CodeNoPermit, Text: "no policy permits this",
		Data: map[string]string{"method": method, "route": route},
	}}}
}

// of returns the reasons of the matched rules with that effect.
func (o *outcome) of(effect cedar.Effect) []event.Reason {
	if len(o.matched) == 1 && o.matched[0].effect == effect {
		return o.matched[0].reasons
	}
	var out []event.Reason
	for _, r := range o.matched {
		if r.effect == effect {
			out = append(out, r.reasons[0])
		}
	}
	return out
}

// SignInMayHelp reports whether a denied q of somebody who did not sign in could be allowed for some user: a
// permit is open to users and no forbid stands in the way whoever asks.
func (s *Set) SignInMayHelp(q *Query) bool {
	mc, route := s.find(q.Method, q.Route)
	if mc == nil || q.User != nil {
		return false
	}
	service, ok := route.asks(q.Workload)
	if !ok {
		return false
	}
	o := s.run(q, mc, route, service, nil)
	if len(o.failed) > 0 {
		return false
	}
	if route.between {
		return s.userMayHelp(mc, service, o)
	}
	for _, r := range o.matched {
		if r.effect == cedar.Forbid && !r.dependsOnUser() {
			return false
		}
	}
	open := func(r *rule) bool { return r.effect == cedar.Permit && r.openToUsers() && r.dependsOnUser() }
	return slices.ContainsFunc(mc.own.all, open) || slices.ContainsFunc(mc.common.all, open)
}

// userMayHelp is SignInMayHelp between services: what the rules of the calling service read decides.
func (s *Set) userMayHelp(mc *methodCell, service cedar.EntityUID, o outcome) bool {
	reads := func(r *rule) bool { return r.needs&needSignIn != 0 }
	if slices.ContainsFunc(o.matched, func(r *rule) bool { return r.effect == cedar.Forbid && !reads(r) }) {
		return false
	}
	return slices.ContainsFunc(mc.candidates(nil, service, []cedar.EntityUID{service}), func(r *rule) bool {
		return r.effect == cedar.Permit && reads(r)
	})
}

// dependsOnUser reports whether signing in can change whether the rule applies.
func (r *rule) dependsOnUser() bool {
	return r.needs&needSignIn != 0 || !slices.Equal(r.who, []who{{}})
}

// openToUsers reports whether some user can be in the rule's scope.
func (r *rule) openToUsers() bool {
	return slices.ContainsFunc(r.who, func(w who) bool {
		return w.kind != typeAnonymous && w.is.Type != typeAnonymous && w.in.Type != typeAnonymous
	})
}
