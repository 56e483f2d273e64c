package egress

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/proxy/listen/h1"
)

// mostHead is how long the head of a request may be.
const mostHead = 16 << 10

// firstHead reads the head that a client begins with.
func firstHead(p *peeker) (*h1.Head, error) {
	f := h1.NewFollower(mostHead)
	for {
		_, head, why := f.Next(p.buf)
		switch {
		case why != nil:
			return nil, malformed(why.Text)
		case head != nil:
			return head, nil
		}
		if err := p.need(len(p.buf) + 1); err != nil {
			return nil, err
		}
	}
}

// requestHost returns the host that a request is for (RFC 9112, section 3.2). It takes origin-form alone, and one Host with
// the port that the connection goes to.
func requestHost(h *h1.Head, port int) (string, error) {
	if h.Method == "CONNECT" || h.Target[0] != '/' && h.Target != "*" {
		return "", malformed("the request is for another server than the one it was sent to")
	}
	if h.Host == "" {
		return "", malformed("the request names no host")
	}
	if strings.HasPrefix(h.Host, "[") {
		return addressHost(h.Host, port)
	}
	name, digits, has := strings.Cut(h.Host, ":")
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
