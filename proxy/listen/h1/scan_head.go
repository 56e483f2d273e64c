package h1

import (
	"bytes"
	"encoding/binary"
	"net/url"
	"strings"

	"github.com/palisade-security/palisade/proxy/canon"
)

// head is what the lines of a request's head said so far: where its parts stand, about framing, and who is asked.
type head struct {
	method, target span
	fields         []fieldLine

	old       bool   // HTTP/1.0
	bare      bool   // HEAD, the answer to which has no content
	authority string // of a target in absolute form
	named     string // the Host field, only kept to be compared with authority
	hosts     int    // Host lines
	lengths   int    // Content-Length lines
	codings   int    // Transfer-Encoding lines
	length    int64
	chunked   bool
	keepAlive bool // Connection: keep-alive
	closes    bool // Connection: close
	expects   bool // Expect: 100-continue
	framing   bool // a Trailer field announces a field that frames the message
}

// span is a part of what is scanned.
type span struct{ from, to int }

func (s span) of(text string) string { return text[s.from:s.to] }

// fieldLine is where a field line stands; its name ends at the colon.
type fieldLine struct{ from, colon, to int }

// requestLine takes the first line (RFC 9112, section 3), which stands at at.
func (h *head) requestLine(line []byte, at int) *canon.Refusal {
	i := 0
	for i < len(line) && isToken[line[i]] {
		i++
	}
	if i == 0 || i == len(line) || line[i] != ' ' {
		return refuse(CodeRequestLine, "the request line does not begin with a method and one space")
	}
	method, rest := line[:i], line[i+1:]
	h.bare = string(method) == "HEAD"
	end := bytes.IndexByte(rest, ' ')
	if end <= 0 {
		return refuse(CodeRequestLine, "the request line is not a method, a target and a version")
	}
	target := rest[:end]
	h.method, h.target = span{at, at + i}, span{at + i + 1, at + i + 1 + end}
	switch string(rest[end+1:]) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		h.old = true
	default:
		return refuse(canon.CodeProtocol, "the protocol version is neither HTTP/1.1 nor HTTP/1.0")
	}
	if !clean(target) || bytes.IndexByte(target, '\t') >= 0 {
		return refuse(canon.CodeTargetByte, "the request target has a control character")
	}
	return h.takeTarget(method, target)
}

// takeTarget refuses what net/http would refuse by itself, which is all but a path of well-formed escapes.
func (h *head) takeTarget(method, target []byte) *canon.Refusal {
	if target[0] == '/' {
		if i := bytes.IndexByte(target, '?'); i >= 0 {
			target = target[:i]
		}
		for {
			i := bytes.IndexByte(target, '%')
			if i < 0 {
				return nil
			}
			if len(target) < i+3 || !isHex(target[i+1]) || !isHex(target[i+2]) {
				return refuse(canon.CodePercent, "the path has a percent sign without two hexadecimal digits")
			}
			target = target[i+3:]
		}
	}
	raw := string(target)
	if string(method) == "CONNECT" {
		raw = "http://" + raw
	}
	u, err := url.ParseRequestURI(raw)
	if err != nil {
		return refuse(canon.CodeTargetForm, "the request target is neither a path nor a URL")
	}
	h.authority = u.Host
	return nil
}

// field takes one field line (RFC 9112, section 5), which stands at at.
func (h *head) field(b []byte, at int) *canon.Refusal {
	if b[0] == ' ' || b[0] == '\t' {
		return refuse(CodeFolding, "a line of the head begins with white space")
	}
	i := 0
	for ; i < len(b) && b[i] != ':'; i++ {
		if !isToken[b[i]] {
			return refuse(canon.CodeHeaderName, "a header field's name is not a token")
		}
	}
	if i == 0 || i == len(b) {
		return refuse(canon.CodeHeaderName, "a header line does not begin with a token and a colon")
	}
	if !clean(b[i+1:]) {
		return refuse(canon.CodeHeaderValue, "a header value has a control character")
	}
	h.fields = append(h.fields, fieldLine{at, at + i, at + len(b)})
	switch i {
	case 4, 6, 7, 10, 14, 17:
		return h.known(b[:i], bytes.Trim(b[i+1:], " \t"))
	}
	return nil
}

