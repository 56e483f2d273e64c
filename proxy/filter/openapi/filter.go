package openapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/ident"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
)

// filter checks the requests of one route.
type filter struct {
	api    *API
	max    bounds
	shapes bool // note what is not declared of headers and bodies
	dry    bool // nobody is refused
}

// The bounds of JSON where the model sets none (model.Validate).
const (
	defaultDepth = 32
	deepestJSON  = 1000 // more would be hard on the stack
	defaultKeys  = 1000
	defaultItems = 10000
)

// Filter returns the filter of a route of the service. What a request asks is looked up in the document by its
// whole canonical path; the route brings the bounds of JSON. A path that the document does not declare, or a
// method of it, is refused as drift. An undeclared query parameter passes and is noted as drift: proxies and
// analytics add them, and refusing would break what works. With shapes, undeclared headers and fields of bodies are
// noted too, by their names and types. HEAD is judged as GET where it is not declared.
func (a *API) Filter(route model.ResolvedRoute, shapes bool) proxy.Filter {
	v := route.Validate
	limits := bounds{depth: v.Depth, keys: v.Keys, items: v.Items, length: int(min(v.String, math.MaxInt32))}
	if limits.depth <= 0 {
		limits.depth = defaultDepth
	}
	limits.depth = min(limits.depth, deepestJSON)
	if limits.keys <= 0 {
		limits.keys = defaultKeys
	}
	if limits.items <= 0 {
		limits.items = defaultItems
	}
	if limits.length <= 0 {
		limits.length = math.MaxInt32 // the body is bounded
	}
	return &filter{api: a, max: limits, shapes: shapes, dry: shapes && slices.Contains(route.DryRun, "validate")}
}

// session is the working memory of one request.
type session struct {
	checker checker
	survey  survey
	doc     document
	buf     []byte
	values  []string
	path    []string
	opaque  []uint32
	reasons []event.Reason
}

// keep bounds what a session holds on to between requests, in bytes and in tokens.
const keep = 64 << 10

func (a *API) begin() *session {
	s := a.sessions.Get().(*session) //nolint:forcetypeassert // the pool holds nothing else
	s.checker.document, s.checker.seed = &s.doc, a.seed
	return s
}

func (a *API) end(s *session) {
	clear(s.values[:cap(s.values)])
	clear(s.path[:cap(s.path)])
	s.doc.src, s.reasons = nil, nil
	clear(s.survey.found)
	if cap(s.buf) > keep || cap(s.doc.tape) > keep {
		return
	}
	a.sessions.Put(s)
}

// Filter checks the request.
func (f *filter) Filter(_ context.Context, r *proxy.Request) error {
	s := f.api.begin()
	s.checker.names = f.shapes
	defer f.api.end(s)
	var it *item
	it, s.path = f.api.root.match(r.Segments, s.path[:0])
	op := it.operation(r.Method)
	if op == nil {
		f.unjudged(s, r, "")
		return f.undeclared(it, r)
	}
	for i := range op.params {
		f.parameter(s, op, &op.params[i], r)
		if len(s.reasons) >= maxViolations {
			break
		}
	}
	f.drift(op, r)
	if f.shapes {
		f.headers(op, r)
	}
	if err := f.body(s, op, r); err != nil {
		return err
	}
	if len(s.reasons) == 0 {
		return nil
	}
	for i := range s.reasons {
		s.reasons[i].Position = op.position
	}
	return &proxy.Denial{Kind: proxy.KindInvalid, Detail: detail(s.reasons[0]), Reasons: s.reasons}
}

// detail is the first reason as a sentence.
func detail(r event.Reason) string {
	where := r.Data["in"]
	if r.Data["name"] != "" {
		where += " " + r.Data["name"]
	}
	if r.Data["pointer"] != "" {
		where += " at " + r.Data["pointer"]
	}
	return where + ": " + r.Text + "."
}

