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
// folded lines, bare LF, white space before the colon, other versions than 1.0 and 1.1.
func parseHead(text string) (head, error) {
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
	var err error
	h.fields, err = parseFields(rest)
	return h, err
}

// parseFields parses field lines (RFC 9112, section 5), each ending in CRLF.
func parseFields(text string) (field.List, error) {
	if text == "" {
		return nil, nil
	}
	n := strings.Count(text, "\n")
	if n > mostFields {
		return nil, malformed("too many fields")
	}
	list := make(field.List, 0, n)
	for text != "" {
		line, rest, _ := strings.Cut(text, "\r\n")
		text = rest
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) {
			return nil, malformed("field name")
		}
		if !isFieldValue(value) {
			return nil, malformed("field value")
		}
		list = append(list, field.Field{Name: textproto.CanonicalMIMEHeaderKey(name), Value: trimSpace(value)})
	}
	return list, nil
}
