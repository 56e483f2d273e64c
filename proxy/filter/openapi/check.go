package openapi

import (
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/palisade-security/palisade/internal/ident"
)

// violation is one way in which a value differs from its schema. It names places and expectations that stand in
// the API document, and never holds a value that was submitted: an undeclared name in a pointer that may be one is "*".
type violation struct {
	pointer  string // JSON pointer (RFC 6901)
	expected string
	keyword  string
}

// maxViolations bounds what one answer lists.
const maxViolations = 8

// step is one part of the way from the root to where the checker is.
type step struct {
	key   uint32 // index on the tape of a declared key; 0: see index
	index int    // of an array's item; negative: an undeclared key
}

// pointer writes the way as a JSON pointer, with a last part that the value lacks, if any.
func (c *checker) pointer(last string) string {
	var b strings.Builder
	add := func(name string) {
		b.WriteByte('/')
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1"))
	}
	for _, s := range c.way {
		switch {
		case s.key != 0:
			add(string(c.bytes(s.key)))
		case s.index < 0:
			add("*")
		default:
			add(strconv.Itoa(s.index))
		}
	}
	if last != "" {
		add(last)
	}
	return b.String()
}

// evaluated is what some schema has looked at in one object or array, for unevaluatedProperties and
// unevaluatedItems (JSON Schema 2020-12 core, section 11).
type evaluated struct {
	seen map[uint32]struct{} // indexes on the tape of keys and items
}

func (e *evaluated) mark(i uint32) {
	if e == nil {
		return
	}
	if e.seen == nil {
		e.seen = make(map[uint32]struct{})
	}
	e.seen[i] = struct{}{}
}

func (e *evaluated) merge(o *evaluated) {
	if e != nil {
		for i := range o.seen {
			e.mark(i)
		}
	}
}

// checker judges one document. The work it may do is bounded, since recursive alternatives can otherwise make
// it exponential in the depth of the value.
type checker struct {
	*document
	seed   maphash.Seed
	budget int
	out    []violation
	way    []step
	quiet  int  // more than 0: within an alternative, whose failure is not a violation by itself
	names  bool // undeclared properties are named, where they look like names
}

const (
	leastBudget = 100_000
	mostBudget  = 5_000_000
)

// judge checks the whole document. Exhausted means that the work had no end within its budget: then the value
// must be refused.
func (c *checker) judge(n *node) (ok, exhausted bool) {
	c.out, c.way, c.quiet = c.out[:0], c.way[:0], 0
	size := len(c.tape)
	c.budget = max(min(leastBudget+50*size, mostBudget), 4*size)
	ok = c.check(n, 0, nil)
	return ok && c.budget > 0, c.budget <= 0
}

// fail records a violation here and returns false.
func (c *checker) fail(keyword, expected string) bool { return c.failAt("", keyword, expected) }

// failAt records a violation of the property of that name, whether it is there or not.
func (c *checker) failAt(name, keyword, expected string) bool {
	if c.quiet == 0 && len(c.out) < maxViolations {
		c.out = append(c.out, violation{c.pointer(name), expected, keyword})
	}
	return false
}

// undeclared records that the property whose key is at k may not stand here. A key that does not look like a name may be a value.
func (c *checker) undeclared(k uint32, keyword string) bool {
	name := "*"
	if key := c.bytes(k); c.names && ident.Name(key) {
		name = string(key)
	}
	return c.failAt(name, keyword, "this property is not declared")
}

// below checks a value one step further down.
func (c *checker) below(n *node, i uint32, s step) bool {
	c.way = append(c.way, s)
	ok := c.check(n, i, nil)
	c.way = c.way[:len(c.way)-1]
	return ok
}

// enough reports whether looking further would change nothing.
func (c *checker) enough() bool {
	return c.quiet > 0 || len(c.out) >= maxViolations || c.budget <= 0
}

