package jwt

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// number is a JSON number as it was written.
type number string

// bounds limit what a JSON text may hold.
type bounds struct {
	depth  int // nesting of objects and arrays
	values int // values altogether
}

// tokenBounds are for headers and claims.
func tokenBounds() bounds { return bounds{depth: 8, values: 1024} }

// documentBounds are for key sets and discovery documents.
func documentBounds() bounds { return bounds{depth: 16, values: 16384} }

// parseObject reads one JSON object (RFC 8259) and nothing after it. It is stricter than encoding/json, which
// keeps the last of two members of one name (RFC 7519, section 4 leaves us free to refuse) and mends bad
// UTF-8: two readers of one token must never see different claims. Values are string, number, bool, nil,
// []any and map[string]any.
func parseObject(data []byte, limit bounds) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, refuse(CodeMalformed, "the JSON is not UTF-8")
	}
	p := &parser{data: data, left: limit.values}
	p.space()
	if p.peek() != '{' {
		return nil, errJSON
	}
	v, err := p.value(limit.depth)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.at != len(p.data) {
		return nil, errJSON
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errJSON
	}
	return object, nil
}

var (
	errJSON      = refuse(CodeMalformed, "the JSON is not well-formed")
	errDeep      = refuse(CodeMalformed, "the JSON is nested too deep or holds too much")
	errDuplicate = refuse(CodeDuplicateName, "an object names a member twice")
)

// parser walks over JSON text that is valid UTF-8.
type parser struct {
	data []byte
	at   int
	left int // values that may still come
}

// peek returns the byte at hand, 0 at the end.
func (p *parser) peek() byte {
	if p.at < len(p.data) {
		return p.data[p.at]
	}
	return 0
}

// space skips white space.
func (p *parser) space() {
	for p.at < len(p.data) {
		switch p.data[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// take consumes c, after white space, and reports whether it was there.
func (p *parser) take(c byte) bool {
	p.space()
	if p.peek() != c || p.at >= len(p.data) {
		return false
	}
	p.at++
	return true
}

// value reads any value. Depth is how many objects and arrays may still be opened.
func (p *parser) value(depth int) (any, error) {
	if p.left--; p.left < 0 {
		return nil, errDeep
	}
	p.space()
	switch c := p.peek(); {
	case c == '{':
		if depth == 0 {
			return nil, errDeep
		}
		return p.object(depth - 1)
	case c == '[':
		if depth == 0 {
			return nil, errDeep
		}
		return p.array(depth - 1)
	case c == '"':
		return p.text()
	case c == '-', '0' <= c && c <= '9':
		return p.number()
	case c == 't':
		return true, p.word("true")
	case c == 'f':
		return false, p.word("false")
	case c == 'n':
		return nil, p.word("null")
	default:
		return nil, errJSON
	}
}

// word consumes a literal.
func (p *parser) word(w string) error {
	if len(p.data)-p.at < len(w) || string(p.data[p.at:p.at+len(w)]) != w {
		return errJSON
	}
	p.at += len(w)
	return nil
}

// object reads {...}.
func (p *parser) object(depth int) (any, error) {
	out := map[string]any{}
	p.at++
	if p.take('}') {
		return out, nil
	}
	for {
		p.space()
		if p.peek() != '"' {
			return nil, errJSON
		}
		name, err := p.text()
		if err != nil {
			return nil, err
		}
		if _, ok := out[name]; ok {
			return nil, errDuplicate
		}
		if !p.take(':') {
			return nil, errJSON
		}
		if out[name], err = p.value(depth); err != nil {
			return nil, err
		}
		if p.take('}') {
			return out, nil
		}
		if !p.take(',') {
			return nil, errJSON
		}
	}
}

// array reads [...].
func (p *parser) array(depth int) (any, error) {
	out := []any{}
	p.at++
	if p.take(']') {
		return out, nil
	}
	for {
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		if p.take(']') {
			return out, nil
		}
		if !p.take(',') {
			return nil, errJSON
		}
	}
}

// number reads a number by the grammar of RFC 8259, section 6, and keeps its spelling.
func (p *parser) number() (any, error) {
	start := p.at
	if p.peek() == '-' {
		p.at++
	}
	if p.peek() == '0' {
		p.at++
	} else if !p.digits() {
		return nil, errJSON
	}
	if p.peek() == '.' {
		p.at++
		if !p.digits() {
			return nil, errJSON
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.at++
		if c := p.peek(); c == '+' || c == '-' {
			p.at++
		}
		if !p.digits() {
			return nil, errJSON
		}
	}
	n := number(p.data[start:p.at])
	// Who keeps numbers as floating point must still be able to read the token.
	if _, err := strconv.ParseFloat(string(n), 64); err != nil {
		return nil, errJSON
	}
	return n, nil
}

// digits consumes one digit or more.
func (p *parser) digits() bool {
	start := p.at
	for c := p.peek(); '0' <= c && c <= '9'; c = p.peek() {
		p.at++
	}
	return p.at > start
}

// text reads a string. Control characters and lone surrogates are refused (RFC 8259, sections 7 and 8.2).
func (p *parser) text() (string, error) {
	p.at++
	start := p.at
	for p.at < len(p.data) {
		switch c := p.data[p.at]; {
		case c == '"':
			out := string(p.data[start:p.at])
			p.at++
			return out, nil
		case c == '\\':
			return p.escaped(start)
		case c < 0x20:
			return "", errJSON
		}
		p.at++
	}
	return "", errJSON
}

// escaped reads on in a string that holds a backslash; it began at start.
func (p *parser) escaped(start int) (string, error) {
	out := append([]byte(nil), p.data[start:p.at]...)
	for p.at < len(p.data) {
		c := p.data[p.at]
		p.at++
		switch {
		case c == '"':
			return string(out), nil
		case c < 0x20:
			return "", errJSON
		case c != '\\':
			out = append(out, c)
			continue
		}
		r, ok := p.escape()
		if !ok {
			return "", errJSON
		}
		out = utf8.AppendRune(out, r)
	}
	return "", errJSON
}

// escape reads what follows a backslash.
func (p *parser) escape() (rune, bool) {
	c := p.peek()
	p.at++
	switch c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'u':
	default:
		return 0, false
	}
	r, ok := p.hex()
	if !ok || !utf16.IsSurrogate(r) {
		return r, ok
	}
	if p.word(`\u`) != nil {
		return 0, false
	}
	low, ok := p.hex()
	r = utf16.DecodeRune(r, low)
	return r, ok && r != utf8.RuneError
}

// hex reads four hexadecimal digits.
func (p *parser) hex() (rune, bool) {
	if len(p.data)-p.at < 4 {
		return 0, false
	}
	v, err := strconv.ParseUint(string(p.data[p.at:p.at+4]), 16, 16)
	p.at += 4
	return rune(v), err == nil
}
