package egress

import "strings"

// The parts of TLS that a ClientHello stands in (RFC 8446, sections 4 and 5; RFC 6066, section 3).
const (
	recordHandshake   = 22
	recordHeader      = 5
	mostRecord        = 1 << 14
	handshakeHeader   = 4
	typeClientHello   = 1
	extensionName     = 0
	nameTypeHost      = 0
	mostName          = 253
	mostHello         = 32 << 10
	helloRandom       = 32
	mostSession       = 32
	extensionsAtMost  = 256
	handshakeTypeSize = 1
)

// serverName reads a ClientHello, in however many records, and returns the host that it names: of one with an
// encrypted inner part the outer one, which is what everybody sees. It is stricter than a server must be, so that no
// server reads another name.
func serverName(p *peeker) (string, error) {
	hello, err := clientHello(p)
	if err != nil {
		return "", err
	}
	b := cursor(hello)
	b.skip(2 + helloRandom)
	if session := b.vector(1); len(session) > mostSession {
		return "", malformed("the ClientHello is malformed")
	}
	suites, compressions := b.vector(2), b.vector(1)
	if len(suites) == 0 || len(suites)%2 != 0 || len(compressions) == 0 {
		return "", malformed("the ClientHello is malformed")
	}
	if b != nil && len(b) == 0 {
		return "", malformed("the client names no host")
	}
	extensions := cursor(b.vector(2))
	if b == nil || len(b) != 0 || extensions == nil {
		return "", malformed("the ClientHello is malformed")
	}
	return nameIn(extensions)
}

// nameIn finds the one name among the extensions.
func nameIn(extensions cursor) (name string, err error) {
	seen := make(map[int]bool)
	for len(extensions) > 0 {
		kind := extensions.number(2)
		body := extensions.vector(2)
		if extensions == nil || seen[kind] || len(seen) == extensionsAtMost {
			return "", malformed("the ClientHello is malformed")
		}
		seen[kind] = true
		if kind != extensionName {
			continue
		}
		b := cursor(body)
		list := cursor(b.vector(2))
		if b == nil || len(b) != 0 || list.number(1) != nameTypeHost {
			return "", malformed("the ClientHello names its host in a way that nobody does")
		}
		host := string(list.vector(2))
		if list == nil || len(list) != 0 {
			return "", malformed("the ClientHello names several hosts")
		}
		if name, err = hostName(host); err != nil {
			return "", err
		}
	}
	if name == "" {
		return "", malformed("the client names no host")
	}
	return name, nil
}

// hostName returns a host's name in lower case.
func hostName(s string) (string, error) {
	if s == "" || len(s) > mostName {
		return "", malformed("the client names no host")
	}
	s = strings.ToLower(s)
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return "", malformed("the client names a host that is no name")
	}
	return s, nil
}

// clientHello reads records until the first handshake message is complete, and returns its body.
func clientHello(p *peeker) ([]byte, error) {
	var message []byte
	for at := 0; ; {
		if err := p.need(at + recordHeader); err != nil {
			return nil, err
		}
		head := p.buf[at:]
		length := int(head[3])<<8 | int(head[4])
		if head[0] != recordHandshake || head[1] != 3 || length == 0 || length > mostRecord {
			return nil, malformed("the client does not begin with TLS")
		}
		if err := p.need(at + recordHeader + length); err != nil {
			return nil, err
		}
		at += recordHeader + length
		message = append(message, p.buf[at-length:at]...)
		if message[0] != typeClientHello {
			return nil, malformed("the client does not begin with a ClientHello")
		}
		if len(message) < handshakeHeader {
			continue
		}
		body := cursor(message[handshakeTypeSize:])
		size := body.number(3)
		switch {
		case size > mostHello:
			return nil, malformed("the ClientHello is too long")
		case len(body) > size:
			return nil, malformed("the ClientHello has a tail")
		case len(body) == size:
			return body, nil
		}
	}
}

// cursor reads from a slice; it is nil once it was asked for more than there is.
type cursor []byte

func (c *cursor) skip(n int) []byte {
	if *c == nil || len(*c) < n {
		*c = nil
		return nil
	}
	out := (*c)[:n:n]
	*c = (*c)[n:]
	return out
}

// number reads so many bytes, the most significant first; -1: there are none.
func (c *cursor) number(size int) int {
	b := c.skip(size)
	if b == nil {
		return -1
	}
	n := 0
	for _, v := range b {
		n = n<<8 | int(v)
	}
	return n
}

// vector reads what has its length, of so many bytes, before it.
func (c *cursor) vector(size int) []byte {
	n := c.number(size)
	if n < 0 {
		return nil
	}
	return c.skip(n)
}