// check judges the value at i. It adds what it looked at to seen if that is wanted and the value is valid.
func (c *checker) check(n *node, i uint32, seen *evaluated) bool {
	if c.budget--; c.budget <= 0 {
		return false
	}
	t := &c.tape[i]
	if n == nil || t.kind == kindOpaque {
		return true
	}
	if n.never {
		return c.fail("false", "nothing may stand here")
	}
	if n.nullable && t.kind == kindNull {
		return true
	}
	if n.types != 0 && !c.hasType(n.types, i) {
		return c.fail("type", "expected "+n.types.String())
	}
	var own *evaluated
	if n.unevaluated != nil || n.unevaluatedItems != nil {
		own = &evaluated{}
	} else {
		own = seen
	}
	ok := c.enums(n, i)
	switch t.kind {
	case kindNumber:
		ok = c.number(n, i) && ok
	case kindString:
		ok = c.text(n, i) && ok
	case kindArray:
		ok = c.array(n, i, own) && ok
	case kindObject:
		ok = c.object(n, i, own) && ok
	case kindNull, kindBool, kindOpaque:
	}
	if !ok && c.enough() {
		return false
	}
	ok = c.combined(n, i, own) && ok
	if own != seen {
		ok = ok && c.rest(n, i, own)
		seen.merge(own)
	}
	return ok
}

func (c *checker) hasType(want types, i uint32) bool {
	switch c.tape[i].kind {
	case kindNull:
		return want&typeNull != 0
	case kindBool:
		return want&typeBool != 0
	case kindNumber:
		return want&typeNumber != 0 || want&typeInteger != 0 && isWhole(c.raw(i))
	case kindString:
		return want&typeString != 0
	case kindArray:
		return want&typeArray != 0
	case kindObject:
		return want&typeObject != 0
	case kindOpaque:
	}
	return true
}

func (c *checker) enums(n *node, i uint32) bool {
	for _, e := range n.enums {
		found := false
		if c.tape[i].kind == kindString {
			_, found = e.texts[string(c.bytes(i))]
		}
		for _, v := range e.values {
			c.budget -= len(v.tape)
			found = found || same(c.document, i, v, 0)
		}
		if !found {
			return c.fail("enum", "expected one of the declared values")
		}
	}
	return true
}

func (c *checker) number(n *node, i uint32) bool {
	ok := true
	if n.minimum != nil || n.maximum != nil || n.above != nil || n.below != nil {
		v := c.float(i)
		if n.minimum != nil && v < *n.minimum {
			ok = c.fail("minimum", "expected at least "+number(*n.minimum))
		}
		if n.maximum != nil && v > *n.maximum {
			ok = c.fail("maximum", "expected at most "+number(*n.maximum))
		}
		if n.above != nil && v <= *n.above {
			ok = c.fail("exclusiveMinimum", "expected more than "+number(*n.above))
		}
		if n.below != nil && v >= *n.below {
			ok = c.fail("exclusiveMaximum", "expected less than "+number(*n.below))
		}
	}
	if n.multiple != nil && !n.multiple.divides(c.raw(i)) {
		ok = c.fail("multipleOf", "expected a multiple of "+number(n.multiple.of))
	}
	if n.format != nil && n.format.number != nil && !n.format.number(c.raw(i)) {
		ok = c.fail("format", "expected a number of format "+n.format.name)
	}
	return ok
}

func (c *checker) text(n *node, i uint32) bool {
	if n.minLength == 0 && n.maxLength == nil && n.pattern == nil && n.format == nil {
		return true
	}
	b, ok := c.bytes(i), true
	c.budget -= len(b) / 32
	if n.minLength > 0 || n.maxLength != nil {
		length := uint64(utf8.RuneCount(b))
		if length < n.minLength {
			ok = c.fail("minLength", "expected at least "+strconv.FormatUint(n.minLength, 10)+" characters")
		}
		if n.maxLength != nil && length > *n.maxLength {
			ok = c.fail("maxLength", "expected at most "+strconv.FormatUint(*n.maxLength, 10)+" characters")
		}
	}
	if n.pattern != nil && !n.pattern.Match(b) {
		ok = c.fail("pattern", "expected a match of the pattern "+n.pattern.String())
	}
	if n.format != nil && n.format.text != nil && !n.format.text(string(b)) {
		ok = c.fail("format", "expected a string of format "+n.format.name)
	}
	return ok
}

// silently judges an alternative.
func (c *checker) silently(n *node, i uint32, seen *evaluated) bool {
	var own *evaluated
	if seen != nil {
		own = &evaluated{}
	}
	c.quiet++
	ok := c.check(n, i, own)
	c.quiet--
	if ok && seen != nil {
		seen.merge(own)
	}
	return ok
}

