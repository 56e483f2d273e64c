package openapi

import (
	"strings"
	"unicode/utf8"

	"github.com/palisade-security/palisade/proxy"
)

// param is a declared parameter. Its text is rewritten as JSON by what its schema wants, and judged like a body.
type param struct {
	name       string
	in         string // path, query, header, cookie
	required   bool
	allowEmpty bool
	json       bool // declared by content: the value is a JSON text
	opaque     bool // declared by content of another media type: only its presence is checked
	style      string
	explode    bool
	node       *node
	wants      types
	path       int // index of a path parameter's value
}

// isArray and isObject tell how the value is serialised; a schema that permits several shapes is read as a
// scalar if it permits one.
func (p *param) isArray() bool { return p.wants&scalars == 0 && p.wants&typeArray != 0 }

func (p *param) isObject() bool { return p.wants&(scalars|typeArray) == 0 && p.wants&typeObject != 0 }

const (
	scalars = typeBool | typeInteger | typeNumber | typeString
	deepest = 16 // how far composed schemas are searched for what they want
)

// wanted returns the types a schema may accept; 0: any.
func wanted(n *node, depth int) types {
	switch {
	case n == nil || depth > deepest:
		return 0
	case n.types != 0:
		return n.types
	}
	for _, sub := range n.allOf {
		if t := wanted(sub, depth+1); t != 0 {
			return t
		}
	}
	var union types
	for _, list := range [][]*node{n.anyOf, n.oneOf} {
		for _, sub := range list {
			union |= wanted(sub, depth+1)
		}
	}
	if union == 0 && len(n.properties) > 0 {
		return typeObject
	}
	return union
}

// child returns the first schema that find yields among n and what it is composed of.
func child(n *node, depth int, find func(*node) *node) *node {
	if n == nil || depth > deepest {
		return nil
	}
	if sub := find(n); sub != nil {
		return sub
	}
	for _, list := range [][]*node{n.allOf, n.anyOf, n.oneOf} {
		for _, sub := range list {
			if found := child(sub, depth+1, find); found != nil {
				return found
			}
		}
	}
	return nil
}

func itemsOf(n *node) *node { return child(n, 0, func(n *node) *node { return n.items }) }

func propertyOf(n *node, name string) *node {
	if p := child(n, 0, func(n *node) *node { return n.properties[name] }); p != nil {
		return p
	}
	return child(n, 0, func(n *node) *node { return n.additional })
}

// appendText writes s as a JSON string. Invalid UTF-8 is left for the scan to refuse.
func appendText(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// appendScalar writes s as the JSON value that the schema wants: a number, true, false or null if it reads as
// one and one is wanted, else a string. With text it is a string wherever one is wanted.
func appendScalar(dst []byte, s string, wants types, text bool) []byte {
	switch {
	case text && wants&typeString != 0:
	case wants&(typeNumber|typeInteger) != 0 && isNumber(s),
		wants&typeBool != 0 && (s == "true" || s == "false"),
		wants&typeNull != 0 && s == "null":
		return append(dst, s...)
	}
	return appendText(dst, s)
}

// isNumber reports whether s is a JSON number (RFC 8259, section 6).
func isNumber(s string) bool {
	if s == "" || s[0] != '-' && (s[0] < '0' || s[0] > '9') || len(s) > maxNumber {
		return false
	}
	d := document{src: []byte(s)}
	return d.number() == nil && d.pos == len(s)
}

// appendList writes an array.
func appendList(dst []byte, list []string, wants types, text bool) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendScalar(dst, s, wants, text)
	}
	return append(dst, ']')
}

// appendPairs writes an object; a name that comes again and whose schema wants an array becomes one.
func appendPairs(dst []byte, n *node, pairs []proxy.Param, text bool) []byte {
	dst = append(dst, '{')
	first := true
	for i, pair := range pairs {
		sub := propertyOf(n, pair.Name)
		wants := wanted(sub, 0)
		list := wants&scalars == 0 && wants&typeArray != 0
		if list && seenBefore(pairs[:i], pair.Name) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendText(dst, pair.Name), ':')
		if list {
			dst = appendList(dst, valuesOf(pairs, pair.Name), wanted(itemsOf(sub), 0), text)
		} else {
			dst = appendScalar(dst, pair.Value, wants, text)
		}
	}
	return append(dst, '}')
}

func seenBefore(pairs []proxy.Param, name string) bool {
	for i := range pairs {
		if pairs[i].Name == name {
			return true
		}
	}
	return false
}

func valuesOf(pairs []proxy.Param, name string) []string {
	var out []string
	for i := range pairs {
		if pairs[i].Name == name {
			out = append(out, pairs[i].Value)
		}
	}
	return out
}

// appendJSON writes the parameter's values as JSON.
func (p *param) appendJSON(dst []byte, values []string, pairs []proxy.Param, text bool) []byte {
	switch {
	case p.json:
		return append(dst, values[0]...)
	case p.isArray():
		return appendList(dst, p.split(values), wanted(itemsOf(p.node), 0), text)
	case p.isObject():
		if pairs == nil {
			pairs = p.pairs(values[0])
		}
		return appendPairs(dst, p.node, pairs, text)
	}
	return appendScalar(dst, p.undress(values[0]), p.wants, text)
}

// undress takes the punctuation of the matrix and label styles away.
func (p *param) undress(s string) string {
	switch p.style {
	case "matrix":
		return strings.TrimPrefix(s, ";"+p.name+"=")
	case "label":
		return strings.TrimPrefix(s, ".")
	}
	return s
}

// split takes a serialised array apart (OpenAPI 3.0.3, section 4.7.12.3).
func (p *param) split(values []string) []string {
	if len(values) != 1 {
		return values
	}
	s, separator := p.undress(values[0]), ","
	switch {
	case p.in == "query" && p.explode, p.in == "cookie" && p.explode:
		return values
	case p.style == "spaceDelimited":
		separator = " "
	case p.style == "pipeDelimited":
		separator = "|"
	case p.style == "label" && p.explode:
		separator = "."
	case p.style == "matrix" && p.explode:
		separator = ";" + p.name + "="
	}
	if s == "" {
		return nil
	}
	return strings.Split(s, separator)
}

// pairs takes a serialised object apart.
func (p *param) pairs(s string) []proxy.Param {
	s, separator := p.undress(s), ","
	switch {
	case p.style == "label" && p.explode:
		separator = "."
	case p.style == "matrix" && p.explode:
		s, separator = strings.TrimPrefix(s, ";"), ";"
	}
	var out []proxy.Param
	fields := strings.Split(s, separator)
	if p.explode {
		for _, f := range fields {
			name, value, _ := strings.Cut(f, "=")
			out = append(out, proxy.Param{Name: name, Value: value})
		}
		return out
	}
	for i := 0; i < len(fields); i += 2 {
		pair := proxy.Param{Name: fields[i]}
		if i+1 < len(fields) {
			pair.Value = fields[i+1]
		}
		out = append(out, pair)
	}
	return out
}

// printable returns a name from outside as one may record it: short, valid and without control characters.
func printable(s string) string {
	const longest = 64
	if len(s) > longest {
		s = s[:longest]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}
