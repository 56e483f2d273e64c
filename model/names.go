package model

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

func badName(name string) string {
	return fmt.Sprintf("%q is not a name; expected lower-case letters, digits and dashes, beginning with a letter, at most 63", name)
}

// IsName tells whether s is a DNS label that begins with a letter: names become parts of SPIFFE IDs and hosts.
func IsName(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z'
		if !letter && (i == 0 || r != '-' && (r < '0' || r > '9')) {
			return false
		}
	}
	return s != "" && len(s) <= 63 && !strings.HasSuffix(s, "-")
}

func isRoleName(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("_.:-", r) && (r < '0' || r > '9')) {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// isTrustDomain follows the SPIFFE ID standard, section 2.1.
func isTrustDomain(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune(".-_", r)
	})
}

func isVariable(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// isToken follows RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !alnum && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// isDNSName tells whether s is a host name of lower-case labels (RFC 1123; underscores as service discovery uses
// them), without a dot at the end.
func isDNSName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return true
}

func hintLower(s string, ok func(string) bool) string {
	if lower := strings.ToLower(s); ok(lower) {
		return "did you mean " + quote(lower) + "?"
	}
	return ""
}

// badHost says what is wrong with the host of a route, or returns "".
func badHost(host string) (text, hint string) {
	if _, err := netip.ParseAddr(host); err == nil {
		return "", ""
	}
	name := strings.TrimPrefix(host, "*.")
	text = fmt.Sprintf("%q is not a host; expected a lower-case name, or *. before one", host)
	switch {
	case isDNSName(name):
		return "", ""
	case strings.Contains(host, "://"):
		return text, "write it without a scheme"
	case strings.Contains(name, "*"):
		return text, "* stands for exactly one label, the first"
	case strings.HasSuffix(name, ".") && isDNSName(strings.TrimSuffix(name, ".")):
		return text, "write it without the dot at the end"
	case strings.ContainsFunc(name, func(r rune) bool { return r > '~' }):
		return text, "write international names as they travel: xn--..."
	}
	if h, _, err := net.SplitHostPort(name); err == nil {
		return text, "write it without a port: " + quote(h)
	}
	return text, hintLower(host, func(s string) bool { return isDNSName(strings.TrimPrefix(s, "*.")) })
}
