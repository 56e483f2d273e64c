package upstream

import (
	"net/textproto"
	"strings"

	"github.com/palisade-security/palisade/proxy/field"
)

// mostFields is how many field lines a head or trailer may have.
const mostFields = 256

// head is an answer's status line and fields, as sent.
type head struct {
	status int
	minor  int // of HTTP/1
	fields field.List
}

// parseHead parses the lines of a head (RFC 9112, sections 4 and 5). It refuses what net/http would mend:
// folded lines, bare LF, white space before the colon, other versions than 1.0 and 1.1. The fields of a final
// answer lie in room if they find place there.
func parseHead(text string, room field.List) (head, error) {
	line, rest, ok := strings.Cut(text, "\r\n")
	if !ok {
		return head{}, malformed("no status line")
	}
	var h head
	version, ok := strings.CutPrefix(line, "HTTP/1.")
	if !ok || len(version) < len("1 200") || version[0] != '0' && version[0] != '1' || version[1] != ' ' {
		return head{}, malformed("version")
	}
	h.minor = int(version[0] - '0')
	status, reason := version[2:5], version[5:]
	for i := range len(status) {
		if status[i] < '0' || status[i] > '9' {
			return head{}, malformed("status")
		}
		h.status = 10*h.status + int(status[i]-'0')
	}
	if h.status < 100 || reason != "" && reason[0] != ' ' || !isFieldValue(reason) {
		return head{}, malformed("status")
	}
	if h.status < 200 {
		room = nil // whoever is told of it may keep it
	}
	var err error
	h.fields, err = parseFields(rest, room)
	return h, err
}

// parseFields parses field lines (RFC 9112, section 5), each ending in CRLF. They lie in room if they find place
// there.
func parseFields(text string, room field.List) (field.List, error) {
	if text == "" {
		return nil, nil
	}
	n := strings.Count(text, "\n")
	if n > mostFields {
		return nil, malformed("too many fields")
	}
	list := room[:0]
	if cap(list) < n {
		list = make(field.List, 0, n)
	}
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		text = rest
		line, ended := strings.CutSuffix(line, "\r")
		name, value, ok := strings.Cut(line, ":")
		if ok {
			name, ok = fieldName(name)
		}
		if !ok {
			return nil, malformed("field name")
		}
		if !ended || !isFieldValue(value) {
			return nil, malformed("field value")
		}
		list = append(list, field.Field{Name: name, Value: trimSpace(value)})
	}
	return list, nil
}

// fieldName returns the canonical form of a field's name, or false if it is no token.
func fieldName(s string) (string, bool) {
	canonical, upper := true, true // upper: the next letter is to be upper case
	for i := range len(s) {
		c := s[i]
		if !isTokenOctet(c) {
			return "", false
		}
		if upper {
			canonical = canonical && (c < 'a' || c > 'z')
		} else {
			canonical = canonical && (c < 'A' || c > 'Z')
		}
		upper = c == '-'
	}
	if !canonical {
		s = textproto.CanonicalMIMEHeaderKey(s)
	}
	return s, s != ""
}
