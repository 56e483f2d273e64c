package canon

import (
	"encoding/base64"
	"net/textproto"
	"slices"
	"strings"
)

// connection is what the Connection field says.
type connection struct {
	upgrade bool
	fields  []string // canonical names of further fields that end here
}

// names reports whether the field of this canonical name ends here because the client said so.
func (c connection) names(name string) bool { return slices.Contains(c.fields, name) }

// parseConnection reads the Connection fields (RFC 9110, section 7.6.1). A client must not use them to remove
// what decides about its request, so naming a field that means something end to end is refused. HTTP/2 has
// none of these fields (RFC 9113, section 8.2.2).
func parseConnection(in *Input) (connection, error) {
	var c connection
	for i := range in.Header {
		f := in.Header[i]
		if in.h2() {
			switch textproto.CanonicalMIMEHeaderKey(f.Name) {
			case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade":
				return c, refuseField(CodeConnection, f.Name, "does not exist in HTTP/2")
			}
			continue
		}
		if len(f.Name) != len("Connection") || !strings.EqualFold(f.Name, "Connection") {
			continue
		}
		for option := range strings.SplitSeq(f.Value, ",") {
			if err := c.add(trimOWS(option)); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

// add takes one connection option.
func (c *connection) add(option string) error {
	switch {
	case option == "", strings.EqualFold(option, "close"), strings.EqualFold(option, "keep-alive"):
		return nil
	case strings.EqualFold(option, "upgrade"):
		c.upgrade = true
		return nil
	case !isToken(option):
		return refuse(CodeConnection, "the Connection header is not a list of tokens")
	}
	name := textproto.CanonicalMIMEHeaderKey(option)
	if kindOf(name) == hopByHop {
		return nil
	}
	if folded := foldName(name); kindOf(folded) != ordinary || strings.HasPrefix(folded, "Content-") || strings.HasPrefix(folded, "Sec-") {
		return refuse(CodeConnection, "the Connection header names a field that is meant for the service")
	}
	c.fields = append(c.fields, name)
	return nil
}

// upgrade returns the protocol the connection shall switch to: "websocket" or none. Offers of other protocols
// are ignored, as RFC 9110, section 7.8, permits; an offer that mixes WebSocket with another, or a handshake
// that RFC 6455, section 4.1, does not allow, is refused, for a back end might answer it otherwise.
func upgrade(in *Input, c connection) (string, error) {
	if !c.upgrade {
		return "", nil
	}
	offers := in.Header.Count("Upgrade")
	if offers == 0 {
		return "", nil
	}
	offer := trimOWS(in.Header.Get("Upgrade"))
	if offers > 1 || !isToken(offer) {
		return "", refuse(CodeUpgrade, "the Upgrade header names more than one protocol, or none")
	}
	if !strings.EqualFold(offer, "websocket") {
		return "", nil
	}
	key, err := base64.StdEncoding.Strict().DecodeString(trimOWS(in.Header.Get("Sec-Websocket-Key")))
	switch {
	case in.Method != "GET" || in.Proto != "HTTP/1.1" || in.hasContent():
		return "", refuse(CodeUpgrade, "a WebSocket handshake is a GET over HTTP/1.1 without a body")
	case err != nil || len(key) != 16:
		return "", refuse(CodeUpgrade, "the Sec-WebSocket-Key is not 16 bytes in Base64")
	case trimOWS(in.Header.Get("Sec-Websocket-Version")) != "13":
		return "", refuse(CodeUpgrade, "the Sec-WebSocket-Version is not 13")
	}
	return "websocket", nil
}
