// Package ident tells what names one thing among many (a number, a UUID, a hash, an address) from what people call a kind of things
// (orders, max_cents). It judges by form alone, for summaries that must hold names and never values; it is no check of
// input.
package ident

import "strings"

// maxName is how long a name may be, in bytes.
const maxName = 64

// Name reports whether s may stand in a summary: it is made as names of fields, parameters and places are, and does not look like the
// identifier of one thing.
func Name[T string | []byte](s T) bool {
	if len(s) == 0 || len(s) > maxName || !letter(s[0]) && s[0] != '_' && s[0] != '$' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !letter(c) && !digit(c) && strings.IndexByte("_-.$", c) < 0 {
			return false
		}
	}
	return !One(s)
}

// Media reports whether a media type (type/subtype, in lower case) may stand in a summary: its parts are names.
func Media(s string) bool {
	kind, sub, ok := strings.Cut(s, "/")
	if !ok || len(s) > maxName || !Name(kind) {
		return false
	}
	for part := range strings.SplitSeq(sub, "+") { // RFC 6838, section 4.2.8
		if !Name(part) {
			return false
		}
	}
	return true
}

// The forms of identifiers.
const (
	manyDigits = 4  // that follow each other: a name has fewer
	leastHex   = 8  // of a hash or a number in hexadecimal
	leastToken = 16 // of something random
)

// One reports whether s looks like the identifier of one thing: a number, a UUID (RFC 9562), a hash, a ULID, a token, a date, an
// address of mail, or anything with characters that no name of a path has.
func One[T string | []byte](s T) bool {
	if len(s) == 0 {
		return false
	}
	run, longest, digits, uppers, lowers, hexes, dashes := 0, 0, 0, 0, 0, 0, 0
	for i := range len(s) {
		c := s[i]
		run++
		switch {
		case digit(c):
			digits++
			hexes++
			longest = max(longest, run)
			continue
		case c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F':
			hexes++
		case c == '-':
			dashes++
		case !letter(c) && strings.IndexByte("_.~$", c) < 0:
			return true
		}
		run = 0
		if c >= 'A' && c <= 'Z' {
			uppers++
		} else if letter(c) {
			lowers++
		}
	}
	switch {
	case digits == 0:
		return len(s) > maxName
	case digits == len(s), longest >= manyDigits, len(s) > maxName:
		return true
	case hexes+dashes == len(s) && hexes >= leastHex:
		return true
	case len(s) >= leastToken && (digits >= 2 && uppers > 0 && lowers > 0 || digits >= 3 && (uppers+digits == len(s) || lowers+digits == len(s))):
		return true
	}
	return s[0] >= '0' && s[0] <= '9' && digits >= 2 // 2026-11, 12a, 10x20
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func digit(c byte) bool { return c >= '0' && c <= '9' }
