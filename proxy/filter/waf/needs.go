package waf

import (
	"math/bits"
	"regexp/syntax"
	"slices"
	"unicode"
	"unicode/utf8"
)

// needs is a condition that every text holds in which a regular expression finds something: the characters that
// no match can do without. A text that fails it need not be searched. What cannot be said in it is left out, so
// that it holds for more texts than the expression matches, never for fewer.
//
// The zero value holds for every text.
type needs struct {
	all   chars     // each of these
	oneOf []chars   // at least one out of each of these
	anyOf [][]needs // of each of these choices at least one
}

// chars is a set of characters, coarser than bytes: ASCII letters in either case are one, and so is all that is
// not ASCII.
type chars [2]uint64

// foreign is the character for all that is not ASCII. It shares its place with DEL, which does no harm.
const foreign = 0x7f

func (c *chars) add(b byte) { c[b>>6] |= 1 << (b & 63) }

func (c *chars) addAll(d chars) { c[0] |= d[0]; c[1] |= d[1] }

func (c chars) holds(d chars) bool { return c[0]&d[0] == d[0] && c[1]&d[1] == d[1] }

func (c chars) meets(d chars) bool { return c[0]&d[0]|c[1]&d[1] != 0 }

func (c chars) len() int { return bits.OnesCount64(c[0]) + bits.OnesCount64(c[1]) }

// folded maps each byte to its character. Bytes beyond ASCII are foreign whether they are UTF-8 or not, so that
// it serves expressions over bytes as well as those over runes.
var folded = func() (t [256]byte) {
	for i := range t {
		switch {
		case i >= utf8.RuneSelf:
			t[i] = foreign
		case 'A' <= i && i <= 'Z':
			t[i] = byte(i) + 'a' - 'A'
		default:
			t[i] = byte(i)
		}
	}
	return t
}()

// charsOf returns the characters of a text.
func charsOf(text string) chars {
	var c chars
	for i := range len(text) {
		c.add(folded[text[i]])
	}
	if c.holds(charSet(foreign)) {
		// Two letters have another case outside of ASCII: ſ (U+017F) and the sign for Kelvin (U+212A).
		c.addAll(charSet('s', 'k'))
	}
	return c
}

func charSet(characters ...byte) (c chars) {
	for _, b := range characters {
		c.add(b)
	}
	return c
}

// metBy reports whether a text of these characters can hold a match.
func (n *needs) metBy(have chars) bool {
	if !have.holds(n.all) {
		return false
	}
	for _, c := range n.oneOf {
		if !have.meets(c) {
			return false
		}
	}
	for _, choice := range n.anyOf {
		if !anyMetBy(choice, have) {
			return false
		}
	}
	return true
}

func anyMetBy(choice []needs, have chars) bool {
	for i := range choice {
		if choice[i].metBy(have) {
			return true
		}
	}
	return false
}

// none reports whether every text meets n.
func (n *needs) none() bool { return n.all == chars{} && len(n.oneOf) == 0 && len(n.anyOf) == 0 }

// needsOf returns what the matches of a regular expression in the syntax of Go need. An expression that does not
// parse needs nothing.
func needsOf(expression string) needs {
	var n needs
	if e, err := syntax.Parse(expression, syntax.Perl); err == nil {
		n.require(e)
	}
	slices.SortFunc(n.oneOf, func(a, b chars) int { return a.len() - b.len() })
	return n
}

// require adds what every match of e holds.
func (n *needs) require(e *syntax.Regexp) {
	switch e.Op {
	case syntax.OpLiteral:
		for _, r := range e.Rune {
			n.requireOneOf(literal(r, e.Flags&syntax.FoldCase != 0))
		}
	case syntax.OpCharClass:
		n.requireOneOf(class(e.Rune))
	case syntax.OpCapture, syntax.OpPlus, syntax.OpConcat:
		for _, sub := range e.Sub {
			n.require(sub)
		}
	case syntax.OpRepeat:
		if e.Min > 0 {
			n.require(e.Sub[0])
		}
	case syntax.OpAlternate:
		n.requireAnyOf(e.Sub)
	default: // what may be empty, and what any character matches
	}
}

func (n *needs) requireOneOf(c chars) {
	if c.len() == 1 {
		n.all.addAll(c)
	} else if !slices.Contains(n.oneOf, c) {
		n.oneOf = append(n.oneOf, c)
	}
}

// requireAnyOf adds nothing if one of the branches needs nothing.
func (n *needs) requireAnyOf(branches []*syntax.Regexp) {
	choice := make([]needs, len(branches))
	for i, e := range branches {
		choice[i].require(e)
		if choice[i].none() {
			return
		}
	}
	n.anyOf = append(n.anyOf, choice)
}

// literal returns the characters one of which stands for r.
func literal(r rune, anyCase bool) chars {
	var c chars
	c.add(character(r))
	if anyCase {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			c.add(character(f))
		}
	}
	return c
}

func character(r rune) byte {
	if r < 0 || r >= utf8.RuneSelf {
		return foreign
	}
	return folded[byte(r)]
}

// class returns the characters of a class, which is pairs of a first and a last rune.
func class(pairs []rune) chars {
	var c chars
	for i := 0; i+1 < len(pairs); i += 2 {
		for r := pairs[i]; r <= min(pairs[i+1], unicode.MaxASCII); r++ {
			c.add(character(r))
		}
		if pairs[i+1] > unicode.MaxASCII {
			c.add(foreign)
		}
	}
	return c
}
