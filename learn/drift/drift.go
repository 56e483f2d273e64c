// Package drift compares the API documents of services with what they were asked and answered with success: endpoints, parameters,
// fields and statuses that no document declares, and those declared that nobody used. It reads records, holds names and types, and
// proposes additions to the documents; a person decides about them. What was refused, or answered with an error, never counts. What is
// declared and unused stays: for the model see package learn.
package drift

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/ident"
	"github.com/palisade-security/palisade/learn"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy/filter/openapi"
)

// The bounds of what is held of one service. What finds no room is counted.
const (
	mostOperations = 1000 // that are not declared
	mostNames      = 200  // of parameters, or of fields of one media type, of an operation
	mostMedia      = 8    // types of bodies of an operation
	mostPairs      = 100  // of a query
	mostSegments   = 24   // of a path
)

// Evidence is what was seen of the services that have an API document. It is for one goroutine.
type Evidence struct {
	trust    string
	services []*service
	byName   map[string]*service
}

// service is what was seen of one.
type service struct {
	model.ResolvedService
	api      *openapi.API
	cover    learn.Coverage
	requests int64
	declared map[string]*operation // by method and template: those of the document, and undeclared methods of its paths
	document *branch               // its paths
	other    *place                // those that it does not have
	made     int                   // undeclared operations
	dropped  int64                 // requests, names and fields without room
}

// ErrNoDocument says that no service of a model has an API document.
var ErrNoDocument = errors.New("no service declares an API document (api)")

// New compiles the documents of a snapshot; of one service alone, if that is named.
func New(snap *model.Snapshot, only string) (*Evidence, []model.Finding, error) {
	v := &Evidence{trust: snap.TrustDomain, byName: map[string]*service{}}
	var findings []model.Finding
	for _, s := range snap.Services {
		if len(s.API) == 0 || only != "" && s.Name != only {
			continue
		}
		api, found := openapi.Compile(s)
		findings = append(findings, found...)
		if api == nil {
			continue
		}
		one := &service{ResolvedService: s, api: api, declared: map[string]*operation{}, other: &place{}}
		one.document = one.documented()
		v.services = append(v.services, one)
		v.byName[s.Name] = one
	}
	if model.HasErrors(findings) {
		return nil, findings, errors.New("an API document has errors")
	}
	if len(v.services) == 0 {
		return nil, findings, ErrNoDocument
	}
	return v, findings, nil
}

// Event takes one event in, if it is of a request that was let pass and that the service answered with success. Of the records along its
// way one counts: the edge's of what clients ask, and of what services ask that of the sidecar before the one asked.
func (v *Evidence) Event(e *event.Event) {
	s := v.byName[e.Service]
	if s == nil || e.Connection != nil || e.Act != nil || e.Log != nil || e.Open || !e.Allowed || e.UpstreamStatus/100 != 2 || e.Status != e.UpstreamStatus {
		return
	}
	switch {
	case e.Side == event.SideUnknown:
	case e.Side == event.SideInbound && e.Workload != model.EdgeID(v.trust):
	default:
		return
	}
	s.requests++
	s.cover.Mark(e.Time)
	segments, ok := segmentsOf(e.Path)
	if !ok {
		s.dropped++
		return
	}
	o := s.operation(e.Method, segments)
	if o == nil {
		s.dropped++
		return
	}
	o.seen(e, v.who(e))
	s.dropped += o.take()
}

// segmentsOf takes a canonical path apart.
func segmentsOf(path string) ([]string, bool) {
	tail, ok := strings.CutPrefix(path, "/")
	if !ok {
		return nil, false
	}
	segments := strings.SplitN(tail, "/", mostSegments+1)
	for i, s := range segments {
		if plain, err := url.PathUnescape(s); err == nil {
			segments[i] = plain
		}
	}
	return segments, len(segments) <= mostSegments
}

// operation is what a request belongs to, nil if there is no room for it.
func (s *service) operation(method string, segments []string) *operation {
	o, found := s.api.Find(method, segments)
	template := ""
	switch {
	case found:
		method, template = o.Method(), o.Template()
	case method == http.MethodHead:
		method = http.MethodGet
	}
	if !found {
		template = s.api.Template(segments)
	}
	if !found && template == "" {
		p := s.other.down(segments, s.document, s.made < mostOperations)
		if p == nil {
			return nil
		}
		return s.undeclared(p.methods(), method, &operation{method: method, segments: segments})
	}
	made := &operation{method: method, template: template, segments: segments}
	if found {
		made.declared = &o
		if one := s.declared[method+" "+template]; one != nil {
			return one
		}
		s.declared[method+" "+template] = made
		return made
	}
	return s.undeclared(s.declared, method+" "+template, made)
}

// undeclared is the undeclared operation under a key, a new one if there is none and room.
func (s *service) undeclared(in map[string]*operation, key string, o *operation) *operation {
	if one := in[key]; one != nil {
		return one
	}
	if s.made >= mostOperations {
		return nil
	}
	s.made++
	in[key] = o
	return o
}

// who asked, without a name of a person.
func (v *Evidence) who(e *event.Event) string {
	if e.Workload != "" && e.Side != event.SideUnknown {
		if name, ok := strings.CutPrefix(e.Workload, model.ServiceID(v.trust, "")); ok {
			return "service " + name
		}
		return e.Workload
	}
	switch u := e.User; {
	case u == nil:
		return "nobody signed in"
	case len(u.Roles) == 0:
		return "user of " + u.Provider
	default:
		return strings.Join(u.Roles, ", ") + " of " + u.Provider
	}
}

// parameterName reports whether a name of a query may be shown: names, also with others in brackets behind them.
func parameterName(name string) bool {
	first, rest, nested := strings.Cut(name, "[")
	if !ident.Name(first) {
		return false
	}
	if !nested {
		return true
	}
	for part := range strings.SplitSeq(rest, "[") {
		part, closed := strings.CutSuffix(part, "]")
		if !closed || part != "" && !ident.Name(part) {
			return false
		}
	}
	return true
}
