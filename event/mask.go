package event

import (
	"slices"
	"strings"
)

// Text redacts free text: private keys in PEM, user information in URLs, tokens shaped like a JWT,
// credentials after an HTTP authentication scheme, values after a redacted name (password=x, "password":
// "x", Cookie: x) and payment card numbers. It returns s itself if there is nothing to redact.
func (r *Redactor) Text(s string) string {
	return r.text(s, look(s))
}

func (r *Redactor) text(s string, seen uint8) string {
	if seen&dash != 0 {
		s = maskPEM(s)
	}
	if seen&atSign != 0 {
		s = maskUserinfo(s)
	}
	if seen&capital != 0 {
		s = maskJWT(s)
	}
	if seen&blank != 0 {
		s = maskScheme(s)
	}
	if seen&separator != 0 {
		s = r.maskNamed(s)
	}
	if seen&digit != 0 && len(s) >= minPAN {
		s = maskPAN(s)
	}
	return s
}

// splice builds a text with parts replaced.
type splice struct {
	src  string
	out  []byte
	done int
}

// cut replaces src[from:to].
func (p *splice) cut(from, to int) {
	if from < p.done {
		from = p.done
	}
	p.out = append(p.out, p.src[p.done:from]...)
	p.out = append(p.out, Redacted...)
	p.done = to
}

func (p *splice) String() string {
	if p.done == 0 {
		return p.src
	}
	return string(append(p.out, p.src[p.done:]...))
}

// maskPEM hides private keys (RFC 7468), also one that is cut short.
func maskPEM(s string) string {
	p := splice{src: s}
	for at := 0; ; {
		n := strings.Index(s[at:], "-----BEGIN ")
		if n < 0 {
			return p.String()
		}
		from := at + n
		label, _, _ := strings.Cut(s[from+len("-----BEGIN "):], "-----")
		if !strings.Contains(label, "PRIVATE KEY") && len(label) < maxName {
			at = from + 1
			continue
		}
		to := len(s)
		if n := strings.Index(s[from:], "-----END "); n >= 0 {
			to = from + n + len("-----END ")
			if m := strings.Index(s[to:], "-----"); m >= 0 {
				to += m + len("-----")
			} else {
				to = len(s)
			}
		}
		p.cut(from, to)
		at = to
	}
}

// maskUserinfo hides what stands between :// and @ in a URL (RFC 3986 section 3.2.1).
func maskUserinfo(s string) string {
	p := splice{src: s}
	for at := 0; ; {
		n := strings.Index(s[at:], "://")
		if n < 0 {
			return p.String()
		}
		from := at + n + len("://")
		end := strings.IndexAny(s[from:], "/?# \t\r\n\"'<>")
		if end < 0 {
			end = len(s) - from
		}
		if n := strings.LastIndexByte(s[from:from+end], '@'); n > 0 {
			p.cut(from, from+n)
		}
		at = from
	}
}

// minJWT is less than the shortest compact token that carries a signature.
const minJWT = 20

// maskJWT hides compact JWS and JWE (RFC 7515 section 7.1, RFC 7516 section 7.1), which begin with the
// encoding of {" and go on with dots, whatever is signed in them.
func maskJWT(s string) string {
	p := splice{src: s}
	for at := 0; ; {
		n := strings.Index(s[at:], "eyJ")
		if n < 0 {
			return p.String()
		}
		from := at + n
		to := from
		for to < len(s) && isTokenByte(s[to]) {
			to++
		}
		if to-from >= minJWT && strings.IndexByte(s[from:to], '.') > 0 {
			p.cut(from, to)
		}
		at = to
	}
}

// isTokenByte holds for base64url and the dot; '=' for encoders that pad against the rule.
func isTokenByte(c byte) bool {
	return c == '-' || c == '_' || c == '.' || c == '=' || isWordByte(c)
}

func isWordByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// maskScheme hides credentials after the name of an authentication scheme (RFC 9110 section 11.4). Words
// that people write after "bearer" are left.
func maskScheme(s string) string {
	p := splice{src: s}
	for i := 0; i < len(s); i++ {
		if traits[s[i]]&blank == 0 || i == 0 || !endsScheme(s[i-1]) {
			continue
		}
		start := i
		for start > 0 && isWordByte(s[start-1]) && i-start < len("negotiate")+1 {
			start--
		}
		if !isScheme(s[start:i]) {
			continue
		}
		from := i
		for from < len(s) && (s[from] == ' ' || s[from] == '\t') {
			from++
		}
		to := from
		for to < len(s) && (isTokenByte(s[to]) || strings.IndexByte("~+/:", s[to]) >= 0) {
			to++
		}
		if to > from && !isProse(s[from:to]) {
			p.cut(from, to)
		}
		i = max(i, to-1)
	}
	return p.String()
}

// endsScheme reports whether a scheme's name can end with c. Most words of a sentence need no second look.
func endsScheme(c byte) bool {
	switch c | 0x20 { // lower case
	case 'a', 'c', 'e', 'p', 'r', 't':
		return true
	}
	return false
}

func isScheme(s string) bool {
	switch len(s) {
	case 4:
		return strings.EqualFold(s, "dpop") || strings.EqualFold(s, "hoba")
	case 5:
		return strings.EqualFold(s, "basic")
	case 6:
		return strings.EqualFold(s, "bearer") || strings.EqualFold(s, "digest")
	case 9:
		return strings.EqualFold(s, "negotiate")
	}
	return false
}

func isProse(s string) bool {
	switch strings.TrimRight(strings.ToLower(s), ".:") {
	case "token", "tokens", "auth", "authentication", "authorization", "credential", "credentials",
		"scheme", "value", "values", "header", "realm", "is", "was", "and", "or", "of", "in", "for", "not":
		return true
	}
	return false
}

// The digits of a payment card number.
const (
	minPAN = 13
	maxPAN = 19
)

// maskPAN hides payment card numbers: 13 to 19 digits (ISO/IEC 7812), in groups parted by one space or
// hyphen or not parted, with a good Luhn digit and the first digit of a card issuer.
func maskPAN(s string) string {
	p := splice{src: s}
	for i := 0; i < len(s); {
		if !isDigit(s[i]) {
			i++
			continue
		}
		end := digitRun(s, i)
		if i > 0 && isLetter(s[i-1]) || end < len(s) && isLetter(s[end]) {
			i = max(end, i+1) // part of a word, such as a hexadecimal id
			continue
		}
		i = p.cards(i, end)
	}
	return p.String()
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool { return isWordByte(c) && !isDigit(c) || c >= 0x80 }

// digitRun returns the end of the digits from i on, single separators between them included.
func digitRun(s string, i int) int {
	for i < len(s) {
		if !isDigit(s[i]) && (s[i] != ' ' && s[i] != '-' || i+1 >= len(s) || !isDigit(s[i+1])) {
			break
		}
		i++
	}
	return i
}

// cards hides the card numbers that begin and end with a group in s[from:end], and returns where to go on.
func (p *splice) cards(from, end int) int {
	s := p.src
	for start := from; start < end; start++ {
		if start > from && isDigit(s[start-1]) || !isDigit(s[start]) {
			continue
		}
		if s[start] < '2' || s[start] > '6' {
			continue
		}
		var room [maxPAN + 1]byte
		digits := room[:0]
		for at := start; at < end && len(digits) <= maxPAN; at++ {
			if isDigit(s[at]) {
				digits = append(digits, s[at]-'0')
			}
			if groupEnds := at+1 == end || !isDigit(s[at+1]); groupEnds && len(digits) >= minPAN && len(digits) <= maxPAN && luhn(digits) {
				p.cut(start, at+1)
				start = at
				break
			}
		}
	}
	return end
}

// luhn checks the last digit (ISO/IEC 7812-1 annex B).
func luhn(digits []byte) bool {
	sum, double := 0, false
	for _, d := range slices.Backward(digits) {
		n := int(d)
		if double {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum, double = sum+n, !double
	}
	return sum%10 == 0
}
