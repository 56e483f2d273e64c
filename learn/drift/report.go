package drift

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/palisade-security/palisade/proxy/filter/openapi"
)

// Kind is what something undocumented is.
type Kind string

// The kinds.
const (
	Endpoint  Kind = "endpoint" // a path, or a method of it
	Parameter Kind = "parameter"
	Header    Kind = "header"
	Field     Kind = "field" // of a JSON body or a form
	Status    Kind = "status"
)

// Undocumented is something that was used with success, and that the document does not declare.
type Undocumented struct {
	Service  string    `json:"service"`
	Kind     Kind      `json:"kind"`
	Method   string    `json:"method"`
	Path     string    `json:"path"`            // template, without the path of the server
	Name     string    `json:"name,omitempty"`  // of a parameter or header; of a field the way to it, "[]" for items; of an answer its status
	Media    string    `json:"media,omitempty"` // type of the body
	Types    []string  `json:"types,omitempty"` // JSON types, or uuid
	Count    int64     `json:"count"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	By       []Who     `json:"by"`      // the most frequent first
	Samples  []string  `json:"samples"` // ids of events
	Proposed bool      `json:"proposed"`
	Why      string    `json:"why,omitempty"` // it is not proposed

	op     *operation
	params []parameter
}

// Who is a sort of clients: their roles, or the service.
type Who struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// Unused is something that the document declares, and that nobody was seen to use.
type Unused struct {
	Service  string `json:"service"`
	Kind     Kind   `json:"kind"`
	Method   string `json:"method"`
	Path     string `json:"path"`
	Name     string `json:"name,omitempty"`
	Position string `json:"position"`
}

// Service is how much was seen of one.
type Service struct {
	Name     string    `json:"name"`
	Document string    `json:"document"`
	Requests int64     `json:"requests"` // let pass and answered with success
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
	Hours    int       `json:"hours"` // of the 168 of a week in which it was at work
	Days     int       `json:"days"`
	Sure     float64   `json:"sure"`              // how much of four weeks, hour by hour, it was watched
	Dropped  int64     `json:"dropped,omitempty"` // requests, names and fields that found no room, or may be values
}

// Report is how documents and traffic differ.
type Report struct {
	Services     []Service      `json:"services"`
	Undocumented []Undocumented `json:"undocumented"`
	Unused       []Unused       `json:"unused"`
}

// Report says what is not documented and was seen at least so often, and what is documented and was not seen at all.
func (v *Evidence) Report(least int64) *Report {
	r := &Report{Services: []Service{}, Undocumented: []Undocumented{}, Unused: []Unused{}}
	for _, s := range v.services {
		r.Services = append(r.Services, Service{
			Name: s.Name, Document: s.APIFile, Requests: s.requests, First: s.cover.First, Last: s.cover.Last, Hours: s.cover.Hours(), Days: s.cover.Days(),
			Sure: s.cover.Sure(), Dropped: s.dropped,
		})
		r.undocumented(s)
		r.unused(s)
	}
	r.Undocumented = slices.DeleteFunc(r.Undocumented, func(u Undocumented) bool { return u.Count < least })
	slices.SortStableFunc(r.Undocumented, func(a, b Undocumented) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), cmp.Compare(b.Count, a.Count), strings.Compare(a.Path, b.Path), strings.Compare(a.Method, b.Method),
			strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Media, b.Media), strings.Compare(a.Name, b.Name))
	})
	return r
}

func (r *Report) undocumented(s *service) {
	for _, key := range slices.Sorted(maps.Keys(s.declared)) {
		o := s.declared[key]
		if o.declared == nil {
			r.endpoint(s, o.template, nil, o)
			continue
		}
		r.names(s, Parameter, o, o.query, "")
		r.names(s, Header, o, o.headers, "")
		r.names(s, Status, o, o.statuses, "")
		for _, media := range slices.Sorted(maps.Keys(o.fields)) {
			r.names(s, Field, o, o.fields[media], media)
		}
	}
	base := s.api.Base()
	s.other.each("", nil, func(template string, params []parameter, o *operation) {
		within, ok := strings.CutPrefix(template, base)
		if !ok || !strings.HasPrefix(within, "/") {
			r.endpoint(s, template, params, o)
			r.leave("it is outside of " + base + ", the path of the document's first server")
			return
		}
		r.endpoint(s, within, params, o)
	})
}

func (r *Report) endpoint(s *service, template string, params []parameter, o *operation) {
	u := of(s, Endpoint, o, &o.tally)
	u.Path, u.params = template, params
	r.Undocumented = append(r.Undocumented, u)
	if !slices.Contains([]string{"GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE"}, o.method) {
		r.leave("OpenAPI has no operation for this method")
	}
}

func (r *Report) names(s *service, kind Kind, o *operation, all tallies, media string) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		u := of(s, kind, o, all[name])
		u.Name, u.Media, u.Types = name, media, all[name].kinds.names()
		r.Undocumented = append(r.Undocumented, u)
		if kind == Field && strings.Contains(name, "*") {
			r.leave("keys that look like values: declare additionalProperties by hand")
		}
	}
}

// leave says why what was added last is not proposed.
func (r *Report) leave(why string) {
	u := &r.Undocumented[len(r.Undocumented)-1]
	u.Proposed, u.Why = false, why
}

func of(s *service, kind Kind, o *operation, t *tally) Undocumented {
	u := Undocumented{
		Service: s.Name, Kind: kind, Method: o.method, Path: o.template, Count: t.count, First: t.first, Last: t.last, Samples: t.samples, By: []Who{}, Proposed: true, op: o,
	}
	for name, n := range t.by {
		u.By = append(u.By, Who{name, n})
	}
	slices.SortFunc(u.By, func(a, b Who) int { return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Name, b.Name)) })
	return u
}

func (r *Report) unused(s *service) {
	for _, o := range s.api.Operations() {
		u := Unused{Service: s.Name, Kind: Endpoint, Method: o.Method(), Path: o.Template(), Position: o.Position()}
		seen := s.declared[o.Method()+" "+o.Template()]
		if seen == nil {
			r.Unused = append(r.Unused, u)
			continue
		}
		for _, name := range o.Parameters() {
			if _, used := seen.used[name]; !used {
				u.Kind, u.Name = Parameter, name
				r.Unused = append(r.Unused, u)
			}
		}
	}
}

// declaredIn reports whether a document declares it.
func (u *Undocumented) declaredIn(api *openapi.API) bool {
	o, ok := api.Find(u.Method, u.op.segments)
	if !ok || u.Kind == Endpoint {
		return ok
	}
	switch u.Kind {
	case Parameter:
		return o.DeclaresQuery(u.Name)
	case Header:
		return o.DeclaresHeader(u.Name)
	case Field:
		return o.DeclaresField(u.Media, u.Name)
	case Status:
		status, err := strconv.Atoi(u.Name)
		return err == nil && o.DeclaresStatus(status)
	case Endpoint:
	}
	return false
}
