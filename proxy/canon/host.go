package canon

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/palisade-security/palisade/proxy"
)

// Host returns the canonical form of a Host header or :authority, and its port, 0 if there is none. Names come
// out in lower case with A-labels (RFC 5891, lookup), IPv6 addresses in brackets in their shortest form. It
// refuses user information, empty and malformed ports, trailing dots, labels that are no LDH labels, and
// numbers that only some resolvers take for an address. The error is a *Refusal. Host is idempotent.
func Host(raw string) (host string, port uint16, err error) {
	name, digits, hasPort := raw, "", false
	if i := strings.LastIndexByte(raw, ':'); i >= 0 && strings.IndexByte(raw[i:], ']') < 0 {
		name, digits, hasPort = raw[:i], raw[i+1:], true
	}
	if hasPort {
		n, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || n == 0 || digits[0] == '0' || digits[0] == '+' {
			return "", 0, refuse(CodeHostInvalid, "the host's port is not a number from 1 to 65535")
		}
		port = uint16(n)
	}
	if strings.HasPrefix(name, "[") {
		host, err = canonicalIPv6(name)
	} else {
		host, err = canonicalName(name)
	}
	if err != nil {
		return "", 0, err
	}
	return host, port, nil
}

// canonicalIPv6 returns the shortest form of a bracketed address (RFC 5952). Zones mean nothing beyond one
// machine and mapped addresses name an IPv4 host in disguise, so both are refused.
func canonicalIPv6(s string) (string, error) {
	if !strings.HasSuffix(s, "]") {
		return "", refuse(CodeHostInvalid, "the host's address has no closing bracket")
	}
	a, err := netip.ParseAddr(s[1 : len(s)-1])
	if err != nil || !a.Is6() || a.Zone() != "" || a.Is4In6() {
		return "", refuse(CodeHostInvalid, "the host's bracketed address is not a plain IPv6 address")
	}
	return "[" + a.String() + "]", nil
}

// canonicalName returns a registered name or an IPv4 address in its one form.
func canonicalName(s string) (string, error) {
	lower, ascii, ace := false, true, false
	for i := range len(s) {
		c := s[i]
		lower = lower || c >= 'A' && c <= 'Z'
		ascii = ascii && c < 0x80
		ace = ace || c == '-' && i >= 3 && s[i-1] == '-'
	}
	if lower {
		s = strings.ToLower(s)
	}
	if !ascii || ace && strings.Contains(s, "xn--") {
		var ok bool
		if s, ok = toASCII(s); !ok {
			return "", refuse(CodeHostInvalid, "the host is not a valid internationalised name")
		}
	}
	if !isLDHName(s) {
		return "", refuse(CodeHostInvalid, "the host is not a host name")
	}
	if last := s[strings.LastIndexByte(s, '.')+1:]; isNumber(last) {
		if a, err := netip.ParseAddr(s); err != nil || !a.Is4() {
			return "", refuse(CodeHostInvalid, "the host ends in a number but is not an IPv4 address")
		}
	}
	return s, nil
}

// toASCII returns the A-label form of a name. The result must be its own A-label form: what one lookup maps and
// a second one refuses is no name.
func toASCII(s string) (string, bool) {
	if len(s) > 1024 || !utf8.ValidString(s) {
		return "", false
	}
	name, err := idna.Lookup.ToASCII(s)
	if err != nil {
		return "", false
	}
	again, err := idna.Lookup.ToASCII(name)
	return name, err == nil && again == name
}

// isLDHName reports whether s consists of lower-case letter-digit-hyphen labels of 1 to 63 bytes, 253 in all
// (RFC 1123, section 2.1).
func isLDHName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	start := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
			continue
		}
		if n := i - start; n == 0 || n > 63 || s[start] == '-' || s[i-1] == '-' {
			return false
		}
		start = i + 1
	}
	return true
}

// isNumber reports whether inet_aton would read s as part of an address: decimal, octal, or 0x and digits
// (WHATWG URL, "ends in a number").
func isNumber(s string) bool {
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		for i := range len(hex) {
			if _, ok := hexValue(hex[i]); !ok {
				return false
			}
		}
		return true
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// checkServerName refuses a request for a host that the handshake was not for: the certificate, and what was
// decided about the connection, belong to another name (RFC 9110, section 7.4).
func checkServerName(in *Input, host string) error {
	if in.SNI == "" || in.CrossHost || in.SNI == host {
		return nil
	}
	if sni, err := canonicalName(strings.TrimSuffix(in.SNI, ".")); err == nil && sni == host {
		return nil
	}
	return &Refusal{Code: CodeHostMisdirected, Text: "the host is not the one the TLS handshake named", Kind: proxy.KindMisdirected}
}
