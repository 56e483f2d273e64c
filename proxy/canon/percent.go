package canon

import "strings"

// class tells what becomes of a raw byte of the target.
type class uint8

const (
	refused class = iota // may not stand in a target
	plain                // stays as it is; unreserved ones are also decoded when they come encoded
	free                 // unreserved (RFC 3986, section 2.3)
	escape               // graphic ASCII outside the URI alphabet: percent-encoded
	percent              // "%"
)

// classes is a table of what becomes of each byte. It is never written after its making.
type classes [256]class

// makeClasses returns a table in which the bytes of plainBytes and escapeBytes are allowed beside the
// unreserved ones and "%".
func makeClasses(plainBytes, escapeBytes string) *classes {
	var t classes
	for _, c := range []byte(unreserved) {
		t[c] = free
	}
	for _, c := range []byte(plainBytes) {
		t[c] = plain
	}
	for _, c := range []byte(escapeBytes) {
		t[c] = escape
	}
	t['%'] = percent
	return &t
}

// Bytes that RFC 3986 allows in a path (section 3.3) and in a query (3.4), and those it does not allow but
// browsers send raw (WHATWG URL, percent-encode sets). Semicolon and backslash are absent from paths on purpose.
var (
	pathClasses  = makeClasses("/:@!$&'()*+,=", "\"<>[]^`{|}")
	queryClasses = makeClasses("/:@!$&'()*+,=;?", "\"<>[]^`{|}\\")
)

const unreserved = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

const upperHex = "0123456789ABCDEF"

// hexValue returns the value of a hexadecimal digit.
func hexValue(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// decodeAt returns the byte that the three characters "%XX" at s[i] stand for.
func decodeAt(s string, i int) (byte, bool) {
	if i+2 >= len(s) {
		return 0, false
	}
	hi, ok1 := hexValue(s[i+1])
	lo, ok2 := hexValue(s[i+2])
	return hi<<4 | lo, ok1 && ok2
}

// normalise gives a path or query its one percent-encoding (RFC 3986, section 6.2.2): unreserved characters
// bare, digits upper case, everything else as it came. It returns s itself when that is its form already. It
// looks at no meaning: the caller checks what the encoded bytes stand for. In a query, where people write "100%"
// and browsers send it so, a percent sign that encodes nothing becomes "%25", its one reading.
func normalise(s string, t *classes) (string, error) {
	i := 0
	for i < len(s) && (t[s[i]] == free || t[s[i]] == plain) {
		i++
	}
	if i == len(s) {
		return s, nil
	}
	var b strings.Builder
	changed := false
	start := 0 // s[start:i] is canonical and not yet written
	flush := func(end, next int, as ...byte) {
		if !changed {
			b.Grow(len(s) + 16)
			changed = true
		}
		b.WriteString(s[start:end])
		_, _ = b.Write(as)
		start = next
	}
	for ; i < len(s); i++ {
		switch c := s[i]; t[c] {
		case free, plain:
		case escape:
			flush(i, i+1, '%', upperHex[c>>4], upperHex[c&15])
		case percent:
			d, ok := decodeAt(s, i)
			switch {
			case !ok && t == queryClasses && !looksEncoded(s[i:]):
				flush(i, i+1, '%', '2', '5')
				continue
			case !ok:
				return "", refuse(CodePercent, "a percent sign is not followed by two hexadecimal digits")
			case t[d] == free:
				flush(i, i+3, d)
			case s[i+1] != upperHex[d>>4] || s[i+2] != upperHex[d&15]:
				flush(i, i+3, '%', upperHex[d>>4], upperHex[d&15])
			}
			i += 2
		case refused:
			return "", refuseByte(c)
		}
	}
	if !changed {
		return s, nil
	}
	b.WriteString(s[start:])
	return b.String(), nil
}

// refuseByte names the reason why c may not stand raw in a target.
func refuseByte(c byte) error {
	switch {
	case c == '#':
		return refuse(CodeTargetFragment, "the request target has a fragment")
	case c == '\\':
		return refuse(CodeBackslash, "the path has a backslash, which some servers take for a slash")
	case c == ';':
		return refuse(CodePathParameter, "the path has a semicolon, behind which some servers cut a segment")
	case c < ' ' || c == 0x7f:
		return refuse(CodeControl, "the request target has a control character")
	}
	return refuse(CodeTargetByte, "the request target has a space or a byte outside ASCII")
}

// decode resolves the percent-encoding of s, which normalise has returned; plus also turns "+" into a space,
// as forms write it (WHATWG URL, application/x-www-form-urlencoded). It returns s itself if nothing is encoded.
func decode(s string, plus bool) string {
	if strings.IndexByte(s, '%') < 0 && (!plus || strings.IndexByte(s, '+') < 0) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			d, _ := decodeAt(s, i)
			b = append(b, d)
			i += 2
		case c == '+' && plus:
			b = append(b, ' ')
		default:
			b = append(b, c)
		}
	}
	return string(b)
}
