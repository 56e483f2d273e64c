package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/model"
)

// table is every route of a snapshot by host, those at the edge and those between services.
type table struct {
	hosts map[string][]spot
}

// spot is one shape of paths of a host, with the routes of its methods.
type spot struct {
	template model.Template
	shape    string
	routes   []*model.ResolvedRoute
}

// tableOf sorts routes by host and shape, the most specific shape first.
func tableOf(routes []*model.ResolvedRoute) table {
	t := table{hosts: map[string][]spot{}}
	at := map[string]int{} // by host and shape, to the place among the spots of the host
	for _, r := range routes {
		template, err := model.ParseTemplate(r.Path)
		if err != nil {
			continue // a compiled model has none
		}
		shape := template.Shape()
		i, seen := at[r.Host+shape]
		if !seen {
			at[r.Host+shape] = len(t.hosts[r.Host])
			t.hosts[r.Host] = append(t.hosts[r.Host], spot{template, shape, []*model.ResolvedRoute{r}})
			continue
		}
		t.hosts[r.Host][i].routes = append(t.hosts[r.Host][i].routes, r)
	}
	for _, spots := range t.hosts {
		slices.SortFunc(spots, func(a, b spot) int { return strings.Compare(rank(a.template), rank(b.template)) })
	}
	return t
}

// rank writes a template so that the one that decides sorts before others that match the same path.
func rank(t model.Template) string {
	var b strings.Builder
	for _, s := range t {
		switch {
		case s.Rest:
			b.WriteByte('3')
		case s.Param != "":
			b.WriteByte('2')
		default:
			b.WriteByte('1')
		}
	}
	return b.String()
}

// of returns what decides about a host: its own routes, else those of *. and its parent.
func (t table) of(host string) []spot {
	if own, ok := t.hosts[host]; ok {
		return own
	}
	_, parent, _ := strings.Cut(host, ".")
	return t.hosts["*."+parent]
}

// find returns the spot of that shape, or nil.
func find(spots []spot, shape string) *spot {
	i := slices.IndexFunc(spots, func(s spot) bool { return s.shape == shape })
	if i < 0 {
		return nil
	}
	return &spots[i]
}

// stands returns the spots that decide about paths of a template where the template itself does not stand: the most
// specific first, up to the first that matches all of them. Without such a one there is a rest that none matches.
func stands(spots []spot, t model.Template) (others []*spot, rest bool) {
	for i := range spots {
		_, meet := spots[i].template.Meet(t)
		if !meet || rank(spots[i].template) < rank(t) {
			continue // of other paths, or one that decides before this one: it is compared by itself
		}
		others = append(others, &spots[i])
		if spots[i].template.Covers(t) {
			return others, false
		}
	}
	return others, true
}

// routes compares who may ask what, and how requests are checked on their way.
func (d *differ) routes() {
	d.includes, d.included = including(d.after), including(d.before)
	was, is := tableOf(d.all(d.before)), tableOf(d.all(d.after))
	hosts := map[string]bool{}
	for h := range was.hosts {
		hosts[h] = true
	}
	for h := range is.hosts {
		hosts[h] = true
	}
	for host := range hosts {
		d.host(host, was.of(host), is.of(host))
	}
	d.at(model.Position{}, model.Position{})
}

// all returns the routes at the edge and, where they can be compared, those between services.
func (d *differ) all(s *model.Snapshot) []*model.ResolvedRoute {
	var out []*model.ResolvedRoute
	for i := range s.Routes {
		out = append(out, &s.Routes[i])
	}
	for i := range s.Services {
		for j := range s.Services[i].Serve {
			if d.meshed() {
				out = append(out, &s.Services[i].Serve[j])
			}
		}
	}
	return out
}

// meshed tells whether what services serve each other can be compared: without a mesh before, nothing held them
// to it.
func (d *differ) meshed() bool {
	return d.after.Mesh != nil && (d.before.Mesh != nil || d.before.Fleet == "")
}

// host compares the paths of one host. A path that comes or goes is compared with what decided about it, or will.
func (d *differ) host(host string, was, is []spot) {
	for i := range was {
		s := &was[i]
		if now := find(is, s.shape); now != nil {
			d.spot(host, now, s, now)
			continue
		}
		others, rest := stands(is, s.template)
		for _, other := range others {
			d.spot(host, s, s, other)
		}
		if rest {
			d.spot(host, s, s, nil)
		}
	}
	for i := range is {
		s := &is[i]
		if find(was, s.shape) != nil {
			continue
		}
		others, rest := stands(was, s.template)
		for _, other := range others {
			d.spot(host, s, other, s)
		}
		if rest {
			d.spot(host, s, nil, s)
		}
	}
}

// spot compares the routes that decide about the path of at before and after, method by method.
func (d *differ) spot(host string, at, was, is *spot) {
	type pair struct{ was, is *model.ResolvedRoute }
	methods := map[pair][]string{}
	for _, m := range append(model.StandardMethods(), "OPTIONS") {
		if p := (pair{was.route(m), is.route(m)}); p != (pair{}) {
			methods[p] = append(methods[p], m)
		}
	}
	for p, m := range methods {
		key, path := name(host, at.template.String(), cmp.Or(p.is, p.was))
		d.at(orZero(p.was).Position, orZero(p.is).Position)
		slices.Sort(m)
		switch {
		case p.was == nil && len(d.after.Policies) > 0:
			d.add(MayWiden, key, list(m)+" "+path+" is a route now, to service "+p.is.Service+", and policies may permit it")
		case p.was == nil:
			d.add(Changes, key, list(m)+" "+path+" is a route now, to service "+p.is.Service)
		case p.is == nil:
			d.add(Narrows, key, list(m)+" "+path+" is no route any more")
		}
		d.permit(key+".allow", path, m, p.was, p.is)
		if p.was != nil && p.is != nil {
			d.checks(key, path, p.was, p.is)
		}
	}
}

