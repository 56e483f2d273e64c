package upstream

import "encoding/binary"

// tokenOctets tells which octets may stand in a token (RFC 9110, section 5.6.2). It is never written after its making.
var tokenOctets = makeOctets("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~")

func makeOctets(in string) (t [256]bool) {
	for i := range len(in) {
		t[in[i]] = true
	}
	return t
}

func isTokenOctet(c byte) bool { return tokenOctets[c] }

func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenOctet(s[i]) {
			return false
		}
	}
	return s != ""
}

// isFieldValue reports whether s holds only visible octets, obs-text, spaces and tabs (RFC 9110, section 5.5).
func isFieldValue(s string) bool {
	b := []byte(s) // not copied: it neither changes nor escapes
	for i := 0; i < len(b); {
		if i+8 <= len(b) && isVisible8(binary.LittleEndian.Uint64(b[i:])) {
			i += 8
			continue
		}
		if c := b[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
		i++
	}
	return true
}

// isVisible8 reports whether all eight octets of w are visible ASCII or spaces. An octet is something else if it is
// below 0x20 (then the subtraction borrows), is 0x7f (then the addition carries), or has its highest bit set.
func isVisible8(w uint64) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	return (w|(w-ones*' ')|(w+ones))&high == 0
}

func isHexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// isTarget reports whether s is a request target in origin form or "*" that every parser reads alike: visible
// ASCII, no fragment, and a path whose percent signs begin octets (RFC 9112, section 3.2).
func isTarget(s string) bool {
	if s == "*" {
		return true
	}
	if s == "" || s[0] != '/' {
		return false
	}
	inPath := true
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ' || c >= 0x7f || c == '#':
			return false
		case c == '?':
			inPath = false
		case c == '%' && inPath:
			if i+2 >= len(s) || !isHexDigit(s[i+1]) || !isHexDigit(s[i+2]) {
				return false
			}
		}
	}
	return true
}

// isHost reports whether s can be a Host: name or address literal, with or without port.
func isHost(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == ':', c == '[', c == ']':
		default:
			return false
		}
	}
	return s != ""
}

func trimSpace(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
