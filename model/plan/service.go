package plan

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/model"
)

func (d *differ) services() {
	name := func(s *model.ResolvedService) string { return s.Name }
	union(d.before.Services, d.after.Services, name, func(name string, was, is *model.ResolvedService) {
		key := join("services", name)
		d.at(orZero(was).Position, orZero(is).Position)
		switch {
		case was == nil:
			d.add(Changes, key, "service "+name+" is new")
		case is == nil:
			d.add(Narrows, key, "service "+name+" is gone")
		default:
			d.service(key, was, is)
		}
		d.reach(key, name, orZero(was), orZero(is))
	})
	d.at(model.Position{}, model.Position{})
}

// service compares what a service is; both are there.
func (d *differ) service(key string, was, is *model.ResolvedService) {
	d.text(MayWiden, key+".address", "where it listens", was.Address, is.Address)
	if (d.before.Mesh == nil) == (d.after.Mesh == nil) { // a mesh that comes or goes has words of its own
		d.text(Changes, key, "the loopback address at which its callers find it", was.Loopback, is.Loopback)
	}
	seen := Changes
	if len(d.after.Policies) > 0 {
		seen = MayWiden // policies may look at it
	}
	d.text(seen, key+".owner", "its owner", was.Owner, is.Owner)
	d.setOf(seen, seen, key+".data", "it holds data of class", "it no longer holds data of class", was.Data, is.Data)
	d.text(Changes, key+".data", "how long its events are kept at least", retained(was.Retain), retained(is.Retain))
	if !bytes.Equal(was.API, is.API) {
		d.add(MayWiden, key+".api", "its API document is another, and other requests may be valid")
	}
	if was.Upstream.CA != is.Upstream.CA && bytes.Equal(was.CA, is.CA) {
		d.add(Changes, key+".upstream.ca", "its authorities stand in another file")
	}
	if !bytes.Equal(was.CA, is.CA) {
		d.add(MayWiden, key+".upstream.ca", "other authorities vouch for it")
	}
	d.text(MayWiden, key+".upstream.server_name", "the expected name of its certificate", was.Upstream.ServerName, is.Upstream.ServerName)
	d.text(Changes, key+".upstream.timeout", "its timeout", duration(int64(was.Upstream.Timeout)), duration(int64(is.Upstream.Timeout)))
	d.text(Changes, key+".upstream.connections", "the connections kept open to it", number(int64(was.Upstream.Connections)), number(int64(is.Upstream.Connections)))
	d.text(Changes, key+".upstream.retries", "how often requests to it are repeated", number(int64(was.Upstream.Retries)), number(int64(is.Upstream.Retries)))
	d.text(MayWiden, key+".broker", "which broker it is", was.Broker, is.Broker)
	if was.Keys != is.Keys {
		d.add(Changes, key+".broker_keys", "the keys by which it obeys its sidecars stand elsewhere")
	}
	d.setOf(Changes, Changes, key+".sidecar.addresses", "its sidecar is found at", "its sidecar is no longer found at", was.Sidecars, is.Sidecars)
	d.limits(key+".limits", was.Limits, is.Limits)
}

// reach compares who may call a service and what it may reach; either may be empty.
func (d *differ) reach(key, name string, was, is *model.ResolvedService) {
	if !d.meshed() || len(was.Serve)+len(is.Serve) == 0 {
		d.set(key+".callers", name+" may be called by", name+" may no longer be called by", was.Callers, is.Callers)
	} else { // the paths tell who may call; who may call none of them is named alone
		d.setOf(Changes, Changes, key+".callers", name+" has a caller for whom it serves nothing:", name+" no longer has a caller for whom it serves nothing:", idle(was), idle(is))
	}
	if is.Name == "" {
		return // what it could reach is gone with it
	}
	d.workloads(key+".workloads", name, was.Workloads, is.Workloads)
	d.set(key+".egress", name+" may reach", name+" may no longer reach", hosts(was.Egress), hosts(is.Egress))
	d.subjects(key+".publish", name, "send to", was.Publish, is.Publish)
	d.subjects(key+".subscribe", name, "receive", was.Subscribe, is.Subscribe)
}

// idle returns the callers that a service serves no path.
func idle(s *model.ResolvedService) []string {
	return slices.DeleteFunc(slices.Clone(s.Callers), func(name string) bool {
		return slices.ContainsFunc(s.Serve, func(r model.ResolvedRoute) bool {
			return slices.ContainsFunc(r.Callers, func(id string) bool { return strings.HasSuffix(id, "/service/"+name) })
		})
	})
}

func hosts(all []model.Egress) []string {
	var out []string
	for _, e := range all {
		out = append(out, fmt.Sprintf("%s:%d by %s", e.Host, e.Port, e.Protocol))
	}
	return out
}

