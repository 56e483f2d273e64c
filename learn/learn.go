// Package learn proposes the least model that lets pass what was seen: which declared callers, exposures, grants, methods, roles and
// hosts outside nobody used, for how long, and how sure that is. It only ever takes away, and never what was used. It changes no
// file and decides nothing; a person does, on a patch. For what a change would deny see package replay.
package learn

import (
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/topology"
)

// Evidence is what was seen of a fleet. It is for one goroutine.
type Evidence struct {
	snap    *model.Snapshot
	fleet   *model.Fleet
	since   time.Time
	calls   *topology.Fold // within the time that counts
	before  *topology.Fold // earlier
	routes  map[string]*uses
	active  map[string]*Coverage // by service, and topology.EdgeNode
	decided int64
}

// New begins with what is declared. Events before since tell when something was used last, and count for nothing else; a zero
// since is all time.
func New(snap *model.Snapshot, fleet *model.Fleet, since time.Time) *Evidence {
	declared := topology.Declare(snap, fleet)
	return &Evidence{
		snap: snap, fleet: fleet, since: since, calls: topology.NewFold(declared), before: topology.NewFold(declared),
		routes: map[string]*uses{}, active: map[string]*Coverage{},
	}
}

// Event takes one event in. Acts and records of others tell nothing.
func (v *Evidence) Event(e *event.Event) {
	if e.Act != nil || e.Log != nil || e.Open {
		return
	}
	now := !e.Time.Before(v.since)
	if now {
		v.decided++
		v.calls.Event(e)
		v.seen(e)
	} else {
		v.before.Event(e)
	}
	if e.Route == "" || !e.Allowed {
		return
	}
	u := v.routes[e.Route]
	if u == nil {
		if len(v.routes) >= mostRoutes {
			return
		}
		u = &uses{by: map[who]*use{}}
		v.routes[e.Route] = u
	}
	u.add(e, now)
}

// mostRoutes bounds the routes of models of before.
const mostRoutes = 100_000

// seen notes who was at work.
func (v *Evidence) seen(e *event.Event) {
	v.mark(topology.EdgeNode, e, e.Connection == nil && e.Side == event.SideUnknown)
	v.mark(e.Service, e, e.Allowed)
	v.mark(v.service(e.Workload), e, true)
}

func (v *Evidence) mark(name string, e *event.Event, at bool) {
	if name == "" || !at {
		return
	}
	c := v.active[name]
	if c == nil {
		if v.snap.ServiceByName(name) == nil && name != topology.EdgeNode {
			return
		}
		c = &Coverage{}
		v.active[name] = c
	}
	c.Mark(e.Time)
}

// service is the name of the service with a SPIFFE ID, "" if it is none of the fleet.
func (v *Evidence) service(id string) string {
	if name, ok := strings.CutPrefix(id, model.ServiceID(v.snap.TrustDomain, "")); ok {
		return name
	}
	return ""
}

// who asks for something: with which method, as which service, and with which roles.
type who struct {
	method, caller, roles string
	user                  bool
}

// use is how often and when.
type use struct {
	count int64 // within the time that counts
	last  time.Time
}

// uses are those of a route that were let pass.
type uses struct {
	by map[who]*use
}

// mostUses bounds what is told apart on a route: methods by callers by sets of declared roles.
const mostUses = 10_000

func (u *uses) add(e *event.Event, now bool) {
	w := who{method: e.Method, caller: e.Workload}
	if e.User != nil {
		w.user, w.roles = true, strings.Join(e.User.Roles, " ")
	}
	one := u.by[w]
	if one == nil {
		if len(u.by) >= mostUses {
			return
		}
		one = &use{}
		u.by[w] = one
	}
	if now {
		one.count++
	}
	if e.Time.After(one.last) {
		one.last = e.Time
	}
}

// any reports whether something was used within the time that counts, and when it was last.
func (u *uses) any(matches func(w who) bool) (used bool, last time.Time) {
	if u == nil {
		return false, last
	}
	for w, one := range u.by {
		if !matches(w) {
			continue
		}
		used = used || one.count > 0
		if one.last.After(last) {
			last = one.last
		}
	}
	return used, last
}

// full reports whether uses found no room: then nothing of the route may be called unused.
func (u *uses) full() bool { return u != nil && len(u.by) >= mostUses }

func (w *who) has(role string) bool { return slices.Contains(strings.Fields(w.roles), role) }
