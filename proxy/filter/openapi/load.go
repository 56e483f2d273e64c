package openapi

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/palisade-security/palisade/model"
)

// maxDocument bounds an API document in bytes.
const maxDocument = 16 << 20

// API is a compiled document. It is immutable and safe for concurrent use.
type API struct {
	service  string
	file     string
	root     branch
	items    []*item         // by template, sorted
	base     string          // path of the first server
	queries  map[string]bool // names of API keys in the query, declared by security schemes
	headers  map[string]bool // names in lower case of those in headers
	known    *headerNames
	seed     maphash.Seed
	sessions sync.Pool
}

// operation is a method of a path.
type operation struct {
	position string
	item     *item
	params   []param
	method   string
	query    map[string]bool // names that belong to some query parameter
	headers  map[string]bool // names in lower case
	statuses map[string]bool // of declared answers: 200, 2XX, default
	prefixes []string        // "name[" of deepObject parameters
	free     bool            // some query parameter takes any name
	body     *body           // nil: none is declared
}

// Compile reads the service's OpenAPI document. It fetches nothing: a reference that leaves the document is an
// error. If a finding is an error, the API is nil and the model must not be used.
func Compile(service model.ResolvedService) (*API, []model.Finding) {
	l := &loading{file: service.APIFile, api: &API{service: service.Name, file: service.APIFile, seed: maphash.MakeSeed()}}
	if len(service.API) > maxDocument {
		l.finding(model.Error, nil, "api-too-large", fmt.Sprintf("the API document has %d bytes, at most %d are read", len(service.API), maxDocument), "")
		return nil, l.findings
	}
	doc := l.load(service.API)
	if doc == nil {
		return nil, l.findings
	}
	l.compiler = newCompiler(doc.IsOpenAPI31OrLater(), func(o *openapi3.Origin, code, text, hint string) {
		l.finding(model.Error, o, code, text, hint)
	})
	l.paths(doc)
	if slices.ContainsFunc(l.findings, func(f model.Finding) bool { return f.Severity == model.Error }) {
		return nil, l.findings
	}
	l.api.root.sort()
	l.api.sessions.New = func() any { return new(session) }
	return l.api, l.findings
}

// loading is one run of Compile.
type loading struct {
	file     string
	api      *API
	compiler *compiler
	findings []model.Finding
}

func (l *loading) finding(severity model.Severity, origin *openapi3.Origin, code, text, hint string) {
	f := model.Finding{Severity: severity, Code: code, Position: l.position(origin), Text: text, Hint: hint}
	if !slices.Contains(l.findings, f) {
		l.findings = append(l.findings, f)
	}
}

func (l *loading) position(origin *openapi3.Origin) model.Position {
	p := model.Position{File: l.file}
	if origin != nil && origin.Key != nil {
		p.Line, p.Column = origin.Key.Line, origin.Key.Column
	}
	return p
}

// load parses and validates the document, or reports why not.
func (l *loading) load(text []byte) (doc *openapi3.T) {
	// The library has no promise not to panic on a strange document, and a reload must not end the gateway.
	defer func() {
		if recover() != nil {
			doc = nil
			l.finding(model.Error, nil, "api-unreadable", "the API document cannot be read: it confuses the reader", "look for empty entries")
		}
	}()
	loader := openapi3.NewLoader()
	loader.IncludeOrigin = true
	loader.ReadFromURIFunc = func(_ *openapi3.Loader, location *url.URL) ([]byte, error) {
		return nil, fmt.Errorf("%w %q", errExternal, location.Redacted())
	}
	var err error
	doc, err = loader.LoadFromData(text)
	switch {
	case errors.Is(err, errExternal):
		l.finding(model.Error, nil, "external-reference", err.Error(), "keep everything in one document")
		return nil
	case err != nil:
		l.finding(model.Error, nil, "api-unreadable", "the API document cannot be read: "+err.Error(), "")
		return nil
	case !strings.HasPrefix(doc.OpenAPI, "3.0") && !strings.HasPrefix(doc.OpenAPI, "3.1"):
		l.finding(model.Error, nil, "api-version", "the API document must be OpenAPI 3.0 or 3.1", `begin it with openapi: 3.1.0`)
		return nil
	}
	// Patterns are compiled, and refused, where they are used.
	err = doc.Validate(loader.Context, openapi3.EnableMultiError(), openapi3.DisableExamplesValidation(),
		openapi3.DisableSchemaDefaultsValidation(), openapi3.DisableSchemaPatternValidation())
	var all openapi3.MultiError
	switch {
	case err == nil:
	case errors.As(err, &all):
		for _, e := range all {
			l.finding(model.Error, originOf(e), "api-invalid", "the API document is not valid: "+e.Error(), "")
		}
	default:
		l.finding(model.Error, originOf(err), "api-invalid", "the API document is not valid: "+err.Error(), "")
	}
	return doc
}

var errExternal = errors.New("the API document refers to another document,")

// originOf finds where the library says an error stands: the innermost Origin field of the chain.
func originOf(err error) (origin *openapi3.Origin) {
	for ; err != nil; err = errors.Unwrap(err) {
		v := reflect.Indirect(reflect.ValueOf(err))
		if v.Kind() != reflect.Struct {
			continue
		}
		field, ok := v.Type().FieldByName("Origin")
		if !ok {
			continue
		}
		if f, err := v.FieldByIndexErr(field.Index); err == nil {
			if o, ok := reflect.TypeAssert[*openapi3.Origin](f); ok && o != nil {
				origin = o
			}
		}
	}
	return origin
}