// workloads compares what may be a service. Who must show more than before is no widening.
func (d *differ) workloads(key, name string, was, is []model.Workload) {
	for _, w := range is {
		if !slices.ContainsFunc(was, func(o model.Workload) bool { return implied(w, o) }) {
			d.add(Widens, key, "a workload can be "+name+" that shows "+list(pairs(w.Selectors())))
		}
	}
	for _, w := range was {
		if !slices.ContainsFunc(is, func(o model.Workload) bool { return implied(w, o) }) {
			d.add(Narrows, key, "a workload can no longer be "+name+" by "+list(pairs(w.Selectors())))
		}
	}
}

// implied tells whether whatever matches w matches o too.
func implied(w, o model.Workload) bool {
	shows := w.Selectors()
	for name, value := range o.Selectors() {
		if got, ok := shows[name]; !ok || got != value {
			return false
		}
	}
	return true
}

// subjects compares what a service may do at brokers.
func (d *differ) subjects(key, name, verb string, was, is map[string][]string) {
	brokers := slices.Sorted(maps.Keys(is))
	for broker := range was {
		if _, both := is[broker]; !both {
			brokers = append(brokers, broker)
		}
	}
	for _, broker := range brokers {
		for _, s := range is[broker] {
			if !slices.ContainsFunc(was[broker], func(o string) bool { return subjectCovers(o, s) }) {
				d.add(Widens, join(key, broker), fmt.Sprintf("%s may %s %s at %s", name, verb, s, broker))
			}
		}
		for _, s := range was[broker] {
			if !slices.ContainsFunc(is[broker], func(o string) bool { return subjectCovers(o, s) }) {
				d.add(Narrows, join(key, broker), fmt.Sprintf("%s may no longer %s %s at %s", name, verb, s, broker))
			}
		}
	}
}

// subjectCovers tells whether every subject that s means is meant by wide.
func subjectCovers(wide, s string) bool {
	a, b := strings.Split(wide, "."), strings.Split(s, ".")
	for i, token := range a {
		switch {
		case i >= len(b):
			return false
		case token == ">":
			return true
		case b[i] == ">" || token != "*" && token != b[i]:
			return false
		}
	}
	return len(a) == len(b)
}

// limits compares limits of one place. Those that are the same on both sides are left out; the rest are compared
// by name, then in their order.
func (d *differ) limits(key string, was, is []model.Limit) {
	gone := slices.DeleteFunc(slices.Clone(was), func(l model.Limit) bool { return slices.Contains(is, l) })
	added := slices.DeleteFunc(slices.Clone(is), func(l model.Limit) bool { return slices.Contains(was, l) })
	take := func(l model.Limit, same func(a, b model.Limit) bool) {
		i := slices.IndexFunc(added, func(o model.Limit) bool { return same(l, o) })
		if i >= 0 {
			d.limit(key, l, added[i])
			added = slices.Delete(added, i, i+1)
			gone = slices.DeleteFunc(gone, func(o model.Limit) bool { return o == l })
		}
	}
	for _, l := range slices.Clone(gone) {
		take(l, func(a, b model.Limit) bool { return a.Per == b.Per && a.Name == b.Name })
	}
	for _, l := range slices.Clone(gone) {
		take(l, func(a, b model.Limit) bool { return a.Per == b.Per })
	}
	for _, l := range gone {
		d.add(Widens, key, "no more limit of "+limitText(l))
	}
	for _, l := range added {
		d.add(Narrows, key, "a limit of "+limitText(l))
	}
}

func limitText(l model.Limit) string {
	rate, _ := l.Rate.MarshalText()
	return fmt.Sprintf("%s per %s", rate, l.Per)
}

func (d *differ) limit(key string, was, is model.Limit) {
	what := "the limit per " + is.Per + " "
	a, b := float64(was.Rate.Count)*float64(is.Rate.Window), float64(is.Rate.Count)*float64(was.Rate.Window)
	switch {
	case b > a:
		d.add(Widens, key, what+"is raised from "+limitText(was)+" to "+limitText(is))
	case b < a:
		d.add(Narrows, key, what+"is lowered from "+limitText(was)+" to "+limitText(is))
	case was.Rate != is.Rate:
		d.add(Changes, key, what+"is written "+limitText(is)+" for "+limitText(was))
	}
	d.bound(key, what+"at once", int64(was.Burst), int64(is.Burst), number)
	d.bound(key, what+"by prefix of IPv6", int64(was.IPv6), int64(is.IPv6), number)
	switch {
	case is.Cost < was.Cost:
		d.add(Widens, key, fmt.Sprintf("%scounts a request as %d, not as %d", what, is.Cost, was.Cost))
	case is.Cost > was.Cost:
		d.add(Narrows, key, fmt.Sprintf("%scounts a request as %d, not as %d", what, is.Cost, was.Cost))
	}
	if was.Name != is.Name {
		d.add(Changes, key, what+"has the name "+is.Name+" for "+was.Name+" and counts anew")
	}
}
