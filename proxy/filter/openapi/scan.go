package openapi

import (
	"bytes"
	"math"
	"unicode/utf16"
	"unicode/utf8"
)

// kind is the sort of a JSON value.
type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
	kindOpaque // a value that schemas do not look into, such as an uploaded file
)

// token is one JSON value on the tape. An array is followed by its items, an object by its keys and values in
// turn; next is the index of the token after all of them. Offsets are into the source: of a string what
// stands between its quotes, else the whole value.
type token struct {
	start, end uint32
	next       uint32
	count      uint32 // items of an array, members of an object
	kind       kind
	escaped    bool // a string with escape sequences
}

// document is a scanned JSON text: the source and a tape of its values, in place of a tree.
type document struct {
	src  []byte
	tape []token
	keys int
	pos  int
	max  bounds
}

// bounds are what a JSON text may hold.
type bounds struct {
	depth  int // nesting of arrays and objects
	keys   int // keys of all objects together
	items  int // items of one array
	length int // bytes of one string as written
}

// fault tells why a text is refused. It never holds a part of the text.
type fault struct {
	code string
	text string
}

// The limits of a number, so that no later step meets one that a double cannot hold (RFC 7493, section 2.2).
const (
	maxNumber   = 128 // bytes
	maxExponent = 308
)

// scan checks that src is exactly one JSON text (RFC 8259) within bounds: valid UTF-8 and no lone surrogates
// (RFC 7493, section 2.1), no key twice in one object (section 2.3), no number beyond a double, nothing after
// it. It builds no values. The document keeps src, which must not change while it is in use.
func (d *document) scan(src []byte, limits bounds) *fault {
	d.src, d.tape, d.keys, d.pos, d.max = src, d.tape[:0], 0, 0, limits
	if int64(len(src)) > math.MaxUint32 {
		return d.fault("json-too-large", "the text is too large")
	}
	d.space()
	if d.pos == len(src) {
		return d.fault("json-empty", "a JSON value is expected")
	}
	if f := d.value(0); f != nil {
		return f
	}
	d.space()
	if d.pos != len(src) {
		return d.fault("json-trailing", "nothing may follow the JSON value")
	}
	return nil
}

func (*document) fault(code, text string) *fault { return &fault{code, text} }

func (d *document) syntax(expected string) *fault {
	return d.fault("json-syntax", "not JSON: expected "+expected)
}

