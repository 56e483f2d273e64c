package event

import (
	"strconv"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// appendString writes s as a JSON string (RFC 8259 section 7). Bytes that are not UTF-8 become U+FFFD;
// what commands a terminal, or ends a line in JavaScript and in some log readers, is escaped.
func appendString(dst []byte, s string) []byte {
	return append(appendText(append(dst, '"'), s), '"')
}

// appendText writes s as it stands between the quotes of a JSON string.
func appendText(dst []byte, s string) []byte {
	if isPlain(s) {
		return append(dst, s...)
	}
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if traits[c]&escaped == 0 {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, c)
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			dst = append(append(dst, s[start:i]...), "\uFFFD"...) // as Parse reads it back: writing again changes no byte
			start = i + n
		case commands(r):
			dst = append(append(dst, s[start:i]...), '\\', 'u', hexDigits[r>>12&0xf], hexDigits[r>>8&0xf], hexDigits[r>>4&0xf], hexDigits[r&0xf])
			start = i + n
		}
		i += n
	}
	return append(dst, s[start:]...)
}

// isPlain reports whether s is written as it is, as nearly every text is: ASCII without controls, quotes and
// backslashes. It looks at eight bytes at a time; the last eight may have been looked at before.
func isPlain(s string) bool {
	if len(s) < 8 {
		for i := range len(s) {
			if traits[s[i]]&escaped != 0 {
				return false
			}
		}
		return true
	}
	for i := 0; i+8 < len(s); i += 8 {
		if !isPlainWord(word(s, i)) {
			return false
		}
	}
	return isPlainWord(word(s, len(s)-8))
}

// isPlainWord brings the high bit of a byte up where it is set already, where the byte is less than a space,
// and where a quote or a backslash leaves nothing to take one from. What a byte borrows from the next tells
// nothing false: it comes after one that is not plain.
func isPlainWord(w uint64) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	return (w|(w-' '*ones)|((w^'"'*ones)-ones)|((w^'\\'*ones)-ones))&highs == 0
}

// word returns eight bytes of s from i on; the compiler makes one load of it.
func word(s string, i int) uint64 {
	s = s[i : i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// commands reports whether a terminal may obey r instead of showing it: C1 controls, line and paragraph
// separators, and what turns the direction of writing. Records are read with cat and less.
func commands(r rune) bool {
	return r >= 0x80 && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}

// object writes the members of JSON objects and the elements of lists into a buffer, each with a comma
// behind it, which close takes back. Names are given as they stand in JSON, with all up to the value, the quote
// before a string included: they are literals of this package, and there are many in an event. Members with zero values are left out,
// except by the methods that say otherwise.
type object struct{ dst []byte }

func (o *object) open() { o.dst = append(o.dst, '{') }

func (o *object) close() { o.end('}') }

func (o *object) end(c byte) {
	if n := len(o.dst) - 1; o.dst[n] == ',' {
		o.dst[n] = c
	} else {
		o.dst = append(o.dst, c)
	}
	o.dst = append(o.dst, ',')
}

// nest begins a member that is an object; close ends it.
func (o *object) nest(name string) { o.dst = append(append(o.dst, name...), '{') }

// list begins a member that is a list; endList ends it.
func (o *object) list(name string) { o.dst = append(append(o.dst, name...), '[') }

func (o *object) endList() { o.end(']') }

func (o *object) str(name, v string) {
	if v != "" {
		o.must(name, v)
	}
}

// must writes a member also if it is empty.
func (o *object) must(name, v string) {
	o.dst = appendMember(o.dst, name, v)
}

// appendMember is must with the buffer at hand, and where most of the work on an event is done.
func appendMember(dst []byte, name, v string) []byte {
	return append(appendText(append(dst, name...), v), `",`...)
}

func (o *object) num(name string, v int64) {
	if v != 0 {
		o.exact(name, v)
	}
}

// exact writes a number also if it is zero.
func (o *object) exact(name string, v int64) {
	o.dst = append(strconv.AppendInt(append(o.dst, name...), v, 10), ',')
}

func (o *object) flag(name string, v bool) {
	if v {
		o.dst = append(append(o.dst, name...), "true,"...)
	}
}

// raw writes members that are JSON already.
func (o *object) raw(json string) { o.dst = append(append(o.dst, json...), ',') }
