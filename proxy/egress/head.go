package egress

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
)

// mostHead is how long the head of a request may be.
const mostHead = 16 << 10

// requestHost reads the head of an HTTP/1.x request and returns the host that it is for (RFC 9112, section 3.2). It
// takes origin-form alone, one Host, and no byte that two servers could read differently.
func requestHost(p *peeker, port int) (string, error) {
	head, err := readHead(p)
	if err != nil {
		return "", err
	}
	line, fields, _ := strings.Cut(string(head), "\r\n")
	if err := requestLine(line); err != nil {
		return "", err
	}
	host, hosts := "", 0
	for field := range strings.SplitSeq(fields, "\r\n") {
		if field == "" {
			continue
		}
		name, value, ok := strings.Cut(field, ":")
		if !ok || !isToken(name) {
			return "", malformed("a line of the request's head is no field")
		}
		if strings.EqualFold(name, "Host") {
			host, hosts = strings.Trim(value, " \t"), hosts+1
		}
	}
	if hosts != 1 {
		return "", malformed("the request names no host, or several")
	}
	name, digits, has := strings.Cut(host, ":")
	if strings.HasPrefix(host, "[") {
		return addressHost(host, port)
	}
	if has && digits != strconv.Itoa(port) || !has && port != 80 {
		return "", malformed("the request names another port than it was sent to")
	}
	return hostName(name)
}

// addressHost reads the Host of an IPv6 address.
func addressHost(host string, port int) (string, error) {
	at, err := netip.ParseAddrPort(host)
	if err != nil {
		at, err = netip.ParseAddrPort(host + ":80")
	}
	if err != nil || int(at.Port()) != port || at.Addr().Zone() != "" {
		return "", malformed("the request names another port than it was sent to, or no host")
	}
	return at.Addr().String(), nil
}

// readHead returns the head without the empty line that ends it.
func readHead(p *peeker) ([]byte, error) {
	for looked := 0; ; {
		if err := p.need(looked + 1); err != nil {
			return nil, err
		}
		from := max(looked-3, 0)
		if at := bytes.Index(p.buf[from:], []byte("\r\n\r\n")); at >= 0 && from+at <= mostHead {
			return p.buf[:from+at], plain(p.buf[:from+at])
		}
		if len(p.buf) > mostHead {
			return nil, malformed("the request's head is too long")
		}
		if err := plain(p.buf[from:]); err != nil {
			return nil, err
		}
		looked = len(p.buf)
	}
}

// plain refuses control characters, and a CR or LF that is no end of a line. The last byte may be half of one.
func plain(b []byte) error {
	for i, c := range b {
		var bad bool
		switch c {
		case '\r':
			bad = i+1 < len(b) && b[i+1] != '\n'
		case '\n':
			bad = i > 0 && b[i-1] != '\r'
		default:
			bad = c < ' ' && c != '\t' || c == 0x7f
		}
		if bad {
			return malformed("the request's head has a control character")
		}
	}
	return nil
}

// requestLine checks the first line of a request.
func requestLine(line string) error {
	method, rest, _ := strings.Cut(line, " ")
	target, version, _ := strings.Cut(rest, " ")
	switch {
	case !isToken(method) || version != "HTTP/1.1" && version != "HTTP/1.0":
		return malformed("the client does not begin with a request of HTTP/1.x")
	case method == "CONNECT" || target == "" || target[0] != '/' && target != "*" || strings.ContainsAny(target, "\t\r\n"):
		return malformed("the request is for another server than the one it was sent to")
	}
	return nil
}

// isToken is that of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && strings.Trim(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}
