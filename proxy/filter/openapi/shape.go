package openapi

import (
	"slices"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/ident"
	"github.com/palisade-security/palisade/proxy"
)

// The bounds of what one request's record says of its body.
const (
	maxFields     = 16       // that are named
	maxFieldDepth = 8        // steps to a field
	maxItems      = 16       // of a list that are looked at: they stand for all
	maxLooks      = 20_000   // schemas and keys that are looked at
	maxShapeBody  = 64 << 10 // bytes of a body for which no schema stands
)

// field is something in a body that the document does not declare: where, and of which type, never what.
type field struct {
	path string // names and "[]" for items, each behind a slash; "*" stands for a key that may be a value
	kind string // a JSON type
}

// survey finds in a scanned body what its schema does not declare. Names are kept that look like names (ident.Name); all other keys may
// be values, and are "*".
type survey struct {
	*document
	nodes []*node // a stack: what describes the values on the way
	path  []byte
	found []field
	looks int
}

// look surveys the whole document. Without a schema, known is false, and all of it is undeclared.
func (s *survey) look(d *document, n *node, known bool) {
	s.document, s.nodes, s.path, s.found, s.looks = d, s.nodes[:0], s.path[:0], s.found[:0], maxLooks
	if known {
		s.describe(n, 0)
	}
	s.value(0, 0, known, 0)
	clear(s.nodes[:cap(s.nodes)])
	s.document = nil
}

// describe adds a schema, and all that it is composed of, to what describes a value.
func (s *survey) describe(n *node, depth int) {
	if s.looks--; n == nil || depth > deepest || s.looks <= 0 {
		return
	}
	s.nodes = append(s.nodes, n)
	for _, list := range [...][]*node{n.allOf, n.anyOf, n.oneOf} {
		for _, sub := range list {
			s.describe(sub, depth+1)
		}
	}
	s.describe(n.then, depth+1)
	s.describe(n.otherwise, depth+1)
	for _, sub := range n.dependentSchemas {
		s.describe(sub, depth+1)
	}
}

// value looks at the value at i, which the schemas from a place of the stack on describe, if it is known.
func (s *survey) value(i uint32, from int, known bool, depth int) {
	if s.looks--; s.looks <= 0 || depth > maxFieldDepth || len(s.found) == maxFields {
		return
	}
	t := s.tape[i]
	switch t.kind {
	case kindArray:
		s.items(i, from, known, depth)
	case kindObject:
		if known && depth > 0 && !s.named(from) {
			return // free: any names may stand here
		}
		to := len(s.nodes)
		for k := i + 1; k < t.next; k = s.tape[k+1].next {
			s.member(k, from, to, known, depth)
			s.nodes = s.nodes[:to]
		}
	default:
	}
}

// named reports whether the schemas name any property.
func (s *survey) named(from int) bool {
	return slices.ContainsFunc(s.nodes[from:], func(n *node) bool { return len(n.properties) > 0 || n.additional != nil })
}

func (s *survey) items(i uint32, from int, known bool, depth int) {
	to := len(s.nodes)
	for _, n := range s.nodes[from:to] {
		s.describe(n.items, 0)
		for _, p := range n.prefix {
			s.describe(p, 0)
		}
	}
	back := len(s.path)
	s.path = append(s.path, "/[]"...)
	n := 0
	for k := i + 1; k < s.tape[i].next && n < maxItems; k, n = s.tape[k].next, n+1 {
		inner := known && len(s.nodes) > to
		if !known {
			s.add(k)
		}
		if inner || !known {
			s.value(k, to, known, depth+1)
		}
	}
	s.path, s.nodes = s.path[:back], s.nodes[:to]
}

// member looks at the key at k and its value.
func (s *survey) member(k uint32, from, to int, known bool, depth int) {
	if s.looks--; s.looks <= 0 {
		return
	}
	name := s.bytes(k)
	declared := false
	for _, n := range s.nodes[from:to] {
		declared = s.declares(n, name) || declared
	}
	back := len(s.path)
	s.path = append(s.path, '/')
	if ident.Name(name) {
		s.path = append(s.path, name...)
	} else {
		s.path = append(s.path, '*')
	}
	if !known || !declared {
		s.add(k + 1)
	}
	if !known || !declared || len(s.nodes) > to {
		s.value(k+1, to, known && declared, depth+1)
	}
	s.path = s.path[:back]
}

// declares reports whether a schema declares a property, and adds what describes its value.
func (s *survey) declares(n *node, name []byte) bool {
	sub, declared := n.properties[string(name)]
	if declared {
		s.describe(sub, 0)
	}
	for _, p := range n.patterns {
		if p.re.Match(name) {
			declared = true
			s.describe(p.node, 0)
		}
	}
	if !declared && n.additional != nil && !n.additional.never {
		declared = true
		s.describe(n.additional, 0)
	}
	return declared
}

// add notes the value at i under the path that leads there.
func (s *survey) add(i uint32) {
	f := field{string(s.path), s.typeOf(i)}
	if len(s.found) < maxFields && !slices.Contains(s.found, f) {
		s.found = append(s.found, f)
	}
}

func (s *survey) typeOf(i uint32) string {
	switch s.tape[i].kind {
	case kindBool:
		return "boolean"
	case kindNumber:
		if isWhole(s.raw(i)) {
			return "integer"
		}
		return "number"
	case kindString:
		return "string"
	case kindArray:
		return "array"
	case kindObject:
		return "object"
	case kindNull:
		return "null"
	case kindOpaque:
	}
	return "string" // a file
}

// FieldCode is the code of a reason that names fields of a body that the document does not declare: in Data the media type and, by
// JSON type, the fields with commas between them.
const FieldCode = "undeclared-field"

// noteFields writes what a survey found into the decision trail. Where any media type is declared, clients name it, so that is looked at, too.
func (s *survey) noteFields(r *proxy.Request, media, position string) {
	if len(s.found) == 0 || !ident.Media(media) {
		return
	}
	data := map[string]string{"drift": "true", "in": "body", "media": media}
	for _, f := range s.found {
		if data[f.kind] != "" {
			data[f.kind] += ","
		}
		data[f.kind] += f.path
	}
	r.Note(event.Reason{Code: FieldCode, Text: "the API document does not declare a field that was sent", Position: position, Data: data})
}

// unjudged surveys a JSON body for which no schema stands, where that refuses nobody: in dry run. It reads what is small and whole.
func (f *filter) unjudged(s *session, r *proxy.Request, position string) {
	if n := r.Body.Length(); !f.dry || n <= 0 || n > maxShapeBody {
		return
	}
	base := baseType(r.Header.Get("Content-Type"))
	if coded := r.Header.Get("Content-Encoding"); !isJSON(base) || coded != "" && !strings.EqualFold(coded, "identity") {
		return
	}
	text, err := r.Body.Buffer(maxShapeBody)
	if err != nil || s.doc.scan(text, f.max) != nil {
		return
	}
	s.survey.look(&s.doc, nil, false)
	s.survey.noteFields(r, base, position)
}