// operation returns the declared method, or nil.
func (it *item) operation(method string) *operation {
	if it == nil {
		return nil
	}
	if op := it.operations[method]; op != nil || method != "HEAD" {
		return op
	}
	return it.operations["GET"]
}

func (f *filter) undeclared(it *item, r *proxy.Request) error {
	reason := event.Reason{
		Code: "undeclared-endpoint", Position: f.api.file,
		Text: "the API document declares no such path",
		Data: map[string]string{"drift": "true", "service": f.api.service, "method": r.Method},
	}
	if it != nil {
		reason.Text = "the API document does not declare this method for the path"
		reason.Data["template"] = it.template
	}
	return &proxy.Denial{Kind: proxy.KindUndeclared, Detail: "The API document does not declare this endpoint.", Reasons: []event.Reason{reason}}
}

// drift notes query parameters that the document does not know.
func (f *filter) drift(op *operation, r *proxy.Request) {
	if op.free {
		return
	}
	var names []string
	for i := range r.Query {
		name := r.Query[i].Name
		if (Operation{f.api, op}).DeclaresQuery(name) {
			continue
		}
		if name = printable(name); len(names) < maxViolations && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	noteParameters(op, r, "query", "the API document does not declare a query parameter that was sent", names)
}

func noteParameters(op *operation, r *proxy.Request, in, text string, names []string) {
	if len(names) > 0 {
		r.Note(event.Reason{
			Code: ParameterCode, Text: text, Position: op.position,
			Data: map[string]string{"drift": "true", "in": in, "names": strings.Join(names, ",")},
		})
	}
}

// ParameterCode is the code of a reason that names parameters that the document does not declare: in Data where they stood, and
// their names with commas between them.
const ParameterCode = "undeclared-parameter"

// headers notes fields of an API's own that the document does not know.
func (f *filter) headers(op *operation, r *proxy.Request) {
	var names []string
	var room [maxHeaderName]byte
	for i := range r.Header {
		name := r.Header[i].Name
		if len(name) > len(room) {
			continue
		}
		lower := appendLower(room[:0], name)
		if f.api.known.has(lower) || f.api.headers[string(lower)] || op.headers[string(lower)] || len(names) == maxViolations || !ident.Name(name) {
			continue
		}
		if s := string(lower); !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	noteParameters(op, r, "header", "the API document does not declare a header that was sent", names)
}

// maxHeaderName is the length of names that are looked at.
const maxHeaderName = 64

func appendLower(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// refuse adds a reason.
func (s *session) refuse(code, text, in, name string, v violation) {
	if len(s.reasons) >= maxViolations {
		return
	}
	data := map[string]string{"in": in}
	for key, value := range map[string]string{"name": name, "pointer": v.pointer, "keyword": v.keyword} {
		if value != "" {
			data[key] = value
		}
	}
	s.reasons = append(s.reasons, event.Reason{Code: code, Text: text, Data: data})
}

// judge scans and judges s.buf or a body. It records nothing.
func (s *session) judge(src []byte, n *node, limits bounds) (f *fault, ok bool) {
	if f := s.doc.scan(src, limits); f != nil {
		return f, false
	}
	for i := range s.doc.tape {
		if t := &s.doc.tape[i]; t.kind == kindNull && slices.Contains(s.opaque, t.start) {
			t.kind = kindOpaque
		}
	}
	ok, exhausted := s.checker.judge(n)
	if exhausted {
		return &fault{code: "too-complex", text: "the value takes too much work to check"}, false
	}
	return nil, ok
}

// record adds what judge found.
func (s *session) record(f *fault, code, in, name string) {
	if f != nil {
		s.refuse(f.code, f.text, in, name, violation{})
		return
	}
	for _, v := range s.checker.out {
		s.refuse(code, v.expected, in, name, v)
	}
	if len(s.checker.out) == 0 {
		s.refuse(code, "the value does not match its schema", in, name, violation{})
	}
}

// parameter checks one declared parameter.
func (f *filter) parameter(s *session, op *operation, p *param, r *proxy.Request) {
	var pairs []proxy.Param
	s.values, pairs = p.gather(s.values[:0], s.path, op, r)
	switch {
	case len(s.values) == 0 && pairs == nil:
		if p.required {
			s.refuse("parameter-missing", "this parameter is missing", p.in, p.name, violation{})
		}
		return
	case len(s.values) > 1 && (!p.isArray() || !p.explode && p.in == "query"):
		s.refuse("parameter-duplicate", "this parameter must not come twice", p.in, p.name, violation{})
		return
	case p.opaque, p.allowEmpty && len(s.values) == 1 && s.values[0] == "":
		return
	}
	s.opaque = s.opaque[:0]
	s.buf = p.appendJSON(s.buf[:0], s.values, pairs, false)
	fault, ok := s.judge(s.buf, p.node, f.max)
	if ok {
		return
	}
	// What reads as a number may have been meant as a string.
	typed := len(s.buf)
	s.buf = p.appendJSON(s.buf, s.values, pairs, true)
	if text := s.buf[typed:]; fault == nil && string(text) != string(s.buf[:typed]) {
		if fault, ok = s.judge(text, p.node, f.max); ok {
			return
		}
	}
	s.record(fault, "parameter-invalid", p.in, p.name)
}

// gather collects the parameter's values from where it is declared, or its pairs if they stand for themselves.
func (p *param) gather(values, path []string, op *operation, r *proxy.Request) ([]string, []proxy.Param) {
	switch p.in {
	case "path":
		return append(values, path[p.path]), nil
	case "query":
		return p.fromQuery(values, op, r.Query)
	case "header":
		for i := range r.Header {
			if strings.EqualFold(r.Header[i].Name, p.name) {
				values = append(values, r.Header[i].Value)
			}
		}
		if len(values) > 1 && p.isArray() {
			values = append(values[:0], strings.Join(values, ","))
		}
		return values, nil
	}
	for i := range r.Header {
		if !strings.EqualFold(r.Header[i].Name, "Cookie") {
			continue
		}
		for pair := range strings.SplitSeq(r.Header[i].Value, ";") {
			if name, value, _ := strings.Cut(strings.TrimSpace(pair), "="); name == p.name {
				values = append(values, value)
			}
		}
	}
	return values, nil
}

func (p *param) fromQuery(values []string, op *operation, query []proxy.Param) ([]string, []proxy.Param) {
	var pairs []proxy.Param
	deep, spread := p.isObject() && p.style == "deepObject", p.isObject() && p.style == "form" && p.explode
	for i := range query {
		q := query[i]
		switch {
		case deep:
			inner, ok := strings.CutPrefix(q.Name, p.name+"[")
			if inner, closed := strings.CutSuffix(inner, "]"); ok && closed {
				pairs = append(pairs, proxy.Param{Name: strings.TrimSuffix(inner, "]["), Value: q.Value})
			}
		case spread:
			if propertyOf(p.node, q.Name) != nil || op.free && !op.query[q.Name] {
				pairs = append(pairs, q)
			}
		case q.Name == p.name:
			values = append(values, q.Value)
		}
	}
	return values, pairs
}

// body checks the request's body. It returns an error only for what is not a violation of the schema.
func (f *filter) body(s *session, op *operation, r *proxy.Request) error {
	if op.body == nil {
		if b, err := r.Body.Buffer(0); err == nil && len(b) == 0 {
			return nil
		} else if err != nil && !errors.Is(err, proxy.ErrBodyTooLarge) {
			return fmt.Errorf("reading the body: %w", err)
		}
		f.unjudged(s, r, op.position)
		s.refuse("undeclared-body", "the API document declares no body here", "body", "", violation{})
		return nil
	}
	if r.Body.Length() == 0 {
		if op.body.required {
			s.refuse("body-missing", "a body is required", "body", "", violation{})
		}
		return nil
	}
	contentType := r.Header.Get("Content-Type")
	base := baseType(contentType)
	m := op.body.find(base)
	set, readable := charset(contentType)
	coded := r.Header.Get("Content-Encoding")
	switch {
	case m == nil || base == "" || r.Header.Count("Content-Type") != 1:
		f.unjudged(s, r, op.position)
		return unsupported(op, "the content type is not declared")
	case coded != "" && !strings.EqualFold(coded, "identity"):
		return unsupported(op, "a compressed body cannot be checked")
	case !readable:
		return unsupported(op, "the parameters of the content type cannot be read")
	}
	looked := isJSON(base) || base == formType || base == multipartType || base == "text/plain" && m.node != nil
	if !looked {
		return nil // streams on
	}
	if set != "" && set != "utf-8" && set != "us-ascii" {
		return unsupported(op, "the charset must be utf-8")
	}
	text, err := r.Body.Buffer(r.Body.Limit())
	switch {
	case errors.Is(err, proxy.ErrBodyTooLarge):
		return &proxy.Denial{Kind: proxy.KindTooLarge, Reasons: []event.Reason{{Code: "body-too-large", Text: "the body exceeds its limit", Position: op.position}}}
	case err != nil:
		return fmt.Errorf("reading the body: %w", err)
	case len(text) == 0:
		if op.body.required {
			s.refuse("body-missing", "a body is required", "body", "", violation{})
		}
		return nil
	}
	before := len(s.reasons)
	if f.content(s, m, base, contentType, text) && f.shapes && (f.dry || len(s.reasons) == before) {
		s.survey.look(&s.doc, m.node, true)
		s.survey.noteFields(r, base, op.position)
	}
	return nil
}

// content judges a buffered body. It reports whether a document with fields was read, which the session then holds.
func (f *filter) content(s *session, m *media, base, contentType string, text []byte) bool {
	s.opaque = s.opaque[:0]
	var parts []formPart
	switch base {
	case formType:
		pairs, err := parseForm(text, f.max.keys)
		if err != nil {
			s.refuse("form-syntax", "the form cannot be read", "body", "", violation{})
			return false
		}
		for _, p := range pairs {
			parts = append(parts, formPart{Param: p})
		}
	case multipartType:
		var err error
		if parts, err = parseMultipart(text, boundaryOf(contentType), f.max.keys); err != nil {
			s.refuse("form-syntax", "the form cannot be read", "body", "", violation{})
			return false
		}
	case "text/plain":
		s.buf = appendText(s.buf[:0], string(text))
		if fault, ok := s.judge(s.buf, m.node, f.max); !ok {
			s.record(fault, "body-invalid", "body", "")
		}
		return false
	default:
		fault, ok := s.judge(text, m.node, f.max)
		if !ok {
			s.record(fault, "body-invalid", "body", "")
		}
		return fault == nil
	}
	return f.form(s, m, parts)
}

// form judges a form, first as what its fields read as, then as strings. It reports whether it could be read.
func (f *filter) form(s *session, m *media, parts []formPart) bool {
	for _, text := range []bool{false, true} {
		var fault *fault
		s.buf, s.opaque, fault = m.appendForm(s.buf[:0], parts, text, f.max, s.opaque[:0])
		ok := false
		if fault == nil {
			fault, ok = s.judge(s.buf, m.node, f.max)
		}
		if ok {
			return true
		}
		if fault != nil || text {
			s.record(fault, "body-invalid", "body", "")
			return fault == nil
		}
	}
	return false
}

func unsupported(op *operation, text string) error {
	return &proxy.Denial{
		Kind: proxy.KindUnsupportedMedia, Detail: "Use a content type that the API document declares.",
		Reasons: []event.Reason{{Code: "unsupported-media-type", Text: text, Position: op.position}},
	}
}
