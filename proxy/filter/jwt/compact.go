package jwt

import (
	"encoding/base64"
	"strings"
)

// compact is a JWS in compact serialisation (RFC 7515, section 7.1), split but not decoded.
type compact struct {
	header, payload, signature string
	signed                     string // header "." payload, as signed
}

// split cuts a token into its three parts. Every byte is checked here, because Go's base64 decoder skips line
// breaks and because one token must have one spelling.
func split(token string) (compact, error) {
	var dots [2]int
	n := 0
	for i := range len(token) {
		c := token[i]
		switch {
		case c == '.':
			if n < len(dots) {
				dots[n] = i
			}
			n++
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return compact{}, refuse(CodeMalformed, "the token holds a character that base64url does not have")
		}
	}
	switch {
	case n == 4:
		return compact{}, refuse(CodeEncrypted, "the token is encrypted (JWE)")
	case n != 2:
		return compact{}, refuse(CodeMalformed, "the token does not have three parts")
	}
	c := compact{
		header: token[:dots[0]], payload: token[dots[0]+1 : dots[1]], signature: token[dots[1]+1:],
		signed: token[:dots[1]],
	}
	if c.header == "" || c.payload == "" {
		return compact{}, refuse(CodeMalformed, "a part of the token is empty")
	}
	return c, nil
}

// decodeSegment decodes strict base64url without padding (RFC 7515, section 2): bits past the end must be zero.
func decodeSegment(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, refuse(CodeMalformed, "a part of the token is not base64url")
	}
	return b, nil
}

// head is what the header of a token says that matters.
type head struct{ alg, typ, kid string }

// maxKeyID bounds "kid" in bytes.
const maxKeyID = 256

// parseHead reads a token's header. Members that name or carry a key (RFC 7515, 4.1.2 to 4.1.6), critical
// extensions and unencoded payloads (RFC 7797) are refused, never followed. Thumbprints are ignored.
func parseHead(segment string) (head, error) {
	raw, err := decodeSegment(segment)
	if err != nil {
		return head{}, err
	}
	members, err := parseObject(raw, tokenBounds())
	if err != nil {
		return head{}, err
	}
	for _, name := range []string{"crit", "b64"} {
		if _, ok := members[name]; ok {
			return head{}, refuse(CodeCritical, "the header asks for an extension: "+name)
		}
	}
	for _, name := range []string{"jku", "jwk", "x5u", "x5c"} {
		if _, ok := members[name]; ok {
			return head{}, refuse(CodeEmbeddedKey, "the header brings its own key: "+name)
		}
	}
	for _, name := range []string{"enc", "zip"} {
		if _, ok := members[name]; ok {
			return head{}, refuse(CodeEncrypted, "the header has a member of encrypted tokens: "+name)
		}
	}
	if _, ok := members["cty"]; ok {
		return head{}, refuse(CodeType, "the header announces nested content")
	}
	h := head{}
	for _, m := range []struct {
		name string
		to   *string
	}{{"alg", &h.alg}, {"typ", &h.typ}, {"kid", &h.kid}} {
		v, present := members[m.name]
		if !present {
			continue
		}
		text, ok := v.(string)
		if !ok {
			return head{}, refuse(CodeMalformed, "a member of the header is not a string: "+m.name)
		}
		*m.to = text
	}
	if len(h.kid) > maxKeyID {
		return head{}, refuse(CodeUnknownKey, "the key id is longer than 256 bytes")
	}
	return h, nil
}

// mediaType brings a "typ" to one spelling: lower case, without "application/" (RFC 7515, section 4.1.9).
func mediaType(typ string) string {
	typ = strings.ToLower(typ)
	if short, ok := strings.CutPrefix(typ, "application/"); ok && !strings.Contains(short, "/") {
		return short
	}
	return typ
}
