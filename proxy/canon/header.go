package canon

import (
	"encoding/binary"
	"net/textproto"
	"strings"

	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/field"
)

// cleanHeader checks every field line of in and gives out those that may be forwarded.
func cleanHeader(in *Input, out *Output, limits Limits) error {
	out.Header = out.Header[:0]
	if len(in.Header) > limits.Headers {
		return headerTooLarge(CodeTooManyHeaders, "the request has more header fields than the limit")
	}
	if cap(out.Header) < len(in.Header) {
		out.Header = make(field.List, 0, len(in.Header)+8) // room for what is added on the way
	}
	hop, err := parseConnection(in)
	if err != nil {
		return err
	}
	size := 0
	for i := range in.Header {
		f := in.Header[i]
		if size += len(f.Name) + len(f.Value) + 4; size > limits.HeaderBytes {
			return headerTooLarge(CodeHeaderTooLarge, "the request's header is larger than the limit")
		}
		f.Value = trimOWS(f.Value)
		if f.Name, err = checkName(in.Header, i); err != nil {
			return err
		}
		k := kindOf(f.Name)
		if in.Inside && f.Name == transactionToken {
			k = strict
		}
		if err := checkValue(f, k == strict); err != nil {
			return err
		}
		if f.Name == "Cookie" {
			if err := checkCookie(f.Value); err != nil {
				return err
			}
		}
		if (k == strict || k == singleton) && seenBefore(in.Header, i) {
			if f.Name == "Cookie" && in.h2() {
				joinCookie(out.Header, f.Value)
				continue
			}
			return refuseField(CodeHeaderDuplicate, f.Name, "appears more than once")
		}
		if err := keep(in, out, f, k, hop); err != nil {
			return err
		}
	}
	out.Upgrade, err = upgrade(in, hop)
	return err
}

// transactionToken is the field of draft-ietf-oauth-transaction-tokens. Read by a service, it names the end user.
const transactionToken = "Txn-Token"

func headerTooLarge(code, text string) error {
	return &Refusal{Code: code, Text: text, Kind: proxy.KindHeaderTooLarge}
}

// keep adds f to out unless it ends here.
func keep(in *Input, out *Output, f field.Field, k kind, hop connection) error {
	switch {
	case f.Name == "Host":
		host, port, err := Host(f.Value)
		if err != nil {
			return err
		}
		if host != out.Host || port != out.Port {
			return refuse(CodeHostConflict, "the Host header differs from the authority")
		}
	case f.Name == "Expect":
		if !strings.EqualFold(f.Value, "100-continue") {
			return refuse(CodeExpect, "the expectation is not 100-continue")
		}
		out.ExpectContinue = in.hasContent()
	case f.Name == "Te":
		if !out.Header.Has("Te") && hasListToken(f.Value, "trailers") {
			out.Header.Add("Te", "trailers")
		}
	case f.Name == "Connection":
		out.Hop = append(out.Hop, f)
	case k == hopByHop, hop.names(f.Name):
	case k == claim:
		out.Dropped = append(out.Dropped, f.Name)
	default:
		out.Header = append(out.Header, f)
	}
	return nil
}

// checkName returns the canonical form of the name of header[i]. It refuses names that are no tokens
// (RFC 9110, section 5.1), and names that CGI-like back ends, to which "_", "." and "-" are one, would take for
// a field that means something or for another field of this request.
func checkName(header field.List, i int) (string, error) {
	name := header[i].Name
	if name == "" {
		return "", refuse(CodeHeaderName, "a header field has no name")
	}
	odd, canonical, upper := false, true, true // upper: the next letter is to be upper case
	for j := range len(name) {
		c := name[j]
		switch {
		case c >= 'a' && c <= 'z':
			canonical = canonical && !upper
		case c >= 'A' && c <= 'Z':
			canonical = canonical && upper
		case c == '-' || c >= '0' && c <= '9':
		case isTokenByte(c):
			odd = true
		default:
			return "", refuse(CodeHeaderName, "a header field's name is not a token")
		}
		upper = c == '-'
	}
	if !canonical {
		name = textproto.CanonicalMIMEHeaderKey(name)
	}
	if !odd {
		return name, nil
	}
	folded := foldName(name)
	if kindOf(folded) != ordinary {
		return "", refuseField(CodeHeaderShadow, name, "may be taken for "+short(folded))
	}
	for j := range header {
		if j != i && !strings.EqualFold(header[j].Name, name) && foldName(header[j].Name) == folded {
			return "", refuseField(CodeHeaderShadow, name, "may be taken for another header field of the request")
		}
	}
	return name, nil
}

// foldName returns the canonical name that differs from name at most in what stands where "-" may stand.
func foldName(name string) string {
	b := []byte(name)
	for i, c := range b {
		if !isAlphanumeric(c) {
			b[i] = '-'
		}
	}
	return textproto.CanonicalMIMEHeaderKey(string(b))
}

// checkValue refuses control characters but tabs (RFC 9110, section 5.5), and in strict fields whatever is
// not ASCII.
func checkValue(f field.Field, ascii bool) error {
	v := []byte(f.Value) // not copied: it neither changes nor escapes
	for i := 0; i < len(v); {
		if i+8 <= len(v) && isVisible8(binary.LittleEndian.Uint64(v[i:])) {
			i += 8
			continue
		}
		switch c := v[i]; {
		case c < ' ' && c != '\t' || c == 0x7f:
			return refuseField(CodeHeaderValue, f.Name, "has a control character")
		case c >= 0x80 && ascii:
			return refuseField(CodeHeaderValue, f.Name, "has a byte outside ASCII")
		}
		i++
	}
	return nil
}

// isVisible8 reports whether all eight bytes of w are visible ASCII or spaces. A byte is something else if it is
// below 0x20 (then the subtraction borrows), is 0x7f (then the addition carries), or has its highest bit set.
func isVisible8(w uint64) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	return (w|(w-ones*' ')|(w+ones))&high == 0
}

// seenBefore reports whether a line before header[i] has the same name.
func seenBefore(header field.List, i int) bool { return count(header[:i], header[i].Name) > 0 }

// count is header.Count for names, which most often differ in length already.
func count(header field.List, name string) int {
	n := 0
	for i := range header {
		if len(header[i].Name) == len(name) && strings.EqualFold(header[i].Name, name) {
			n++
		}
	}
	return n
}

// joinCookie appends a cookie to the Cookie field that h is known to have: HTTP/2 lets a client split it
// (RFC 9113, section 8.2.3).
func joinCookie(h field.List, value string) {
	for i := range h {
		if h[i].Name == "Cookie" {
			h[i].Value += "; " + value
			return
		}
	}
}

func trimOWS(s string) string {
	if s == "" || !isOWS(s[0]) && !isOWS(s[len(s)-1]) {
		return s
	}
	return strings.Trim(s, " \t")
}

func isOWS(c byte) bool { return c == ' ' || c == '\t' }

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isTokenByte(c byte) bool {
	return isAlphanumeric(c) || c < 0x80 && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// hasListToken reports whether the comma-separated list has the token, whose case does not matter. Parameters
// behind a semicolon are ignored.
func hasListToken(list, token string) bool {
	for item := range strings.SplitSeq(list, ",") {
		item, _, _ = strings.Cut(item, ";")
		if strings.EqualFold(trimOWS(item), token) {
			return true
		}
	}
	return false
}