// known takes the fields that decide about framing, about the connection and about who is asked.
func (h *head) known(name, value []byte) *canon.Refusal {
	switch {
	case is(name, "Host"):
		return h.takeHost(value)
	case is(name, "Content-Length"):
		return h.takeLength(value)
	case is(name, "Transfer-Encoding"):
		if h.codings++; h.codings > 1 || string(value) != "chunked" {
			return refuse(canon.CodeTransferEncoding, "the transfer coding is not exactly chunked")
		}
		h.chunked = true
	case is(name, "Expect"):
		if !is(value, "100-continue") {
			return refuse(canon.CodeExpect, "the expectation is not 100-continue")
		}
		h.expects = true
	case is(name, "Connection"):
		h.keepAlive = h.keepAlive || hasWord(value, "keep-alive")
		h.closes = h.closes || hasWord(value, "close")
	case is(name, "Trailer"):
		h.framing = h.framing || hasWord(value, "content-length") || hasWord(value, "transfer-encoding") || hasWord(value, "trailer")
	}
	return nil
}

func (h *head) takeHost(value []byte) *canon.Refusal {
	for _, c := range value {
		if !isHost[c] {
			return refuse(canon.CodeHostInvalid, "the Host header has a character that no host has")
		}
	}
	if h.hosts++; h.authority != "" {
		h.named = string(value)
	}
	return nil
}

// takeLength takes a Content-Length: one line of digits, no list, no sign, no leading zero.
func (h *head) takeLength(value []byte) *canon.Refusal {
	if h.lengths++; h.lengths > 1 {
		return refuse(canon.CodeLengthConflict, "the request has more than one Content-Length")
	}
	if len(value) == 0 || len(value) > 18 || len(value) > 1 && value[0] == '0' {
		return refuse(canon.CodeLength, "the Content-Length is not a plain number")
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return refuse(canon.CodeLength, "the Content-Length is not a plain number")
		}
		h.length = h.length*10 + int64(c-'0')
	}
	return nil
}

// check looks at what the lines say together.
func (h *head) check() *canon.Refusal {
	switch {
	case h.hosts > 1 || h.hosts == 0 && !h.old:
		return refuse(canon.CodeHostInvalid, "the request does not have one Host header")
	case h.authority != "" && h.hosts == 1 && !strings.EqualFold(h.authority, h.named):
		return refuse(canon.CodeHostConflict, "the request target names another host than the Host header")
	case h.codings > 0 && h.lengths > 0:
		return refuse(canon.CodeLengthConflict, "the request has both Content-Length and Transfer-Encoding")
	case h.codings > 0 && h.old:
		return refuse(canon.CodeTransferEncoding, "HTTP/1.0 has no transfer codings")
	case h.old && h.keepAlive && h.length > 0:
		return refuse(CodeKeepAlive, "an HTTP/1.0 request with a body asks to keep the connection")
	case h.framing && h.chunked:
		return refuse(CodeTrailer, "the Trailer header announces a field that frames the message")
	}
	return nil
}

// clean reports whether b has no control character but tabs. Bytes outside ASCII are clean.
func clean(b []byte) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		// Eight bytes at once: below 0x20 the subtraction borrows, at 0x7f the addition carries. A hit may be
		// a false one, which the bytes then settle.
		w := binary.LittleEndian.Uint64(b)
		if (w|(w-ones*' ')|(w+ones))&high != 0 && !cleanBytes(b[:8]) {
			return false
		}
		b = b[8:]
	}
	return cleanBytes(b)
}

func cleanBytes(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// is compares a name or token with an ASCII one without regard to case.
func is(b []byte, want string) bool {
	if len(b) != len(want) {
		return false
	}
	for i, c := range b {
		if lower(c) != lower(want[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// hasWord reports whether a comma-separated list has the token.
func hasWord(list []byte, token string) bool {
	for item := range bytes.SplitSeq(list, []byte(",")) {
		if is(bytes.Trim(item, " \t"), token) {
			return true
		}
	}
	return false
}

func isHex(c byte) bool {
	c = lower(c)
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
}

const alphanumeric = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// isToken holds the bytes of tokens (RFC 9110, section 5.6.2), isHost those of hosts and ports with all that
// RFC 3986, section 3.2 permits. They are never written after their making.
var (
	isToken = setOf(alphanumeric + "!#$%&'*+-.^_`|~")
	isHost  = setOf(alphanumeric + "!$%&'()*+,-.:;=[]_~")
)

func setOf(chars string) (set [256]bool) {
	for i := range len(chars) {
		set[chars[i]] = true
	}
	return set
}