func (d *document) space() {
	for d.pos < len(d.src) {
		switch d.src[d.pos] {
		case ' ', '\t', '\r', '\n':
			d.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, or 0 at the end: 0 stands nowhere in a JSON text outside of strings.
func (d *document) peek() byte {
	if d.pos < len(d.src) {
		return d.src[d.pos]
	}
	return 0
}

// open appends a token that close completes.
func (d *document) open(k kind) int {
	d.tape = append(d.tape, token{start: uint32(d.pos), kind: k})
	return len(d.tape) - 1
}

func (d *document) close(i int) {
	d.tape[i].end = uint32(d.pos)
	d.tape[i].next = uint32(len(d.tape))
}

func (d *document) value(depth int) *fault {
	switch c := d.peek(); c {
	case '{':
		return d.list(kindObject, '}', depth+1)
	case '[':
		return d.list(kindArray, ']', depth+1)
	case '"':
		return d.text()
	case 't':
		return d.word("true", kindBool)
	case 'f':
		return d.word("false", kindBool)
	case 'n':
		return d.word("null", kindNull)
	default:
		if c == '-' || c >= '0' && c <= '9' {
			return d.number()
		}
		return d.syntax("a value")
	}
}

func (d *document) word(w string, k kind) *fault {
	if !bytes.HasPrefix(d.src[d.pos:], []byte(w)) {
		return d.syntax("a value")
	}
	i := d.open(k)
	d.pos += len(w)
	d.close(i)
	return nil
}

// list scans an array's items or an object's members, up to end.
func (d *document) list(k kind, end byte, depth int) *fault {
	if depth > d.max.depth {
		return d.fault("json-depth", "nested too deeply")
	}
	i := d.open(k)
	d.pos++
	d.space()
	if d.peek() == end {
		d.pos++
		d.close(i)
		return nil
	}
	var names nameSet
	for {
		d.space()
		var f *fault
		if k == kindObject {
			f = d.member(i, depth, &names)
		} else {
			f = d.item(i, depth)
		}
		if f != nil {
			return f
		}
		d.space()
		switch d.peek() {
		case ',':
			d.pos++
		case end:
			d.pos++
			d.close(i)
			return nil
		default:
			return d.syntax(", or " + string(rune(end)))
		}
	}
}

// item scans one item of array i.
func (d *document) item(i, depth int) *fault {
	if int(d.tape[i].count) == d.max.items {
		return d.fault("json-items", "an array has too many items")
	}
	d.tape[i].count++
	return d.value(depth)
}

// member scans one key and its value of object i.
func (d *document) member(i, depth int, names *nameSet) *fault {
	if d.peek() != '"' {
		return d.syntax("a key")
	}
	if d.keys++; d.keys > d.max.keys {
		return d.fault("json-keys", "too many keys")
	}
	key := uint32(len(d.tape))
	if f := d.text(); f != nil {
		return f
	}
	if names.has(d, i, key) {
		return d.fault("json-duplicate-key", "a key stands twice in one object")
	}
	d.tape[i].count++
	d.space()
	if d.peek() != ':' {
		return d.syntax(":")
	}
	d.pos++
	d.space()
	return d.value(depth)
}

// text scans a string.
func (d *document) text() *fault {
	i := d.open(kindString)
	d.pos++
	start := d.pos
	for {
		if d.pos >= len(d.src) {
			return d.syntax("the end of a string")
		}
		if d.pos-start > d.max.length {
			return d.fault("json-string", "a string is too long")
		}
		c := d.src[d.pos]
		switch {
		case c == '"':
			d.pos++
			d.close(i)
			d.tape[i].start, d.tape[i].end = d.tape[i].start+1, d.tape[i].end-1
			return nil
		case c == '\\':
			d.tape[i].escaped = true
			if f := d.escape(); f != nil {
				return f
			}
		case c < ' ':
			return d.fault("json-syntax", "a control character must be escaped")
		case c < utf8.RuneSelf:
			d.pos++
		default:
			r, n := utf8.DecodeRune(d.src[d.pos:])
			if r == utf8.RuneError && n == 1 {
				return d.fault("json-utf8", "the text is not valid UTF-8")
			}
			d.pos += n
		}
	}
}

// escape scans one escape sequence, or the two of a surrogate pair.
func (d *document) escape() *fault {
	if d.pos+1 >= len(d.src) {
		return d.syntax("an escape sequence")
	}
	switch d.src[d.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		d.pos += 2
		return nil
	case 'u':
	default:
		return d.syntax("an escape sequence")
	}
	r, ok := hex4(d.src, d.pos)
	if !ok {
		return d.syntax("four hexadecimal digits")
	}
	if !utf16.IsSurrogate(r) {
		d.pos += 6
		return nil
	}
	low, ok := hex4(d.src, d.pos+6)
	if !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
		return d.fault("json-surrogate", "a surrogate stands alone")
	}
	d.pos += 12
	return nil
}

// hex4 reads \uXXXX at pos.
func hex4(src []byte, pos int) (rune, bool) {
	if pos+6 > len(src) || src[pos] != '\\' || src[pos+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range src[pos+2 : pos+6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func (d *document) digits() int {
	start := d.pos
	for d.pos < len(d.src) && d.src[d.pos] >= '0' && d.src[d.pos] <= '9' {
		d.pos++
	}
	return d.pos - start
}

// number scans -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?
func (d *document) number() *fault {
	i := d.open(kindNumber)
	start := d.pos
	if d.peek() == '-' {
		d.pos++
	}
	if d.peek() == '0' {
		d.pos++
	} else if d.digits() == 0 {
		return d.syntax("a digit")
	}
	if d.peek() == '.' {
		d.pos++
		if d.digits() == 0 {
			return d.syntax("a digit")
		}
	}
	exponent := 0
	if c := d.peek(); c == 'e' || c == 'E' {
		d.pos++
		if c := d.peek(); c == '+' || c == '-' {
			d.pos++
		}
		at := d.pos
		if d.digits() == 0 {
			return d.syntax("a digit")
		}
		for _, c := range d.src[at:min(d.pos, at+6)] {
			exponent = exponent*10 + int(c-'0')
		}
		if d.pos-at > 6 {
			exponent = math.MaxInt
		}
	}
	if d.pos-start > maxNumber || exponent > maxExponent-(d.pos-start) && exponent != 0 {
		return d.fault("json-number", "a number is beyond what a double can hold")
	}
	d.close(i)
	return nil
}
