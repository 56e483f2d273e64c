package drift

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/ident"
	"github.com/palisade-security/palisade/proxy/filter/openapi"
)

// operation is a method of a path, declared or not, with what was seen there that is not declared.
type operation struct {
	tally
	method, template string
	segments         []string           // of one request
	declared         *openapi.Operation // nil: it is not
	query, headers   tallies
	statuses         tallies
	fields           map[string]tallies  // by media type
	used             map[string]struct{} // declared parameters of the query
	dropped          int64
}

// take returns what found no room since it was asked last.
func (o *operation) take() int64 {
	n := o.dropped
	o.dropped = 0
	return n
}

func (o *operation) seen(e *event.Event, who string) {
	o.add(e, who, 0)
	o.fromQuery(e, who)
	if status := strconv.Itoa(e.UpstreamStatus); o.declared == nil || !o.declared.DeclaresStatus(e.UpstreamStatus) {
		o.tell(&o.statuses, status, e, who, 0)
	}
	for i := range e.Trail {
		if e.Trail[i].Name != event.StageValidate {
			continue
		}
		for j := range e.Trail[i].Reasons {
			o.noted(&e.Trail[i].Reasons[j], e, who)
		}
	}
}

// tell adds one to the tally of a name.
func (o *operation) tell(in *tallies, name string, e *event.Event, who string, k kinds) {
	if *in == nil {
		*in = tallies{}
	}
	if t := in.of(name, mostNames); t != nil {
		t.add(e, who, k)
	} else {
		o.dropped++
	}
}

// fromQuery looks at the names in a query, each once.
func (o *operation) fromQuery(e *event.Event, who string) {
	if e.Query == "" {
		return
	}
	seen := map[string]kinds{}
	for i, pair := range strings.SplitN(e.Query, "&", mostPairs+1) {
		if i == mostPairs {
			o.dropped++
			break
		}
		name, value, _ := strings.Cut(pair, "=")
		name, errName := url.QueryUnescape(name)
		value, errValue := url.QueryUnescape(value)
		if errName != nil || errValue != nil || name == "" {
			continue
		}
		if o.declared != nil && o.declared.DeclaresQuery(name) {
			if o.used == nil {
				o.used = map[string]struct{}{}
			}
			o.used[name] = struct{}{} // declared: the document bounds them, but for free ones
			if len(o.used) > mostNames {
				delete(o.used, name)
			}
			continue
		}
		if !parameterName(name) {
			o.dropped++
			continue
		}
		seen[name] |= kindOf(value)
	}
	for name, k := range seen {
		o.tell(&o.query, name, e, who, k)
	}
}

// noted takes in what the proxy wrote down of headers and bodies.
func (o *operation) noted(r *event.Reason, e *event.Event, who string) {
	switch {
	case r.Code == openapi.ParameterCode && r.Data["in"] == "header":
		for name := range strings.SplitSeq(r.Data["names"], ",") {
			if ident.Name(name) && (o.declared == nil || !o.declared.DeclaresHeader(name)) {
				o.tell(&o.headers, name, e, who, kindString)
			}
		}
	case r.Code == openapi.FieldCode:
		media := r.Data["media"]
		if !ident.Media(media) {
			o.dropped++
			return
		}
		found := map[string]kinds{}
		for _, kind := range kindNames() {
			for path := range strings.SplitSeq(r.Data[kind], ",") {
				if fieldPath(path) && (o.declared == nil || !o.declared.DeclaresField(media, path)) {
					found[path] |= kindNamed(kind)
				}
			}
		}
		for path, k := range found {
			o.field(media, path, e, who, k)
		}
	}
}

func (o *operation) field(media, path string, e *event.Event, who string, k kinds) {
	in := o.fields[media]
	if in == nil {
		if len(o.fields) >= mostMedia {
			o.dropped++
			return
		}
		if o.fields == nil {
			o.fields = map[string]tallies{}
		}
		in = tallies{}
		o.fields[media] = in
	}
	o.tell(&in, path, e, who, k)
}

// fieldPath reports whether a path to a field is as proxies write them: of what a taken one writes nothing else is shown.
func fieldPath(path string) bool {
	tail, ok := strings.CutPrefix(path, "/")
	if !ok || strings.Count(tail, "/") > mostSegments {
		return false
	}
	for part := range strings.SplitSeq(tail, "/") {
		if part != "*" && part != "[]" && !ident.Name(part) {
			return false
		}
	}
	return true
}

// merge takes in what was seen of another path that is now the same.
func (o *operation) merge(other *operation) {
	o.tally.merge(&other.tally)
	o.dropped += other.dropped
	for _, both := range []struct{ to, from *tallies }{{&o.query, &other.query}, {&o.headers, &other.headers}, {&o.statuses, &other.statuses}} {
		if *both.to == nil {
			*both.to = tallies{}
		}
		o.dropped += both.to.merge(*both.from, mostNames)
	}
	if o.fields == nil {
		o.fields = map[string]tallies{}
	}
	for _, media := range slices.Sorted(maps.Keys(other.fields)) {
		if o.fields[media] == nil {
			if len(o.fields) >= mostMedia {
				o.dropped++
				continue
			}
			o.fields[media] = tallies{}
		}
		o.dropped += o.fields[media].merge(other.fields[media], mostNames)
	}
}
