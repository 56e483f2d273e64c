package openapi

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// raw returns a value as written, a string without its quotes.
func (d *document) raw(i uint32) []byte { return d.src[d.tape[i].start:d.tape[i].end] }

// bytes returns a string's characters. The result is a part of the source unless the string has escapes.
func (d *document) bytes(i uint32) []byte {
	b := d.raw(i)
	if !d.tape[i].escaped {
		return b
	}
	out := make([]byte, 0, len(b))
	for p := 0; p < len(b); {
		if b[p] != '\\' {
			out = append(out, b[p])
			p++
			continue
		}
		r, n := unescape(b, p)
		out = utf8.AppendRune(out, r)
		p += n
	}
	return out
}

// unescape reads the escape sequence at p of a scanned string.
func unescape(b []byte, p int) (r rune, n int) {
	switch c := b[p+1]; c {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r, _ = hex4(b, p)
		if utf16.IsSurrogate(r) {
			low, _ := hex4(b, p+6)
			return utf16.DecodeRune(r, low), 12
		}
		return r, 6
	default:
		return rune(c), 2
	}
}

// sameText reports whether two strings, of the same document or not, have the same characters.
func sameText(a *document, i uint32, b *document, j uint32) bool {
	if !a.tape[i].escaped && !b.tape[j].escaped {
		return bytes.Equal(a.raw(i), b.raw(j))
	}
	return bytes.Equal(a.bytes(i), b.bytes(j))
}

// float returns a number's value; scan made sure that there is one.
func (d *document) float(i uint32) float64 {
	v, _ := strconv.ParseFloat(string(d.raw(i)), 64)
	return v
}

// same reports whether two values are equal as JSON Schema has it (2020-12 core, section 4.2.2).
func same(a *document, i uint32, b *document, j uint32) bool {
	x, y := a.tape[i], b.tape[j]
	if x.kind != y.kind {
		return false
	}
	switch x.kind {
	case kindNull:
		return true
	case kindBool:
		return x.end-x.start == y.end-y.start
	case kindNumber:
		return bytes.Equal(a.raw(i), b.raw(j)) || sameNumber(a.raw(i), b.raw(j))
	case kindString:
		return sameText(a, i, b, j)
	case kindArray:
		if x.count != y.count {
			return false
		}
		for i, j = i+1, j+1; i < x.next; i, j = a.tape[i].next, b.tape[j].next {
			if !same(a, i, b, j) {
				return false
			}
		}
		return true
	case kindObject:
		return x.count == y.count && sameMembers(a, i, b, j)
	case kindOpaque:
	}
	return false
}

func sameMembers(a *document, i uint32, b *document, j uint32) bool {
	for k := i + 1; k < a.tape[i].next; k = a.tape[k+1].next {
		found := false
		for l := j + 1; l < b.tape[j].next && !found; l = b.tape[l+1].next {
			found = sameText(a, k, b, l) && same(a, k+1, b, l+1)
		}
		if !found {
			return false
		}
	}
	return true
}

// sameNumber compares integers exactly and others as doubles.
func sameNumber(a, b []byte) bool {
	x, errX := strconv.ParseInt(string(a), 10, 64)
	y, errY := strconv.ParseInt(string(b), 10, 64)
	if errX == nil && errY == nil {
		return x == y
	}
	f, _ := strconv.ParseFloat(string(a), 64)
	g, _ := strconv.ParseFloat(string(b), 64)
	return f == g
}

// hash returns a number that is equal for values that are the same, whatever the order of keys.
func (d *document) hash(seed maphash.Seed, i uint32) uint64 {
	t := d.tape[i]
	switch t.kind {
	case kindNumber:
		return maphash.Comparable(seed, d.float(i)+0) // -0 is 0
	case kindString:
		return maphash.Bytes(seed, d.bytes(i)) + 1
	case kindArray:
		sum := uint64(t.count) + 2
		for j := i + 1; j < t.next; j = d.tape[j].next {
			sum = maphash.Comparable(seed, [2]uint64{sum, d.hash(seed, j)}) // seeded throughout: nobody can aim at collisions
		}
		return sum
	case kindObject:
		sum := uint64(t.count) + 3
		for j := i + 1; j < t.next; j = d.tape[j+1].next {
			var pair [16]byte
			binary.LittleEndian.PutUint64(pair[:8], d.hash(seed, j))
			binary.LittleEndian.PutUint64(pair[8:], d.hash(seed, j+1))
			sum += maphash.Bytes(seed, pair[:])
		}
		return sum
	case kindNull, kindBool, kindOpaque:
	}
	return uint64(t.kind)<<8 + uint64(t.end-t.start)
}

// few is the number of keys up to which comparing each with each is cheaper than a map.
const few = 12

// nameSet finds a key that stands twice in one object.
type nameSet struct {
	n    int
	many map[string]struct{}
}

// has reports whether the key at index key stands in object i before, and remembers it.
func (s *nameSet) has(d *document, i int, key uint32) bool {
	s.n++
	if s.n <= few {
		for k := uint32(i) + 1; k < key; k = d.tape[k+1].next {
			if sameText(d, k, d, key) {
				return true
			}
		}
		return false
	}
	if s.many == nil {
		s.many = make(map[string]struct{}, 4*few)
		for k := uint32(i) + 1; k < key; k = d.tape[k+1].next {
			s.many[string(d.bytes(k))] = struct{}{}
		}
	}
	name := d.bytes(key)
	if _, ok := s.many[string(name)]; ok {
		return true
	}
	s.many[string(name)] = struct{}{}
	return false
}
