package upstream

import (
	"strings"

	"github.com/palisade-security/palisade/proxy/field"
)

// How an answer's body ends.
type framing uint8

const (
	framedNone   framing = iota // no body
	framedLength                // after so many bytes
	framedChunks                // with the last chunk
	framedClose                 // with the connection
)

// frame is what an answer's head says about its body and its connection.
type frame struct {
	how     framing
	length  int64
	keep    bool   // the connection may carry another request
	upgrade string // protocol switched to
}

// framed decides how the body of h ends (RFC 9112, section 6.3), takes the connection's own fields out of
// h.fields, and refuses what two readers could understand differently.
func framed(method string, h *head) (frame, error) {
	o, err := ownFields(h)
	if err != nil {
		return frame{}, err
	}
	h.fields = o.strip(h)
	f := frame{keep: o.keep(h.minor), upgrade: o.upgrade}
	switch {
	case h.status < 200, h.status == 204:
		// Neither may have a length (RFC 9110, section 8.6). Harmless if nothing follows, so just be careful.
		f.keep = f.keep && !o.chunked && o.length <= 0
		h.fields.Del("Content-Length")
	case h.status == 304, method == "HEAD":
	case o.chunked:
		f.how, f.length = framedChunks, -1
	case o.length > 0:
		f.how, f.length = framedLength, o.length
	case o.length < 0:
		f.how, f.length, f.keep = framedClose, -1, false
	}
	return f, nil
}

// own holds the fields of a head that speak of the connection and the framing.
type own struct {
	chunked    bool
	length     int64 // -1: none
	closes     bool
	keepAlive  bool
	upgrades   bool // Connection names Upgrade
	upgrade    string
	nominated  []string // further names in Connection
	connection bool     // any field of the connection is there
}

func ownFields(h *head) (own, error) {
	o := own{length: -1}
	encodings := 0
	for _, f := range h.fields {
		switch f.Name {
		case "Content-Length":
			n, ok := parseLength(f.Value)
			if !ok || o.length >= 0 {
				return o, malformed("content length")
			}
			o.length = n
		case "Transfer-Encoding":
			encodings++
			o.chunked, o.connection = strings.EqualFold(f.Value, "chunked"), true
		case "Connection":
			o.connection = true
			o.addOptions(f.Value)
		case "Upgrade":
			o.connection, o.upgrade = true, f.Value
		case "Keep-Alive", "Proxy-Connection", "Te":
			o.connection = true
		}
	}
	switch {
	case encodings > 1, encodings == 1 && !o.chunked:
		return o, malformed("transfer encoding")
	case o.chunked && o.length >= 0:
		return o, malformed("content length with transfer encoding")
	case o.chunked && h.minor == 0:
		return o, malformed("transfer encoding in HTTP/1.0")
	}
	return o, nil
}

func (o *own) addOptions(value string) {
	for option := range strings.SplitSeq(value, ",") {
		switch option = trimSpace(option); {
		case option == "":
		case strings.EqualFold(option, "close"):
			o.closes = true
		case strings.EqualFold(option, "keep-alive"):
			o.keepAlive = true
		case strings.EqualFold(option, "upgrade"):
			o.upgrades = true
		default:
			o.nominated = append(o.nominated, option)
		}
	}
}

// keep reports whether the connection stays open after the answer (RFC 9112, section 9.3).
func (o *own) keep(minor int) bool { return !o.closes && (minor == 1 || o.keepAlive) }

// strip removes the connection's fields (RFC 9110, section 7.6.1), and what Connection names except the length.
func (o *own) strip(h *head) field.List {
	if !o.connection {
		return h.fields
	}
	h.fields.DelFunc(func(f field.Field) bool {
		switch f.Name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Transfer-Encoding":
			return true
		case "Upgrade":
			return h.status != 101
		case "Content-Length":
			return false
		}
		for _, name := range o.nominated {
			if strings.EqualFold(name, f.Name) {
				return true
			}
		}
		return false
	})
	return h.fields
}

// parseLength parses a Content-Length: digits only, less than 2^63.
func parseLength(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	n := int64(0)
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int64(s[i]-'0')
	}
	return n, true
}

// inTrailer reports whether a field of that name may stand in a trailer: not if it frames or routes the message,
// authenticates, or changes how it is handled (RFC 9110, section 6.5.1).
func inTrailer(name string) bool {
	for _, no := range [...]string{
		"Authorization", "Cache-Control", "Connection", "Content-Encoding", "Content-Length", "Content-Range",
		"Content-Type", "Cookie", "Expect", "Forwarded", "Host", "Keep-Alive", "Location", "Max-Forwards",
		"Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Range", "Set-Cookie", "TE", "Trailer",
		"Transfer-Encoding", "Upgrade", "Www-Authenticate",
	} {
		if strings.EqualFold(no, name) {
			return false
		}
	}
	return true
}