// name returns the key and the words for a path.
func name(host, template string, r *model.ResolvedRoute) (key, path string) {
	service := join("services", r.Service)
	if strings.HasPrefix(r.ID, "mesh:") {
		return service + `.serve["` + template + `"]`, host + template
	}
	return service + `.expose["` + host + template + `"]`, host + template
}

func (s *spot) route(method string) *model.ResolvedRoute {
	if s == nil {
		return nil
	}
	i := slices.IndexFunc(s.routes, func(r *model.ResolvedRoute) bool { return slices.Contains(r.Methods, method) })
	if i < 0 {
		return nil
	}
	return s.routes[i]
}

// checks compares how requests of one path are checked by the route before and the one after.
func (d *differ) checks(key, path string, was, is *model.ResolvedRoute) {
	if was.Service != is.Service {
		d.add(Widens, key, path+" reaches service "+is.Service)
		d.add(Narrows, key, path+" no longer reaches service "+was.Service)
	}
	d.set(key+".providers", path+" takes tokens of", path+" no longer takes tokens of",
		known(was.Providers, d.after), known(is.Providers, d.before))
	d.limits(key+".limits", d.own(d.before, was), d.own(d.after, is))
	d.inspection(key+".waf", path, was.WAF, is.WAF)
	d.validation(key+".validate", path, was.Validate, is.Validate)
	d.bound(key+".body", "the bound of bodies", int64(was.Body), int64(is.Body), size)
	d.text(Changes, key+".timeout", "its timeout", duration(int64(was.Timeout)), duration(int64(is.Timeout)))
	d.set(key+".upgrade", path+" may switch to", path+" may no longer switch to", was.Upgrade, is.Upgrade)
	d.flag(key+".stream", was.Stream, is.Stream, path+" takes bodies without end", path+" takes no bodies without end")
	d.set(key+".dry_run", path+" no longer refuses, but only records, at", path+" refuses again at", was.DryRun, is.DryRun)
	d.flag(key+".forward_token", was.ForwardToken, is.ForwardToken, path+" hands the access token on to the service", path+" keeps the access token from the service")
	d.set(key+".cors", path+" may be read by pages of", path+" may no longer be read by pages of", was.CORS, is.CORS)
	if was.Deprecated != is.Deprecated {
		d.add(Changes, key+".deprecated", path+" is deprecated, or no longer")
	}
}

// known leaves out providers that the other snapshot lacks: they are reported by themselves.
func known(providers []string, other *model.Snapshot) []string {
	return slices.DeleteFunc(slices.Clone(providers), func(n string) bool {
		return !slices.ContainsFunc(other.Providers, func(p model.ResolvedProvider) bool { return p.Name == n })
	})
}

// own returns the limits that a route says itself; those of its service and of the edge stand behind them.
func (d *differ) own(s *model.Snapshot, r *model.ResolvedRoute) []model.Limit {
	behind := 0
	service := s.ServiceByName(r.Service)
	for _, l := range orZero(service).Limits {
		if !strings.HasPrefix(r.ID, "mesh:") || l.Per != "address" {
			behind++
		}
	}
	if !strings.HasPrefix(r.ID, "mesh:") {
		behind += len(s.Edge.Limits)
	}
	return r.Limits[:max(0, len(r.Limits)-behind)]
}

func (d *differ) inspection(key, path string, was, is model.WAF) {
	d.ranked(key+".mode", "the inspection of "+path, was.Mode, is.Mode, "off", "detect", "block")
	if was.Mode == "off" || is.Mode == "off" {
		return
	}
	d.ranked(key+".paranoia", "the paranoia", number(int64(was.Paranoia)), number(int64(is.Paranoia)), "1", "2", "3", "4")
	d.bound(key+".threshold", "the score that blocks", int64(was.Threshold), int64(is.Threshold), number)
	d.bound(key+".body", "the bound of inspected bodies", int64(was.Body), int64(is.Body), size)
	d.flag(key+".answers", !withholds(was), !withholds(is), path+" no longer withholds answers that leak", path+" withholds answers that leak")
	d.set(key+".exclude", path+" is no longer inspected by", path+" is inspected again by", exclusions(was), exclusions(is))
}

func withholds(w model.WAF) bool { return w.Answers != nil && *w.Answers }

func exclusions(w model.WAF) []string {
	var out []string
	for _, e := range w.Exclude {
		text := "rule " + number(int64(e.Rule))
		if e.Tag != "" {
			text = "tag " + e.Tag
		}
		if e.Target != "" {
			text += " for " + e.Target
		}
		out = append(out, text)
	}
	return out
}

func (d *differ) validation(key, path string, was, is model.Validate) {
	d.flag(key, was.Off, is.Off, path+" is no longer validated", path+" is validated")
	if was.Off || is.Off {
		return
	}
	d.bound(key+".depth", "the bound of nesting", int64(was.Depth), int64(is.Depth), number)
	d.bound(key+".keys", "the bound of keys", int64(was.Keys), int64(is.Keys), number)
	d.bound(key+".items", "the bound of items", int64(was.Items), int64(is.Items), number)
	d.bound(key+".string", "the bound of text", int64(was.String), int64(is.String), size)
}
