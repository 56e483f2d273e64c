package egress

import (
	"bytes"
	"net"
	"strings"

	"github.com/palisade-security/palisade/proxy/listen/h1"
)

// switching is the server's side of a connection whose first request asks for a WebSocket. It looks at the answer's status, and
// whatever is asked waits for that: behind 101 come no more requests (RFC 9110, section 15.2.2).
type switching struct {
	half
	switched chan bool // told once
	told     bool
	line     []byte // what of a line has come, as much of it as matters
	inside   bool   // the head of an interim answer
}

// asksSwitch reports whether a request asks for a WebSocket, and for nothing else. Another protocol would not be followed: what
// comes in it is no request, and so is refused.
func asksSwitch(h *h1.Head) bool {
	up := h.Header.Values("Upgrade")
	return len(up) == 1 && strings.EqualFold(up[0], "websocket") && !h.Content
}

func newSwitching(far net.Conn) *switching {
	return &switching{half: half{far}, switched: make(chan bool, 1)}
}

// Read reads on, and looks.
func (s *switching) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	s.look(p[:n])
	if err != nil {
		s.tell(false)
	}
	return n, err
}

func (s *switching) tell(switched bool) {
	if !s.told {
		s.told = true
		s.switched <- switched
	}
}

// look follows the heads of interim answers until another one begins (RFC 9112, section 4).
func (s *switching) look(b []byte) {
	const status = "HTTP/1.1 101"
	for len(b) > 0 && !s.told {
		at := bytes.IndexByte(b, '\n') + 1
		part := b[:at]
		if at == 0 {
			part = b
		}
		s.line = append(s.line, part[:min(len(part), len(status)+1-len(s.line))]...)
		b = b[len(part):]
		if !s.inside && (at > 0 || len(s.line) > len(status)) {
			interim := bytes.HasPrefix(s.line, []byte(status[:len(status)-2]))
			if switched := bytes.HasPrefix(s.line, []byte(status)); switched || !interim {
				s.tell(switched)
				return
			}
		}
		if at == 0 {
			return
		}
		s.inside = len(bytes.TrimRight(s.line, "\r\n")) > 0
		s.line = s.line[:0]
	}
}
