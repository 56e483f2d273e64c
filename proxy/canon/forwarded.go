package canon

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/proxy/field"
)

// maxHops bounds how many entries of a chain of proxies are read.
const maxHops = 64

// Client returns the address of the client that stands behind trusted proxies. If peer, the address that
// connected, is not within trusted, it is the client, and the header is hearsay. Else the chain in Forwarded
// (RFC 7239) or X-Forwarded-For is walked from its right end as long as the hop is trusted; what stands left of
// the first untrusted hop was written by strangers and is not looked at. An entry that names no address
// ("unknown", "_hidden") ends the walk at the hop that wrote it.
//
// The error is a *Refusal: a trusted proxy wrote what is malformed, or both fields are present and disagree.
// Addresses are returned unmapped and without zone.
func Client(peer netip.Addr, trusted []netip.Prefix, h field.List) (netip.Addr, error) {
	peer = plainAddr(peer)
	if !contains(trusted, peer) {
		return peer, nil
	}
	byStandard, err := walkForwarded(peer, trusted, h)
	if err != nil {
		return netip.Addr{}, err
	}
	byCustom, err := walkXForwardedFor(peer, trusted, h)
	if err != nil {
		return netip.Addr{}, err
	}
	switch {
	case !h.Has("Forwarded"):
		return byCustom, nil
	case h.Has("X-Forwarded-For") && byCustom != byStandard:
		return netip.Addr{}, refuse(CodeForwardedConflict, "Forwarded and X-Forwarded-For name different clients")
	}
	return byStandard, nil
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// walkXForwardedFor walks the X-Forwarded-For lines from the right.
func walkXForwardedFor(peer netip.Addr, trusted []netip.Prefix, h field.List) (netip.Addr, error) {
	client, hops := peer, 0
	for _, v := range slices.Backward(h) {
		if !strings.EqualFold(v.Name, "X-Forwarded-For") {
			continue
		}
		rest, more := v.Value, true
		for more {
			var entry string
			comma := strings.LastIndexByte(rest, ',')
			more = comma >= 0
			entry, rest = trimOWS(rest[comma+1:]), rest[:max(comma, 0)]
			if entry == "unknown" {
				return client, nil
			}
			a, ok := parseNode(entry)
			if hops++; !ok || hops > maxHops {
				return netip.Addr{}, refuse(CodeForwarded, "X-Forwarded-For from a trusted proxy is malformed")
			}
			if client = a; !contains(trusted, client) {
				return client, nil
			}
		}
	}
	return client, nil
}

// walkForwarded walks the elements of all Forwarded lines from the right. Its quoted strings may hold commas,
// so it must be parsed from the left: malformed syntax anywhere is refused, but the addresses that strangers
// wrote are not looked at.
func walkForwarded(peer netip.Addr, trusted []netip.Prefix, h field.List) (netip.Addr, error) {
	var nodes []string
	for i := range h {
		if !strings.EqualFold(h[i].Name, "Forwarded") {
			continue
		}
		var err error
		if nodes, err = parseForwarded(h[i].Value, nodes); err != nil {
			return netip.Addr{}, err
		}
	}
	client := peer
	for _, node := range slices.Backward(nodes) {
		if strings.EqualFold(node, "unknown") || strings.HasPrefix(node, "_") && isObfuscated(node) {
			return client, nil
		}
		a, ok := parseNode(node)
		if !ok {
			return netip.Addr{}, refuse(CodeForwarded, "Forwarded from a trusted proxy names no address")
		}
		if client = a; !contains(trusted, client) {
			return client, nil
		}
	}
	return client, nil
}

// isObfuscated reports whether s is an obfuscated identifier, perhaps with a port (RFC 7239, section 6.3).
func isObfuscated(s string) bool {
	s, _, _ = strings.Cut(s, ":")
	for i := 1; i < len(s); i++ {
		if c := s[i]; !isAlphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return len(s) > 1
}

// parseForwarded appends the unquoted "for" of each element of a Forwarded value to nodes: "" when an element
// has none.
func parseForwarded(s string, nodes []string) ([]string, error) {
	for {
		node, rest, ok := parseElement(s)
		if !ok || len(nodes) == maxHops {
			return nil, refuse(CodeForwarded, "Forwarded from a trusted proxy is malformed")
		}
		nodes = append(nodes, node)
		if rest == "" {
			return nodes, nil
		}
		s = rest[1:] // behind the comma
	}
}

// parseElement parses forwarded-element up to a comma or the end: pairs of token "=" value with ";" between
// them, no name twice (RFC 7239, section 4).
func parseElement(s string) (node, rest string, ok bool) {
	seen := make([]string, 0, 4)
	for {
		s = strings.TrimLeft(s, " \t")
		name, after, found := strings.Cut(s, "=")
		name = strings.ToLower(name)
		if !found || !isToken(name) || len(seen) == 16 || slices.Contains(seen, name) {
			return "", "", false
		}
		seen = append(seen, name)
		value, after, ok := parseValue(after)
		if !ok {
			return "", "", false
		}
		if name == "for" {
			node = value
		}
		s = strings.TrimLeft(after, " \t")
		if s == "" || s[0] == ',' {
			return node, s, true
		}
		if s[0] != ';' {
			return "", "", false
		}
		s = s[1:]
	}
}

// parseValue parses a token or a quoted string at the beginning of s.
func parseValue(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		end := 0
		for end < len(s) && isTokenByte(s[end]) {
			end++
		}
		return s[:end], s[end:], end > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\':
			if i++; i == len(s) {
				return "", "", false
			}
			b.WriteByte(s[i])
		case c < ' ' && c != '\t' || c == 0x7f:
			return "", "", false
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// parseNode parses an address, perhaps with a port: 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1]:80.
func parseNode(s string) (netip.Addr, bool) {
	if inside, ok := strings.CutPrefix(s, "["); ok {
		addr, port, found := strings.Cut(inside, "]")
		a, err := netip.ParseAddr(addr)
		ok := found && (port == "" || isPort(port)) && err == nil && a.Is6() && a.Zone() == ""
		return plainAddr(a), ok
	}
	if i := strings.IndexByte(s, ':'); i >= 0 && i == strings.LastIndexByte(s, ':') {
		if !isPort(s[i:]) {
			return netip.Addr{}, false
		}
		s = s[:i]
	}
	a, err := netip.ParseAddr(s)
	return plainAddr(a), err == nil && a.Zone() == ""
}

// isPort reports whether s is ":" and a port number, or an obfuscated port (RFC 7239, section 6).
func isPort(s string) bool {
	s, ok := strings.CutPrefix(s, ":")
	if strings.HasPrefix(s, "_") {
		return ok && isObfuscated(s)
	}
	_, err := strconv.ParseUint(s, 10, 16)
	return ok && err == nil && s[0] != '+'
}

// Hop is what this gateway knows for itself about where a request came from.
type Hop struct {
	Client netip.Addr // as Client returned it
	Peer   netip.Addr // the address that connected
	Scheme string     // "https" or "http", as the peer used it
	Host   string     // canonical
	Port   uint16     // as the client wrote it; 0: the scheme's
}

// Rebuild replaces whatever Forwarded and X-Forwarded fields h has by ones that tell only what hop holds:
// Forwarded, X-Forwarded-For, -Proto, -Host and -Port. The names in h must be canonical, as in Output.
func Rebuild(h *field.List, hop Hop) {
	h.DelFunc(func(f field.Field) bool { return f.Name == "Forwarded" || strings.HasPrefix(f.Name, "X-Forwarded") })
	client, peer := plainAddr(hop.Client), plainAddr(hop.Peer)

	// All values are parts of one text.
	b := make([]byte, 0, 256)
	b = appendAddr(b, client)
	if peer != client {
		b = append(b, ", "...)
		b = appendAddr(b, peer)
	}
	chainEnd := len(b)
	b = append(b, "for="...)
	b = appendNode(b, client)
	if peer != client {
		b = append(b, ", for="...)
		b = appendNode(b, peer)
	}
	b = append(b, `;host="`...)
	host := len(b)
	b = append(b, hop.Host...)
	hostEnd, port := len(b), "443"
	switch {
	case hop.Port != 0:
		b = append(b, ':')
		b = strconv.AppendUint(b, uint64(hop.Port), 10)
	case hop.Scheme != "https":
		port = "80"
	}
	authorityEnd := len(b)
	b = append(b, `";proto=`...)
	b = append(b, hop.Scheme...)
	text := string(b)
	if hop.Port != 0 {
		port = text[hostEnd+1 : authorityEnd]
	}

	*h = append(*h,
		field.Field{Name: "Forwarded", Value: text[chainEnd:]},
		field.Field{Name: "X-Forwarded-For", Value: text[:chainEnd]},
		field.Field{Name: "X-Forwarded-Host", Value: text[host:authorityEnd]},
		field.Field{Name: "X-Forwarded-Port", Value: port},
		field.Field{Name: "X-Forwarded-Proto", Value: hop.Scheme},
	)
}

// appendNode writes an address as RFC 7239, section 6, wants it.
func appendNode(b []byte, a netip.Addr) []byte {
	if !a.Is6() {
		return appendAddr(b, a)
	}
	b = append(b, `"[`...)
	b = a.AppendTo(b)
	return append(b, `]"`...)
}

// appendAddr writes an address; one that is not known has a name too (RFC 7239, section 6.2).
func appendAddr(b []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(b, "unknown"...)
	}
	return a.AppendTo(b)
}