func (l *loading) paths(doc *openapi3.T) {
	base := l.base(doc.Servers)
	l.api.base, l.api.known = base, knownNames()
	l.api.queries, l.api.headers = make(map[string]bool), make(map[string]bool)
	if doc.Components != nil {
		for _, s := range doc.Components.SecuritySchemes {
			switch {
			case s == nil || s.Value == nil:
			case s.Value.In == "query":
				l.api.queries[s.Value.Name] = true
			case s.Value.In == "header":
				l.api.headers[strings.ToLower(s.Value.Name)] = true
			}
		}
	}
	if doc.Paths == nil {
		return
	}
	for _, template := range doc.Paths.Keys() {
		p := doc.Paths.Value(template)
		if p == nil {
			continue
		}
		prefix := base
		if len(p.Servers) > 0 {
			prefix = l.base(p.Servers)
		}
		segments, params, err := parsePath(prefix + template)
		if err != nil {
			l.finding(model.Error, p.Origin, "api-path", fmt.Sprintf("the path %q is not a path template", template), "")
			continue
		}
		it := &item{template: template, params: params, operations: make(map[string]*operation)}
		for method, op := range p.Operations() {
			if len(op.Parameters)+len(p.Parameters) > maxParams {
				l.finding(model.Error, op.Origin, "api-parameters", "too many parameters", "")
				continue
			}
			o := l.operation(it, p, op)
			o.method = strings.ToUpper(method)
			it.operations[o.method] = o
		}
		l.api.root.add(segments, it)
		l.api.items = append(l.api.items, it)
	}
}

// maxParams bounds the parameters of one operation.
const maxParams = 1000

// base returns the path of the first server, with the default values of its variables.
func (l *loading) base(servers openapi3.Servers) string {
	if len(servers) == 0 || servers[0] == nil {
		return ""
	}
	path, err := servers[0].BasePath()
	if err != nil {
		l.finding(model.Error, servers[0].Origin, "api-server", "the URL of the first server is not valid", "")
		return ""
	}
	return strings.TrimRight(path, "/")
}

func (l *loading) operation(it *item, p *openapi3.PathItem, op *openapi3.Operation) *operation {
	o := &operation{item: it, query: make(map[string]bool), headers: make(map[string]bool), statuses: make(map[string]bool), position: positionText(l.position(op.Origin))}
	for _, list := range []openapi3.Parameters{op.Parameters, p.Parameters} {
		for _, ref := range list {
			if ref == nil || ref.Value == nil {
				continue
			}
			q := ref.Value
			if slices.ContainsFunc(o.params, func(x param) bool { return x.name == q.Name && x.in == q.In }) {
				continue // the operation's own goes before the path's
			}
			l.parameter(o, q)
		}
	}
	if op.RequestBody != nil && op.RequestBody.Value != nil {
		o.body = l.body(op.RequestBody.Value)
	}
	for code := range op.Responses.Map() {
		o.statuses[strings.ToUpper(code)] = true
	}
	return o
}

func (l *loading) parameter(o *operation, q *openapi3.Parameter) {
	p := param{name: q.Name, in: q.In, required: q.Required, allowEmpty: q.AllowEmptyValue, path: slices.Index(o.item.params, q.Name)}
	switch {
	case p.in == "header" && slices.ContainsFunc([]string{"accept", "content-type", "authorization"}, func(s string) bool { return strings.EqualFold(s, p.name) }):
		return // OpenAPI 3.0.3, section 4.7.12.1: ignored
	case p.in == "path" && p.path < 0:
		l.finding(model.Error, q.Origin, "api-parameter", fmt.Sprintf("the path has no parameter {%s}", p.name), "")
		return
	}
	if q.Schema != nil {
		p.node = l.compiler.ref(q.Schema)
		if s, err := q.SerializationMethod(); err == nil {
			p.style, p.explode = s.Style, s.Explode
		}
	}
	for name, m := range q.Content {
		p.json = isJSON(baseType(name))
		p.opaque = !p.json
		if m != nil {
			p.node = l.compiler.ref(m.Schema)
		}
	}
	p.wants = wanted(p.node, 0)
	if p.in == "header" {
		o.headers[strings.ToLower(p.name)] = true
	}
	if p.in == "query" {
		o.query[p.name] = true
		switch {
		case p.isObject() && p.style == "deepObject":
			o.prefixes = append(o.prefixes, p.name+"[")
		case p.isObject() && p.style == "form" && p.explode:
			delete(o.query, p.name)
			o.spread(p.node, 0)
		}
	}
	o.params = append(o.params, p)
}

// spread declares the properties of an exploded object as names of the query.
func (o *operation) spread(n *node, depth int) {
	if n == nil || depth > deepest {
		return
	}
	for name := range n.properties {
		o.query[name] = true
	}
	o.free = o.free || n.additional == nil && len(n.properties) == 0 || n.additional != nil && !n.additional.never
	for _, list := range [][]*node{n.allOf, n.anyOf, n.oneOf} {
		for _, sub := range list {
			o.spread(sub, depth+1)
		}
	}
}

func positionText(p model.Position) string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}