func (c *checker) combined(n *node, i uint32, seen *evaluated) bool {
	ok := true
	for _, sub := range n.allOf {
		ok = c.check(sub, i, seen) && ok
		if !ok && c.enough() {
			return false
		}
	}
	if n.discriminator != nil && c.tape[i].kind == kindObject {
		ok = c.discriminated(n.discriminator, i, seen) && ok
	} else {
		ok = c.alternatives(n, i, seen) && ok
	}
	if n.not != nil && c.silently(n.not, i, nil) {
		ok = c.fail("not", "expected something else")
	}
	if n.cond != nil {
		next := n.otherwise
		if c.silently(n.cond, i, seen) {
			next = n.then
		}
		ok = c.check(next, i, seen) && ok
	}
	return ok
}

func (c *checker) alternatives(n *node, i uint32, seen *evaluated) bool {
	ok := true
	if len(n.anyOf) > 0 {
		passed := false
		for _, sub := range n.anyOf {
			// The rest is only of interest to who asks what was looked at.
			if !passed || seen != nil {
				passed = c.silently(sub, i, seen) || passed
			}
		}
		if !passed {
			ok = c.fail("anyOf", "expected a match of one of the alternatives")
		}
	}
	if len(n.oneOf) > 0 {
		passed := 0
		for _, sub := range n.oneOf {
			if passed < 2 && c.silently(sub, i, seen) {
				passed++
			}
		}
		if passed != 1 {
			ok = c.fail("oneOf", "expected a match of exactly one of the alternatives")
		}
	}
	return ok
}

// discriminated judges the alternative that the object itself names.
func (c *checker) discriminated(d *discriminator, i uint32, seen *evaluated) bool {
	for k := i + 1; k < c.tape[i].next; k = c.tape[k+1].next {
		if string(c.bytes(k)) != d.property {
			continue
		}
		if c.tape[k+1].kind == kindOpaque {
			return true
		}
		if sub, known := d.choices[string(c.bytes(k+1))]; known && c.tape[k+1].kind == kindString {
			return c.check(sub, i, seen)
		}
		return c.failAt(d.property, "discriminator", "expected one of the declared kinds")
	}
	return c.fail("discriminator", "the property "+d.property+" is missing")
}

// rest judges what no other schema has looked at.
func (c *checker) rest(n *node, i uint32, seen *evaluated) bool {
	ok := true
	t := c.tape[i]
	if n.unevaluated != nil && t.kind == kindObject {
		for k := i + 1; k < t.next; k = c.tape[k+1].next {
			if _, done := seen.seen[k]; done {
				continue
			}
			seen.mark(k)
			if n.unevaluated.never {
				ok = c.undeclared(k, "unevaluatedProperties")
			} else {
				ok = c.below(n.unevaluated, k+1, step{index: -1}) && ok
			}
		}
	}
	if n.unevaluatedItems != nil && t.kind == kindArray {
		index := 0
		for k := i + 1; k < t.next; k = c.tape[k].next {
			if _, done := seen.seen[k]; !done {
				seen.mark(k)
				ok = c.below(n.unevaluatedItems, k, step{index: index}) && ok
			}
			index++
		}
	}
	return ok
}

// fewItems is the number of items up to which comparing each hash with each is cheaper than a map.
const fewItems = 64

// uniqueItems finds two items that are the same, by hash first.
func (c *checker) uniqueItems(i uint32) bool {
	t := c.tape[i]
	if t.count > fewItems {
		return c.uniqueMany(i)
	}
	var hashes [fewItems]uint64
	var at [fewItems]uint32
	n := 0
	for k := i + 1; k < t.next; k = c.tape[k].next {
		h := c.hash(c.seed, k)
		c.budget -= int(c.tape[k].next - k)
		for j, other := range hashes[:n] {
			if other == h && same(c.document, at[j], c.document, k) {
				return false
			}
		}
		hashes[n], at[n] = h, k
		n++
	}
	return true
}

func (c *checker) uniqueMany(i uint32) bool {
	t := c.tape[i]
	byHash := make(map[uint64][]uint32, t.count)
	for k := i + 1; k < t.next; k = c.tape[k].next {
		h := c.hash(c.seed, k)
		c.budget -= int(c.tape[k].next - k)
		if slices.ContainsFunc(byHash[h], func(o uint32) bool { return same(c.document, o, c.document, k) }) {
			return false
		}
		byHash[h] = append(byHash[h], k)
	}
	return true
}
